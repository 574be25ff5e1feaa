"""Sizes of public data sets, so that a run can be planned before its data is there."""

from pathlib import Path
from typing import Any

import numpy as np

from rmem_cli.data.prepared import Prepared

_TEXTS: dict[tuple[str, str], tuple[int, dict[str, int]]] = {
    ("enwik8", "bytes"): (205, {"train": 90_000_000, "valid": 5_000_000, "test": 5_000_000}),
    ("enwik8", "txl"): (204, {"train": 88_982_818, "valid": 4_945_742, "test": 4_943_417}),
    ("ptb", "char"): (50, {"train": 5_017_482, "valid": 393_042, "test": 442_423}),
    ("ptb", "word"): (10_000, {"train": 929_589, "valid": 73_760, "test": 82_430}),
    ("text8", "char"): (27, {"train": 90_000_000, "valid": 5_000_000, "test": 5_000_000}),
    ("wikitext2", "word"): (33_278, {"train": 2_088_628, "valid": 217_646, "test": 245_569}),
    ("wikitext103", "word"): (267_735, {"train": 103_227_021, "valid": 217_646, "test": 245_569}),
}
_IMAGES: dict[str, tuple[int, ...]] = {"mnist": (60_000, 28, 28), "cifar10": (50_000, 32, 32, 3)}
_CLASSES = 10


UNPREPARED = "unprepared"
"""Data hash of a data set that is not there."""


class _Unwritten(Prepared):
    """A data set of which nothing but its size is known: all of its numbers are zero."""

    @property
    def data_hash(self) -> str:
        """No hash: there is nothing to hash."""
        return UNPREPARED

    def array(self, name: str) -> np.memmap[Any, Any]:
        """Zeros."""
        about = self.meta["arrays"][name]
        # One zero, seen from everywhere: as large as the data, without its memory.
        return np.broadcast_to(np.zeros((), np.uint8), about["shape"]).view(np.memmap)


def unwritten(name: str, form: str) -> Prepared | None:
    """A data set in its known size, but without its content; None if its size is not known."""
    if (name, form) in _TEXTS:
        distinct, counts = _TEXTS[name, form]
        shapes: dict[str, tuple[int, ...]] = {split: (count,) for split, count in counts.items()}
    elif form == "images" and name in _IMAGES:
        distinct, shape = _CLASSES, _IMAGES[name]
        counts = {"train": shape[0]}
        shapes = {"train_images": shape, "train_labels": shape[:1]}
    else:
        return None
    meta = {
        "name": name,
        "form": form,
        "missing": [],
        "arrays": {array: {"shape": shape} for array, shape in shapes.items()},
        "counts": counts,
        "vocabulary": [str(symbol) for symbol in range(distinct)],
        "end_of_line": 0,
    }
    return _Unwritten(Path(), meta)
