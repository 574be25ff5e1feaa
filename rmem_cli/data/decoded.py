"""The text of a prepared language modelling set, decoded from its symbols."""

import codecs
from collections.abc import Iterator

import numpy as np

from rmem_cli.data.prepared import SENTENCEPIECE, Prepared

_BLOCK = 1 << 20
_SPACE = "\u2581"  # what sentencepiece writes for one


def decoded(prepared: Prepared, split: str) -> Iterator[str]:
    """The text of a split, in pieces.

    Args:
        prepared: The set.
        split: "train", "valid" or "test".
    """
    tokens = prepared.tokens(split)
    return decode(prepared, (tokens[start : start + _BLOCK] for start in range(0, len(tokens), _BLOCK)))


def decode(prepared: Prepared, blocks: Iterator[np.ndarray]) -> Iterator[str]:
    """The text of symbols, piece by piece.

    The form tells how: `word` has spaces between words and an end of line for `<eos>`, `bytes` is UTF-8,
    pieces of words have their spaces with them, and any other form is characters.

    Args:
        prepared: The set that they belong to.
        blocks: Symbols, `[n]` each.
    """
    form = prepared.meta["form"]
    if form.startswith(SENTENCEPIECE):
        return _pieces(prepared, blocks)
    return {"word": _words, "bytes": _utf8}.get(form, _characters)(prepared, blocks)


def _characters(prepared: Prepared, blocks: Iterator[np.ndarray]) -> Iterator[str]:
    for block in blocks:
        yield "".join(map(prepared.vocabulary.__getitem__, block.tolist()))


def _words(prepared: Prepared, blocks: Iterator[np.ndarray]) -> Iterator[str]:
    words = [f"{word} " for word in prepared.vocabulary]
    _end_lines(prepared, words)
    for block in blocks:
        yield "".join(map(words.__getitem__, block.tolist()))


def _pieces(prepared: Prepared, blocks: Iterator[np.ndarray]) -> Iterator[str]:
    """No space stands at the beginning of a line: the first piece of each has one that the text has not."""
    texts = [piece.replace(_SPACE, " ") for piece in prepared.vocabulary]
    _end_lines(prepared, texts)
    begins = True
    for block in blocks:
        for symbol in block.tolist():
            text = texts[symbol]
            yield text.removeprefix(" ") if begins else text
            begins = text == "\n"


def _end_lines(prepared: Prepared, texts: list[str]) -> None:
    """The symbol of an end of line is one, where there is one."""
    if (end := prepared.meta["end_of_line"]) is not None:
        texts[end] = "\n"


def _utf8(prepared: Prepared, blocks: Iterator[np.ndarray]) -> Iterator[str]:
    values = np.array([ord(character) for character in prepared.vocabulary], np.uint8)
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    for block in blocks:
        yield decoder.decode(values[block].tobytes())
