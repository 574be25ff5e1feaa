"""Text to symbols, by a vocabulary ordered by frequency in the training split; streamed, of any size."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from pathlib import Path
from typing import BinaryIO, TypeVar

import numpy as np

from rmem_cli.data.tokenizers import END_OF_LINE, SentencePieceTokenizer, build_vocabulary
from rmem_cli.data.writer import Content, smallest_unsigned
from rmem_cli.errors import DataError

END_OF_LINE_WORD = "<eos>"

_BATCH = 1 << 20  # bytes
_LINES = 10_000
_CODE_POINTS = 0x110000
_Part = TypeVar("_Part")


def text_batches(path: Path, begin: int = 0, end: int | None = None) -> Iterator[str]:
    """A UTF-8 file in pieces of about a megabyte, each of whole lines; only a newline ends a line.

    Args:
        path: The file.
        begin: The byte that is read first.
        end: The byte that is not read any more; None: all bytes are.

    Raises:
        DataError: The file is not UTF-8.
    """
    with path.open("rb") as handle:
        handle.seek(begin)
        while block := _whole_lines(handle, end):
            try:
                yield block.decode("utf-8")
            except UnicodeDecodeError as error:
                place = f"byte {begin + error.start:,}: {error.reason}"
                raise DataError(f"{path} is not UTF-8 text ({place}); save it as such.") from error
            begin += len(block)


def _whole_lines(handle: BinaryIO, end: int | None) -> bytes:
    """The next lines of a file, about a megabyte of them, up to a byte."""
    left = _BATCH if end is None else end - handle.tell()
    block = handle.read(min(_BATCH, left))
    return block + handle.readline(-1 if end is None else left - len(block))


def word_batches(batches: Iterable[str]) -> Iterator[list[str]]:
    """The words of a text in pieces, with `END_OF_LINE_WORD` at the end of each line, also of empty ones."""
    for text in batches:
        whole = text if text.endswith("\n") else text + "\n"
        yield whole.replace("\n", f" {END_OF_LINE_WORD} ").split()


def count_characters(batches: Iterable[str]) -> Counter[str]:
    """How often each character occurs, in the order of code points."""
    counts = np.zeros(_CODE_POINTS, dtype=np.int64)
    for text in batches:
        counts += np.bincount(_code_points(text), minlength=_CODE_POINTS)
    return Counter({chr(point): int(counts[point]) for point in np.flatnonzero(counts).tolist()})


def encoded_characters(
    batches: Iterable[str], vocabulary: Sequence[str], unknown: int | None = None
) -> Iterator[np.ndarray]:
    """The symbols of the characters of a text.

    Args:
        batches: The text, in pieces.
        vocabulary: The text of each symbol.
        unknown: The symbol of a character that has none of its own; None: there is none.

    Raises:
        KeyError: A character has no symbol.
    """
    none = len(vocabulary)
    symbols = np.full(_CODE_POINTS, none if unknown is None else unknown, dtype=np.uint32)
    own = {ord(text): symbol for symbol, text in enumerate(vocabulary) if len(text) == 1}
    symbols[list(own)] = list(own.values())
    dtype = smallest_unsigned(len(vocabulary))
    for text in batches:
        encoded = symbols[_code_points(text)]
        without = np.flatnonzero(encoded == none)
        if without.size:
            raise KeyError(text[without[0]])
        yield encoded.astype(dtype)


def encoded_words(
    batches: Iterable[list[str]], vocabulary: Sequence[str], unknown: int | None = None
) -> Iterator[np.ndarray]:
    """The symbols of words; arguments and errors as of `encoded_characters`."""
    symbols = {word: symbol for symbol, word in enumerate(vocabulary)}
    dtype = smallest_unsigned(len(vocabulary))
    for words in batches:
        own = (symbols[word] if unknown is None else symbols.get(word, unknown) for word in words)
        yield np.fromiter(own, dtype, len(words))


def encoded_pieces(lines: Iterable[str], tokenizer: SentencePieceTokenizer) -> Iterator[np.ndarray]:
    """The pieces of lines, each with the one that ends a line behind it."""
    dtype, end = smallest_unsigned(len(tokenizer.vocabulary)), tokenizer.vocabulary.index(END_OF_LINE)
    symbols: list[int] = []
    for number, line in enumerate(lines, start=1):
        symbols += [*tokenizer.encode(line), end]
        if number % _LINES == 0:
            yield np.array(symbols, dtype)
            symbols = []
    if symbols:
        yield np.array(symbols, dtype)


def character_content(files: Mapping[str, Path], batches: Callable[[Path], Iterable[str]]) -> Content:
    """Characters as symbols.

    The vocabulary holds the characters of the training split, most frequent first, ties by code point.

    Args:
        files: Split to file. Without "train" there is no vocabulary, and the others can only be counted.
        batches: File to its normalised text, in pieces.

    Raises:
        DataError: Another split holds a character that the training split does not (on reading the arrays).
    """
    if "train" not in files:
        return _only_counted(files, batches)
    vocabulary = build_vocabulary(count_characters(batches(files["train"])))
    return _content(files, batches, encoded_characters, vocabulary, "\n")


def word_content(files: Mapping[str, Path], *, end_of_line_first: bool = False) -> Content:
    """Words as symbols, with `END_OF_LINE_WORD` at the end of each line.

    The vocabulary holds the words of the training split, most frequent first, ties by first appearance.

    Args:
        files: Split to file. Without "train" there is no vocabulary, and the others can only be counted.
        end_of_line_first: Make that word symbol 0, however frequent it is.

    Raises:
        DataError: Another split holds a word that the training split does not (on reading the arrays).
    """

    def batches(path: Path) -> Iterator[list[str]]:
        return word_batches(text_batches(path))

    if "train" not in files:
        return _only_counted(files, batches)
    counts: Counter[str] = Counter()
    for words in batches(files["train"]):
        counts.update(words)
    # Not torchtext's order, as `build_vocabulary` has it: words as frequent would be sorted by their letters.
    vocabulary = [word for word, _ in counts.most_common()]
    if end_of_line_first:
        vocabulary.remove(END_OF_LINE_WORD)
        vocabulary.insert(0, END_OF_LINE_WORD)
    return _content(files, batches, encoded_words, vocabulary, END_OF_LINE_WORD)


def _content(
    files: Mapping[str, Path],
    batches: Callable[[Path], Iterable[_Part]],
    encoded: Callable[[Iterable[_Part], list[str]], Iterator[np.ndarray]],
    vocabulary: list[str],
    end_of_line: str,
) -> Content:
    """Symbols of each split, encoded when its array is read."""

    def encode(path: Path) -> Iterator[np.ndarray]:
        try:
            yield from encoded(batches(path), vocabulary)
        except KeyError as error:
            raise DataError(
                f"{path.name} holds {error.args[0]!r}, which the training split does not: it has no symbol."
            ) from error

    arrays = {split: encode(path) for split, path in files.items()}
    return Content(arrays, vocabulary, symbol_of(vocabulary, end_of_line))


def _only_counted(files: Mapping[str, Path], batches: Callable[[Path], Iterable[Sized]]) -> Content:
    counts = {split: sum(map(len, batches(path))) for split, path in files.items()}
    return Content({}, [], unstored=counts)


def _code_points(text: str) -> np.ndarray:
    return np.frombuffer(text.encode("utf-32-le"), dtype="<u4")


def symbol_of(vocabulary: Sequence[str], text: str) -> int | None:
    """The symbol of a text; None if there is none."""
    return vocabulary.index(text) if text in vocabulary else None
