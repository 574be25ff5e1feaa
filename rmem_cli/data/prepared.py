"""Reading the prepared format: memory-mapped arrays and the `meta.json` that describes them.

A prepared data set is a folder `<data root>/<name>/<form>/` that holds

- `<array>.bin` for each array (for text: one per split), raw little-endian unsigned integers, and
- `meta.json`: name, form, format version, sources with their hashes, what is missing, the type, shape and
  hash of each array, counts, vocabulary, licence and citation.

A list of texts (articles, questions, ...) is two arrays: all texts in UTF-8, and the bytes of each
(see `rmem_cli.data.texts`).

`rmem_cli.data.writer` makes such folders; they appear by a rename, so one that is there is finished.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cached_property
from math import prod
from pathlib import Path
from types import NoneType
from typing import Any, NoReturn

import numpy as np

from rmem_cli.errors import DataError, UsageError
from rmem_cli.paths import data_root

FORMAT = 1
META = "meta.json"
PARTIAL = "-partial"
"""How the data hash ends if something was missing when the data was prepared."""

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
        """12 hex digits that change when any symbol or the vocabulary changes.

        If something is missing, "-partial" stands after them: a result carries this hash, and so says by
        itself that it was made from incomplete data.
        """
        return str(self.meta["data_hash"]) + (PARTIAL if self.missing else "")

    @property
    def missing(self) -> list[str]:
        """What of the data set was not there when it was prepared: source files, or parts of them."""
        return list(self.meta["missing"])

    @property
    def splits(self) -> list[str]:
        """What is counted and can be read: for text the splits, which are its arrays."""
        return [split for split in self.meta["counts"] if self.meta["arrays"]]

    @property
    def details(self) -> dict[str, Any]:
        """Facts that only this kind of data set has, such as the seed of a generated one."""
        return dict(self.meta.get("details", {}))

    @cached_property
    def vocabulary(self) -> list[str]:
        """The text of each symbol; symbol k is `vocabulary[k]`."""
        return list(self.meta["vocabulary"])

    @cached_property
    def _checked(self) -> set[str]:
        """Splits all of whose symbols are in the vocabulary."""
        return set()

    def tokens(self, split: str) -> np.memmap[Any, Any]:
        """The symbols of a split, read-only and memory-mapped; read as a whole the first time, to be checked.

        Args:
            split: "train", "valid" or "test", as `splits` lists them.

        Returns:
            Array [symbols] of the smallest unsigned integer type that holds the vocabulary.

        Raises:
            UsageError: There is no such split.
            DataError: It was missing when the data was prepared, or has symbols that the vocabulary has not.
        """
        if split not in self.splits:
            self._refuse(split, self.splits)
        tokens = self.array(split)
        if split not in self._checked:
            if self.vocabulary and tokens.size and tokens.max() >= len(self.vocabulary):
                raise _damaged(
                    self.folder, self.meta["name"], f"{split}.bin has symbols beyond the vocabulary"
                )
            self._checked.add(split)
        return tokens

    def array(self, name: str) -> np.memmap[Any, Any]:
        """Any array, read-only and memory-mapped.

        Args:
            name: As `meta.json` lists them under `arrays`.

        Returns:
            Array [items, ...] of an unsigned integer type.

        Raises:
            UsageError: There is no such array.
            DataError: It was missing when the data was prepared.
        """
        if name not in self.meta["arrays"]:
            self._refuse(name, list(self.meta["arrays"]))
        about = self.meta["arrays"][name]
        return _mapped(array_path(self.folder, name), np.dtype(about["dtype"]), tuple(about["shape"]))

    def _refuse(self, wanted: str, there: list[str]) -> NoReturn:
        if self.missing:
            raise DataError(f"{_title(self.meta)} has no {wanted!r}: {_gap(self.meta)}")
        raise UsageError(f"{_title(self.meta)} has no {wanted!r}; there are: {', '.join(there)}.")


_sizes_suffice: ContextVar[bool] = ContextVar("sizes_suffice", default=False)


@contextmanager
def sizes_suffice() -> Iterator[None]:
    """While this context lasts, a data set that is not here opens without content, in its known size."""
    token = _sizes_suffice.set(True)
    try:
        yield
    finally:
        _sizes_suffice.reset(token)


def open_prepared(name: str, form: str) -> Prepared:
    """Open a prepared data set; checks what is cheap (`meta.json`, sizes), not the hashes of the arrays.

    Args:
        name: Data set, as in `rmem fetch --list`.
        form: What was made of it, such as "char" or "word".

    Raises:
        DataError: It is not there, damaged, or lacks so much that nothing can be made of it; the message
            names the command that helps.
    """
    try:
        return _open(name, form)
    except DataError:
        from rmem_cli.data.known_sizes import unwritten

        known = unwritten(name, form) if _sizes_suffice.get() else None
        if known is None:
            raise
        return known


def _open(name: str, form: str) -> Prepared:
    prepared = read_prepared(name, form)
    if not prepared.meta["arrays"]:
        counted = ", ".join(f"{split} {count:,}" for split, count in prepared.meta["counts"].items())
        raise DataError(
            f"{_title(prepared.meta)} has only counts ({counted}), no text: {_gap(prepared.meta)}"
        )
    return prepared


def read_prepared(name: str, form: str) -> Prepared:
    """What is here of a prepared data set, even if that is too little to use; else as `open_prepared`.

    Raises:
        DataError: It is not there, or damaged.
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
    prepared = read_prepared(name, form)
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


def _mapped(path: Path, dtype: np.dtype[Any], shape: tuple[int, ...]) -> np.memmap[Any, Any]:
    """An array of a file; no system maps an empty one, so that becomes a mapping of no memory."""
    if prod(shape) == 0:
        return np.empty(shape, dtype).view(np.memmap)
    return np.memmap(path, dtype, "r", shape=shape)


def _title(meta: Mapping[str, Any]) -> str:
    return f"{meta['name']} ({meta['form']})"


def _gap(meta: Mapping[str, Any]) -> str:
    """Why a partial data set cannot be used, and what to do."""
    missing = meta["missing"]
    some = ", ".join(missing[:3]) + (f" and {len(missing) - 3} more" if len(missing) > 3 else "")
    return (
        f"it was prepared without {some}. Get the whole of it with `rmem fetch {meta['name']}`, "
        f"or `rmem fetch {meta['name']} --from PATH`."
    )


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
        return (
            shape_ok
            and len(about["shape"]) > 0
            and np.dtype(about["dtype"]).kind == "u"
            and isinstance(about["sha256"], str)
        )
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
