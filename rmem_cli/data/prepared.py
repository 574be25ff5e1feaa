"""Reading the prepared format: memory-mapped arrays and the `meta.json` that describes them.

A prepared data set is a folder `<data root>/<name>/<form>/` that holds

- `<array>.bin` for each array (for text: one per split), raw little-endian unsigned integers, and
- `meta.json`: name, form, format version, sources with their hashes, the type, shape and hash of each array,
  counts, vocabulary, licence and citation.

`rmem_cli.data.writer` makes such folders; they appear by a rename, so one that is there is finished.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from pathlib import Path
from types import NoneType
from typing import Any

import numpy as np

from rmem_cli.errors import DataError, UsageError
from rmem_cli.paths import data_root

FORMAT = 1
META = "meta.json"

_META_TYPES: dict[str, type | tuple[type, ...]] = {
    "format": int,
    "name": str,
    "form": str,
    "sources": list,
    "missing": list,
    "arrays": dict,
    "counts": dict,
    "distinct": int,
    "vocabulary": list,
    "end_of_line": (int, NoneType),
    "licence": str,
    "citation": str,
    "data_hash": str,
}


@dataclass(frozen=True)
class Prepared:
    """One prepared data set, opened but not read.

    Args:
        folder: Where its arrays lie.
        meta: What `meta.json` says.
    """

    folder: Path
    meta: dict[str, Any]

    @property
    def data_hash(self) -> str:
        """12 hex digits that change when any symbol or the vocabulary changes."""
        return str(self.meta["data_hash"])

    @property
    def splits(self) -> list[str]:
        """The names of the arrays."""
        return list(self.meta["arrays"])

    @cached_property
    def vocabulary(self) -> list[str]:
        """The text of each symbol; symbol k is `vocabulary[k]`."""
        return list(self.meta["vocabulary"])

    def tokens(self, split: str) -> np.memmap[Any, Any]:
        """The symbols of a split, read-only and memory-mapped: nothing is read before it is used.

        Args:
            split: "train", "valid" or "test", as `splits` lists them.

        Returns:
            Array [symbols] of the smallest unsigned integer type that holds the vocabulary.

        Raises:
            UsageError: There is no such split.
        """
        if split not in self.meta["arrays"]:
            raise UsageError(
                f"{self.meta['name']} has no split {split!r}; there are: {', '.join(self.splits)}."
            )
        array = self.meta["arrays"][split]
        return np.memmap(
            array_path(self.folder, split), np.dtype(array["dtype"]), "r", shape=tuple(array["shape"])
        )


def open_prepared(name: str, form: str) -> Prepared:
    """Open a prepared data set; checks what is cheap (`meta.json`, sizes), not the hashes of the arrays.

    Args:
        name: Data set, as in `rmem fetch --list`.
        form: What was made of it, such as "char" or "word".

    Raises:
        DataError: It is not there, or damaged; the message names the command that helps.
    """
    folder = prepared_folder(name, form)
    if not folder.is_dir():
        raise DataError(
            f"The data set {name} ({form}) is not in {folder.parent.parent}: "
            f"get it with `rmem fetch {name}`, or import a local copy with `rmem fetch {name} --from PATH`."
        )
    meta = _read_meta(folder, name, form)
    for array, about in meta["arrays"].items():
        _check_size(folder, name, array, about)
    return Prepared(folder, meta)


def check_prepared(name: str, form: str) -> Prepared:
    """Open a prepared data set and compare every array with its recorded sha256.

    Raises:
        DataError: It is not there, or damaged; the message names the file.
    """
    prepared = open_prepared(name, form)
    for array, about in prepared.meta["arrays"].items():
        with array_path(prepared.folder, array).open("rb") as handle:
            found = hashlib.file_digest(handle, "sha256").hexdigest()
        if found != about["sha256"]:
            raise _damaged(prepared.folder, name, f"{array}.bin has sha256 {found}, not {about['sha256']}")
    return prepared


def prepared_folder(name: str, form: str) -> Path:
    """Where a prepared data set lies, or would lie."""
    return data_root() / name / form


def array_path(folder: Path, array: str) -> Path:
    """The file of one array of a prepared folder."""
    return folder / f"{array}.bin"


def content_hash(array_hashes: Mapping[str, str], vocabulary: Sequence[str]) -> str:
    """The data hash: 12 hex digits of the sha256 of every array's sha256 and the vocabulary."""
    content = json.dumps({"arrays": dict(array_hashes), "vocabulary": list(vocabulary)}, sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:12]


def _read_meta(folder: Path, name: str, form: str) -> dict[str, Any]:
    try:
        meta = json.loads((folder / META).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _damaged(folder, name, f"{META} cannot be read: {error}") from error
    if not isinstance(meta, dict):
        raise _damaged(folder, name, f"{META} is not a mapping")
    if meta.get("format") != FORMAT:
        raise _damaged(
            folder, name, f"it has format {meta.get('format')!r}, and this rmem reads format {FORMAT}"
        )
    wrong = [key for key, kind in _META_TYPES.items() if key not in meta or not isinstance(meta[key], kind)]
    if wrong:
        raise _damaged(folder, name, f"{META} lacks a valid {', '.join(wrong)}")
    if (meta["name"], meta["form"]) != (name, form):
        raise _damaged(folder, name, f"{META} describes {meta['name']} ({meta['form']})")
    if not all(_is_array_entry(about) for about in meta["arrays"].values()):
        raise _damaged(folder, name, f"{META} describes an array wrongly")
    hashes = {array: about["sha256"] for array, about in meta["arrays"].items()}
    if content_hash(hashes, meta["vocabulary"]) != meta["data_hash"]:
        raise _damaged(folder, name, f"the data_hash in {META} does not fit its arrays and vocabulary")
    return meta


def _is_array_entry(about: Any) -> bool:
    try:
        shape_ok = all(isinstance(size, int) and size >= 0 for size in about["shape"])
        return shape_ok and np.dtype(about["dtype"]).kind == "u" and isinstance(about["sha256"], str)
    except (KeyError, TypeError):
        return False


def _check_size(folder: Path, name: str, array: str, about: Mapping[str, Any]) -> None:
    expected = prod(about["shape"]) * np.dtype(about["dtype"]).itemsize
    try:
        found = array_path(folder, array).stat().st_size
    except OSError as error:
        raise _damaged(folder, name, f"{array}.bin is missing") from error
    if found != expected:
        raise _damaged(folder, name, f"{array}.bin holds {found:,} bytes instead of {expected:,}")


def _damaged(folder: Path, name: str, why: str) -> DataError:
    return DataError(
        f"The prepared data in {folder} is damaged ({why}): `rmem fetch --check {name}` verifies it, "
        f"and `rmem fetch {name}` makes it anew."
    )
