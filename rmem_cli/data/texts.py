"""Lists of texts in the prepared format: two arrays, all texts in UTF-8 and the bytes of each.

A list called `train_article` is the arrays `train_article` (uint8) and `train_article_bytes` (uint32, one
for each text). Reading maps them into memory, so any text of a large set is had at once.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import overload

import numpy as np

from rmem_cli.data.prepared import Prepared

SIZES = "_bytes"
"""What the array of sizes is called after the name of the list."""
_BLOCK = 1024


class Texts(Sequence[str]):
    """A list of texts, read only when asked for.

    Args:
        prepared: The prepared data set.
        name: Name of the list.

    Raises:
        UsageError: It has no such list.
        DataError: The list was missing when the data was prepared. Also raised on reading, where texts and
            sizes do not belong together.
    """

    def __init__(self, prepared: Prepared, name: str) -> None:
        self._prepared, self._name = prepared, name
        self._content = prepared.array(name)
        self._sizes = prepared.array(name + SIZES)

    @cached_property
    def _ends(self) -> np.ndarray:
        ends = np.cumsum(self._sizes, dtype=np.int64)
        if (ends[-1] if len(ends) else 0) != len(self._content):
            raise self._prepared.damaged(
                f"{self._name}.bin does not have the sizes in {self._name}{SIZES}.bin"
            )
        return ends

    def __len__(self) -> int:
        return len(self._sizes)

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> list[str]: ...

    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[position] for position in range(*index.indices(len(self)))]
        position = range(len(self))[index]
        end = int(self._ends[position])
        return self._decoded(self._content[end - int(self._sizes[position]) : end].tobytes())

    def __iter__(self) -> Iterator[str]:
        """All texts in order, read in blocks."""
        for first in range(0, len(self), _BLOCK):
            sizes = self._sizes[first : first + _BLOCK].tolist()
            stop = int(self._ends[first + len(sizes) - 1])
            content = self._content[stop - sum(sizes) : stop].tobytes()
            start = 0
            for size in sizes:
                yield self._decoded(content[start : start + size])
                start += size

    def _decoded(self, text: bytes) -> str:
        try:
            return text.decode("utf-8")
        except UnicodeDecodeError as error:
            raise self._prepared.damaged(f"{self._name}.bin holds a text that is not UTF-8") from error


def text_chunks(name: str, texts: Iterable[str]) -> Iterator[tuple[str, np.ndarray]]:
    """Chunks of the two arrays of a list, for `Content.together`.

    Args:
        name: Name of the list.
        texts: Some of its texts, in order; further calls append.
    """
    encoded = [text.encode("utf-8") for text in texts]
    yield name, np.frombuffer(b"".join(encoded), np.uint8)
    yield name + SIZES, np.array([len(text) for text in encoded], np.uint32)
