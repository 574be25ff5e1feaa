import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rmem_cli.data.texts import Texts, text_chunks
from rmem_cli.data.writer import Content, write_prepared
from rmem_cli.errors import DataError, UsageError

ABOUT = {"sources": [], "licence": "free", "citation": "nobody"}
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


def prepared_list(*blocks, **options):
    chunks = [chunk for block in blocks for chunk in text_chunks("list", block)]
    content = Content({}, [], together=chunks, counted={"texts": "list_bytes"})
    return write_prepared("toy", "texts", content, **ABOUT, **options)


@settings(max_examples=25)
@given(st.lists(TEXT, min_size=1), st.lists(TEXT))
def test_texts_come_back_one_by_one_in_slices_and_all_together(first, second):
    prepared = prepared_list(first, second)
    texts, expected = Texts(prepared, "list"), [*first, *second]
    assert list(texts) == expected
    assert [texts[position] for position in range(len(texts))] == expected
    assert texts[1:3] == expected[1:3]
    assert texts[-1] == expected[-1]
    assert prepared.meta["counts"] == {"texts": len(expected)}


def test_more_texts_than_a_block_come_back():
    expected = [str(number) * (number % 7) for number in range(3000)]
    assert list(Texts(prepared_list(expected), "list")) == expected


def test_a_text_beyond_the_end_is_an_index_error():
    with pytest.raises(IndexError):
        Texts(prepared_list(["one"]), "list")[1]


def test_an_unknown_list_is_named_and_a_missing_one_says_why():
    with pytest.raises(UsageError, match="no 'other'; there are: list"):
        Texts(prepared_list(["one"]), "other")
    with pytest.raises(DataError, match=r"no 'other': it was prepared without a\.txt.*rmem fetch toy"):
        Texts(prepared_list(["one"], missing=["a.txt"]), "other")


def test_arrays_that_hold_nothing_can_be_read():
    content = Content({"none": [np.empty(0, np.uint8)], "one": [np.ones(1, np.uint8)]}, [])
    prepared = write_prepared("toy", "empty", content, **ABOUT)
    assert prepared.array("none").tolist() == []
