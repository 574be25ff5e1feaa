"""Tokenizers of tasks come back from a file, and text from its symbols."""

import pytest

from rmem_cli.data.articles import SPECIAL, UNKNOWN, Splitting
from rmem_cli.data.task_tokenizers import (
    ArticleTokenizer,
    StoryTokenizer,
    TextTokenizer,
    tokenizer_from_json,
    tokenizer_to_json,
)
from rmem_cli.data.tokenizers import SentencePieceTokenizer
from rmem_cli.errors import UsageError

LINES = ["the cat sat on the mat", "the dog sat on the cat", "a mat and a dog"]
WORDS = sorted({word for line in LINES for word in line.split()})
TOKENIZERS = {
    "characters": lambda: TextTokenizer("made_up", "char", list("\n abcdeghmnost"), 0),
    "words": lambda: TextTokenizer("made_up", "word", ["<eos>", *WORDS], 0),
    "bytes": lambda: TextTokenizer("made_up", "bytes", [chr(byte) for byte in range(256)], None),
    "story": lambda: StoryTokenizer(["", *WORDS]),
    "article": lambda: ArticleTokenizer([*SPECIAL, *WORDS], Splitting("words", full_stops=False)),
    "pieces": lambda: TextTokenizer.of_pieces(
        "made_up", SentencePieceTokenizer.train(LINES * 9, 25, exact=False)
    ),
}
EVERY = pytest.mark.parametrize("name", TOKENIZERS)


@EVERY
def test_it_comes_back_from_json(name):
    tokenizer = TOKENIZERS[name]()
    again = tokenizer_from_json(tokenizer_to_json(tokenizer))
    assert again == tokenizer
    assert again.encode(LINES[0]) == tokenizer.encode(LINES[0])


@EVERY
def test_text_comes_back_but_for_blanks(name):
    tokenizer = TOKENIZERS[name]()
    text = "the cat sat" if name == "story" else "\n".join(LINES)
    symbols = tokenizer.encode(text)
    assert max(symbols) < len(tokenizer.vocabulary)
    found = "".join(tokenizer.decode(symbols))
    assert found.split() == text.split()
    if name in ("characters", "bytes", "pieces"):
        assert found == text


def test_a_word_without_a_symbol_is_named_or_the_unknown_one():
    with pytest.raises(UsageError, match="'bird' is none of the 9 words"):
        TOKENIZERS["story"]().encode("the bird")
    assert TOKENIZERS["article"]().encode("the bird")[1] == UNKNOWN


@pytest.mark.parametrize("text", [b"", b"{}", b'{"kind": "text"}', b'{"kind": "story", "vocabulary": [1]}'])
def test_something_else_is_refused(text):
    with pytest.raises(ValueError, match="validation error"):
        tokenizer_from_json(text)
