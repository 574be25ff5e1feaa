"""A text of single bytes in one file, cut into training, validation and test parts at fixed places."""

import mmap
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from rmem_cli.data.writer import Content, smallest_unsigned
from rmem_cli.errors import DataError

_CHUNK = 1 << 24
_NEWLINE = ord("\n")
_VALUES = 256


def byte_content(path: Path, held_out: int, *, drop_newlines: bool = False) -> Content:
    """Bytes as symbols; the text of a symbol is the character of that byte in Latin-1.

    The vocabulary holds the bytes of the training part, most frequent first, ties by first appearance.

    Args:
        path: The text.
        held_out: Bytes of the test part, which is the end, and of the validation part before it.
        drop_newlines: Leave newlines out, after cutting.

    Raises:
        DataError: The text is too short, or a held-out part has a byte that the training part has not.
    """
    size = path.stat().st_size
    if size <= 2 * held_out:
        raise DataError(f"{path} holds {size:,} bytes, too few to hold out two parts of {held_out:,}.")
    valid, test = size - 2 * held_out, size - held_out
    parts = {"train": (0, valid), "valid": (valid, test), "test": (test, size)}
    counts = {part: _count(path, *limits) for part, limits in parts.items()}
    if drop_newlines:
        for count in counts.values():
            count[_NEWLINE] = 0
    vocabulary = _by_frequency(path, counts["train"])
    for part, count in counts.items():
        for unknown in set(np.flatnonzero(count).tolist()) - set(vocabulary):
            raise DataError(f"{path}: byte {unknown} is in the {part} part, but not in the training part.")
    symbols = np.zeros(_VALUES, smallest_unsigned(len(vocabulary)))
    symbols[vocabulary] = np.arange(len(vocabulary))

    def encode(start: int, stop: int) -> Iterator[np.ndarray]:
        for chunk in _chunks(path, start, stop):
            yield symbols[chunk[chunk != _NEWLINE] if drop_newlines else chunk]

    return Content(
        {part: encode(*limits) for part, limits in parts.items()},
        [chr(value) for value in vocabulary],
        vocabulary.index(_NEWLINE) if _NEWLINE in vocabulary else None,
    )


def _count(path: Path, start: int, stop: int) -> np.ndarray:
    """How often each byte value occurs in a part."""
    return sum(
        (np.bincount(chunk, minlength=_VALUES) for chunk in _chunks(path, start, stop)),
        start=np.zeros(_VALUES, np.int64),
    )


def _by_frequency(path: Path, counts: np.ndarray) -> list[int]:
    with path.open("rb") as handle, mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as text:
        present = np.flatnonzero(counts).tolist()
        return sorted(present, key=lambda value: (-counts[value], text.find(bytes([value]))))


def _chunks(path: Path, start: int, stop: int) -> Iterator[np.ndarray]:
    with path.open("rb") as handle:
        handle.seek(start)
        while start < stop:
            chunk = np.frombuffer(handle.read(min(_CHUNK, stop - start)), np.uint8)
            start += len(chunk)
            yield chunk
