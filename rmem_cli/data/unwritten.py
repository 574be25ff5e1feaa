"""A data set of which only the size is known, so that a run can be planned before its data is there."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from rmem_cli.data.prepared import Prepared
from rmem_cli.data.writer import Content

UNPREPARED = "unprepared"
"""Data hash of a data set that is not there."""


@dataclass(frozen=True)
class Unwritten(Prepared):
    """What stands for a data set that is not there.

    Args:
        folder: None of its arrays lies there.
        meta: As of a prepared data set, as far as it is known.
        arrays: What stands for each array: of its type and size, whatever it says.
    """

    arrays: Mapping[str, np.ndarray]

    @classmethod
    def of(cls, name: str, form: str, content: Content, counts: Mapping[str, int]) -> Self:
        """A form of a data set, with what stands for its content.

        Args:
            name: Data set.
            form: What would be made of it.
            content: What stands for it, each array in one chunk.
            counts: How much there is, where that is not how many items the arrays have.
        """
        arrays = {array: chunk for array, (chunk,) in content.arrays.items()} | dict(content.together)
        counted = {array: array for array in arrays} if content.counted is None else content.counted
        meta = {
            "name": name,
            "form": form,
            "missing": [],
            "arrays": {array: {"shape": chunk.shape} for array, chunk in arrays.items()},
            "counts": {**{what: len(arrays[array]) for what, array in counted.items()}, **counts},
            "vocabulary": content.vocabulary,
            "end_of_line": 0,
            "details": dict(content.details),
        }
        return cls(Path(), meta, arrays)

    @property
    def data_hash(self) -> str:
        """No hash: there is nothing to hash."""
        return UNPREPARED

    def array(self, name: str, *, below: int | None = None) -> np.memmap[Any, Any]:
        """What stands for the content; zeros are below everything."""
        del below
        return self.arrays[name].view(np.memmap)


def zeros(*shape: int) -> np.ndarray:
    """One zero, seen from everywhere: as large as the data, without its memory."""
    return np.broadcast_to(np.zeros((), np.uint8), shape)
