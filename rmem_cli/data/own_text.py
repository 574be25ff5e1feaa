"""Texts of one's own, as prepared sets of the forms `char`, `word` and `sentencepiece-<size>`."""

from codecs import BOM_UTF8
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np

from rmem_cli.data.own import prepared_once
from rmem_cli.data.prepared import SENTENCEPIECE, Prepared
from rmem_cli.data.symbols import (
    END_OF_LINE_WORD,
    count_characters,
    encoded_characters,
    encoded_pieces,
    encoded_words,
    symbol_of,
    text_batches,
    word_batches,
)
from rmem_cli.data.tokenizers import END_OF_LINE, UNKNOWN, SentencePieceTokenizer, whole_lines
from rmem_cli.data.writer import Content
from rmem_cli.errors import DataError
from rmem_cli.recipe.own_files import SPLITS, OwnText

_BLOCK = 1 << 16


@dataclass(frozen=True)
class Excerpt:
    """Some bytes of a file.

    Attributes:
        path: The file.
        begin: The first of them.
        end: The one behind the last of them.
    """

    path: Path
    begin: int
    end: int

    def batches(self) -> Iterator[str]:
        """Its text in pieces, of whole lines, which a line feed ends.

        Raises:
            DataError: It is not UTF-8, or holds a NUL.
        """
        for text in text_batches(self.path, self.begin, self.end):
            if "\0" in text:
                raise self._with_nul()
            yield text.replace("\r\n", "\n")

    def _with_nul(self) -> DataError:
        """Names the first NUL, of which UTF-16 has many, and UTF-8 that is text none."""
        place = self.begin
        with self.path.open("rb") as handle:
            handle.seek(place)
            while (block := handle.read(_BLOCK)) and b"\0" not in block:
                place += len(block)
        place += block.find(b"\0")
        return DataError(f"{self.path} is not text: byte {place:,} is NUL, as in UTF-16; save it as UTF-8.")


def open_own_text(own: OwnText) -> Prepared:
    """A text of one's own, prepared the first time.

    Raises:
        DataError: A file is missing, empty or not UTF-8, or changes while it is read.
        UsageError: sentencepiece cannot make as many pieces of it.
    """
    forms = {"characters": "char", "words": "word", "sentencepiece": f"{SENTENCEPIECE}{own.size}"}
    return prepared_once(own, forms[own.tokens], lambda: _content(own))


def _content(own: OwnText) -> Content:
    excerpts = _excerpts(own)
    for split, excerpt in excerpts.items():
        if not any(text.strip() for text in excerpt.batches()):
            raise DataError(f"{excerpt.path} has no text for {split}: what is read is empty; give it more.")
    makers = {"characters": _characters, "words": _words, "sentencepiece": _pieces}
    return makers[own.tokens]({split: excerpt.batches for split, excerpt in excerpts.items()}, own.size)


Texts = Mapping[str, Callable[[], Iterable[str]]]
"""Each split with what gives its text in pieces."""


def _characters(texts: Texts, size: int | None) -> Content:
    counts = {split: count_characters(batches()) for split, batches in texts.items()}
    vocabulary = own_vocabulary(counts, size)
    unknown = symbol_of(vocabulary, UNKNOWN)
    arrays = {split: encoded_characters(batches(), vocabulary, unknown) for split, batches in texts.items()}
    return Content(arrays, vocabulary, symbol_of(vocabulary, "\n"))


def _words(texts: Texts, size: int | None) -> Content:
    words = {split: partial(_words_of, batches) for split, batches in texts.items()}
    counts: dict[str, Counter[str]] = {split: Counter() for split in texts}
    for split, batches in words.items():
        for batch in batches():
            counts[split].update(batch)
    vocabulary = own_vocabulary(counts, size, (END_OF_LINE_WORD,))
    unknown = symbol_of(vocabulary, UNKNOWN)
    arrays = {split: encoded_words(batches(), vocabulary, unknown) for split, batches in words.items()}
    return Content(arrays, vocabulary, symbol_of(vocabulary, END_OF_LINE_WORD))


def _words_of(batches: Callable[[], Iterable[str]]) -> Iterator[list[str]]:
    return word_batches(batches())


def _pieces(texts: Texts, size: int | None) -> Content:
    tokenizer = SentencePieceTokenizer.train(whole_lines(texts["train"]()), size or 0)
    arrays: dict[str, Iterable[np.ndarray]] = {
        split: encoded_pieces(whole_lines(batches()), tokenizer) for split, batches in texts.items()
    }
    model = [np.frombuffer(tokenizer.model, np.uint8)]
    end, counted = tokenizer.vocabulary.index(END_OF_LINE), {split: split for split in texts}
    return Content({**arrays, "model": model}, tokenizer.vocabulary, end, counted=counted)


def own_vocabulary(
    counts: Mapping[str, Counter[str]], size: int | None, first: tuple[str, ...] = ()
) -> list[str]:
    """Symbols of what is trained on, the most frequent first, ties in the order of Unicode.

    `<unk>` is the very first where something has no symbol of its own.

    Args:
        counts: How often what is to have a symbol occurs in each split.
        size: Most symbols; None: as many as there are.
        first: What has the first symbols, however frequent it is.
    """
    known = counts["train"]
    order = sorted(known, key=lambda text: (-known[text], text))
    rest = [text for text in order if text not in (*first, UNKNOWN)]
    complete = all(known.keys() >= each.keys() - set(first) for each in counts.values())
    if complete and UNKNOWN not in known and (size is None or len(first) + len(rest) <= size):
        return [*first, *rest]
    kept = len(rest) if size is None else size - len(first) - 1
    return [UNKNOWN, *first, *rest[:kept]]


def _excerpts(own: OwnText) -> dict[str, Excerpt]:
    """Each split with where its text is."""
    whole = {field: _whole(path) for field, path in own.files.items()}
    if own.file is None:
        return whole
    return dict(zip(SPLITS, _divided(own, whole["file"]), strict=True))


def _whole(path: Path) -> Excerpt:
    with path.open("rb") as handle:
        # Some editors put a mark in front of UTF-8.
        begin = len(BOM_UTF8) if handle.read(len(BOM_UTF8)) == BOM_UTF8 else 0
    return Excerpt(path, begin, path.stat().st_size)


def _divided(own: OwnText, whole: Excerpt) -> Iterator[Excerpt]:
    """Excerpts by their shares of the bytes, each to the end of a line, if another one follows."""
    cuts = [whole.begin + cut for cut in own.cuts(whole.end - whole.begin)]
    begin = whole.begin
    with whole.path.open("rb") as handle:
        for cut, limit in zip(cuts, [*cuts[1:], None], strict=True):
            end = cut if limit is None else _next_line(handle, cut, limit)
            yield Excerpt(whole.path, begin, max(begin, end))
            begin = max(begin, end)


def _next_line(handle: BinaryIO, place: int, limit: int) -> int:
    """Where the first line begins at a byte or behind it, but before a limit; else the first character."""
    handle.seek(max(0, place - 1))
    line = handle.readline(limit - place)
    if line.endswith(b"\n"):
        return max(0, place - 1) + len(line)
    handle.seek(place)
    within = handle.read(3)  # bytes of UTF-8 that go on with a character begin with the bits 10
    return place + next((number for number, byte in enumerate(within) if byte & 0xC0 != 0x80), len(within))
