"""From text to the symbols of a prepared set, and back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmem_cli.data.decoded import decode
from rmem_cli.data.encoded import encode
from rmem_cli.data.prepared import Prepared
from rmem_cli.errors import UsageError

WORDS = ["<eos>", "the", "<unk>", "cat"]
LATIN = [chr(byte) for byte in range(256)]


def prepared(form, vocabulary, end_of_line=None):
    meta = {"name": "made_up", "form": form, "vocabulary": vocabulary, "end_of_line": end_of_line}
    return Prepared(None, meta)


def there_and_back(text, *given):
    symbols = encode(prepared(*given), text)
    return "".join(decode(prepared(*given), (np.array([symbol]) for symbol in symbols)))


@given(st.text())
def test_bytes_come_back(text):
    assert there_and_back(text, "bytes", LATIN) == text


@given(st.text(alphabet="ab_\n"))
def test_characters_come_back(text):
    assert there_and_back(text, "char", list("\n_ba"), 0) == text


def test_words_come_back_with_the_unknown_ones_marked():
    assert encode(prepared("word", WORDS, 0), "the dog\nthe  cat").tolist() == [1, 2, 0, 1, 3]
    assert there_and_back("the dog\nthe  cat", "word", WORDS, 0) == "the <unk> \nthe cat "


@pytest.mark.parametrize(
    ("form", "vocabulary", "text", "message"),
    [
        ("char", list("_ab"), "a b", "' ' is none of the 3 symbols of made_up \\(char\\): '_' 'a' 'b'"),
        ("word", ["<eos>", "the"], "the cat", "'cat' is none of the 2 symbols"),
        ("bytes", ["a"], "aé", "'Ã' is none"),
    ],
)
def test_symbols_that_are_not_there_are_named(form, vocabulary, text, message):
    with pytest.raises(UsageError, match=message):
        encode(prepared(form, vocabulary, 0), text)
