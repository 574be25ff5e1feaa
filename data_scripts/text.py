"""Text to symbols, by a vocabulary ordered by frequency in the training split; streamed, of any size."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from pathlib import Path

import numpy as np

from rmem_cli.data.tokenizers import build_vocabulary
from rmem_cli.data.writer import Content, smallest_unsigned
from rmem_cli.errors import DataError

_BATCH = 1 << 20
_CODE_POINTS = 0x110000


def text_batches(path: Path) -> Iterator[str]:
    """A UTF-8 file in pieces of about a megabyte, each of whole lines; only a newline ends a line.

    Raises:
        DataError: The file is not UTF-8.
    """
    try:
        with path.open(encoding="utf-8", newline="\n") as handle:
            while text := handle.read(_BATCH):
                yield text + handle.readline()
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text (byte {error.start:,}: {error.reason}).") from error


def word_batches(path: Path, end_of_line: str) -> Iterator[list[str]]:
    """The words of a file, in pieces, with a word at the end of each line, also of empty ones."""
    for text in text_batches(path):
        whole = text if text.endswith("\n") else text + "\n"
        yield whole.replace("\n", f" {end_of_line} ").split()


def character_content(
    files: Mapping[str, Path], batches: Callable[[Path], Iterable[str]], end_of_line: str = "\n"
) -> Content:
    """Characters as symbols.

    The vocabulary holds the characters of the training split, most frequent first, ties by code point.

    Args:
        files: Split to file. Without "train" there is no vocabulary, and the others can only be counted.
        batches: File to its normalised text, in pieces.
        end_of_line: The character that ends a line.

    Raises:
        DataError: Another split holds a character that the training split does not (on reading the arrays).
    """
    if "train" not in files:
        return _only_counted(files, batches)
    counts = np.zeros(_CODE_POINTS, dtype=np.int64)
    for text in batches(files["train"]):
        counts += np.bincount(_code_points(text), minlength=_CODE_POINTS)
    found = np.flatnonzero(counts).tolist()
    vocabulary = build_vocabulary(Counter({chr(point): int(counts[point]) for point in found}), specials=())
    points = [ord(character) for character in vocabulary]
    symbols = np.full(_CODE_POINTS, len(vocabulary), dtype=np.uint32)
    symbols[points] = np.arange(len(vocabulary))
    dtype = smallest_unsigned(len(vocabulary))

    def encode(path: Path) -> Iterator[np.ndarray]:
        for text in batches(path):
            encoded = symbols[_code_points(text)]
            unknown = np.flatnonzero(encoded == len(vocabulary))
            if unknown.size:
                raise _unknown(path, text[unknown[0]])
            yield encoded.astype(dtype)

    arrays = {split: encode(path) for split, path in files.items()}
    return Content(arrays, vocabulary, _symbol(vocabulary, end_of_line))


def word_content(
    files: Mapping[str, Path], end_of_line: str = "<eos>", *, end_of_line_first: bool = False
) -> Content:
    """Words as symbols, with one that ends each line.

    The vocabulary holds the words of the training split, most frequent first, ties by first appearance.

    Args:
        files: Split to file. Without "train" there is no vocabulary, and the others can only be counted.
        end_of_line: The word that ends a line.
        end_of_line_first: Make it symbol 0, however frequent it is.

    Raises:
        DataError: Another split holds a word that the training split does not (on reading the arrays).
    """
    if "train" not in files:
        return _only_counted(files, lambda path: word_batches(path, end_of_line))
    counts: Counter[str] = Counter()
    for words in word_batches(files["train"], end_of_line):
        counts.update(words)
    # Not torchtext's order, as `build_vocabulary` has it: words as frequent would be sorted by their letters.
    vocabulary = [word for word, _ in counts.most_common()]
    if end_of_line_first:
        vocabulary.remove(end_of_line)
        vocabulary.insert(0, end_of_line)
    symbols = {word: symbol for symbol, word in enumerate(vocabulary)}
    dtype = smallest_unsigned(len(vocabulary))

    def encode(path: Path) -> Iterator[np.ndarray]:
        for words in word_batches(path, end_of_line):
            try:
                yield np.fromiter(map(symbols.__getitem__, words), dtype, len(words))
            except KeyError as error:
                raise _unknown(path, error.args[0]) from error

    arrays = {split: encode(path) for split, path in files.items()}
    return Content(arrays, vocabulary, symbols.get(end_of_line))


def _only_counted(files: Mapping[str, Path], batches: Callable[[Path], Iterable[Sized]]) -> Content:
    counts = {split: sum(map(len, batches(path))) for split, path in files.items()}
    return Content({}, [], unstored=counts)


def _code_points(text: str) -> np.ndarray:
    return np.frombuffer(text.encode("utf-32-le"), dtype="<u4")


def _symbol(vocabulary: list[str], text: str) -> int | None:
    return vocabulary.index(text) if text in vocabulary else None


def _unknown(path: Path, text: str) -> DataError:
    return DataError(f"{path.name} holds {text!r}, which the training split does not: it has no symbol.")
