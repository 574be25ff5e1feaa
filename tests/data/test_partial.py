import numpy as np
import pytest

from rmem_cli.data.prepared import check_prepared, open_prepared, read_prepared
from rmem_cli.data.writer import Content, Expected, write_prepared
from rmem_cli.errors import DataError

ABOUT = {"sources": [], "licence": "free", "citation": "nobody"}
TEXT = {"valid": [np.array([0, 1], np.uint8)]}


def write(arrays=TEXT, **options):
    return write_prepared("toy", "word", Content(arrays, ["a", "b"]), **ABOUT, **options)


def test_the_hash_of_partial_data_says_so():
    whole = write()
    partial = write(missing=["train.txt"])
    assert partial.data_hash == f"{whole.data_hash}-partial"
    assert partial.missing == ["train.txt"]
    assert check_prepared("toy", "word").missing == ["train.txt"]


def test_a_split_that_is_missing_is_refused_with_the_command_that_gets_it():
    write(missing=["train.txt"])
    with pytest.raises(
        DataError, match=r"no 'train': it was prepared without train\.txt.*rmem fetch toy --from"
    ):
        open_prepared("toy", "word").tokens("train")


def test_data_of_which_only_counts_are_known_cannot_be_opened_for_use():
    content = Content({}, [], unstored={"valid": 7})
    write_prepared("toy", "word", content, **ABOUT, missing=["train.txt"])
    with pytest.raises(DataError, match=r"only counts \(valid 7\), no text.*without train\.txt"):
        open_prepared("toy", "word")
    assert read_prepared("toy", "word").meta["counts"] == {"valid": 7}
    assert check_prepared("toy", "word").splits == []


def test_of_partial_data_what_is_there_must_have_the_right_count():
    expected = Expected({"train": 9, "valid": 2}, distinct=5)
    write(missing=["train.txt"], expected=expected)
    with pytest.raises(DataError, match="valid 2 with 2 distinct instead of"):
        write(missing=["train.txt"], expected=Expected({"train": 9, "valid": 3}))


def test_too_few_items_are_a_gap_only_where_that_is_allowed():
    expected = Expected({"valid": 10})
    with pytest.raises(DataError, match=r"instead of valid 10\. --allow-missing takes what there is\.$"):
        write(expected=expected)
    with pytest.raises(DataError, match=r"instead of valid 1\.$"):
        write(expected=Expected({"valid": 1}))
    with pytest.raises(DataError, match=r"instead of valid 2 with 9 distinct\.$"):
        write(expected=Expected({"valid": 2}, distinct=9))
    assert write(expected=expected, short_allowed=True).missing == ["valid: 2 of 10"]
