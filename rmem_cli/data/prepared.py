"""Reading the prepared format: memory-mapped arrays and the `meta.json` that describes them.

A prepared data set is a folder `<data root>/<name>/<form>/` that holds

- `<array>.bin` for each array (for text: one per split), raw little-endian unsigned integers, and
- `meta.json`: name, form, format version, sources with their hashes, what is missing, the type, shape and
  hash of each array, counts, vocabulary, licence and citation.

A list of texts (articles, questions, ...) is two arrays: all texts in UTF-8, and the bytes of each
(see `rmem_cli.data.texts`).

`rmem_cli.data.writer` makes such folders; they appear by a rename, so one that is there is finished. What was
damaged since is not opened: `meta.json` carries a hash of itself and of every array.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from rmem_cli.data.description import META, what_is_wrong
from rmem_cli.data.verified import first_mismatch
from rmem_cli.errors import DataError, UsageError
from rmem_cli.paths import data_root

PARTIAL = "-partial"
"""How the data hash ends if something was missing when the data was prepared."""

SENTENCEPIECE = "sentencepiece-"
"""What the name of a form made with sentencepiece begins with, before the number of pieces."""
OWN = "own-"
"""What the name of a data set made of files of one's own begins with (`rmem_cli.data.own`)."""


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
        return dict(self.meta["details"])

    @cached_property
    def vocabulary(self) -> list[str]:
        """The text of each symbol; symbol k is `vocabulary[k]`."""
        return list(self.meta["vocabulary"])

    @cached_property
    def _bounded(self) -> dict[str, int]:
        """Arrays that were looked through, to the number that all their values are below."""
        return {}

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
        return self.array(split, below=len(self.vocabulary) or None)

    def array(self, name: str, *, below: int | None = None) -> np.memmap[Any, Any]:
        """Any array, read-only and memory-mapped.

        Args:
            name: As `meta.json` lists them under `arrays`.
            below: What all its values must be below (None: any); it is looked through once.

        Returns:
            Array [items, ...] of an unsigned integer type.

        Raises:
            UsageError: There is no such array.
            DataError: It was missing when the data was prepared, or has a value that it may not have.
        """
        if name not in self.meta["arrays"]:
            self._refuse(name, list(self.meta["arrays"]))
        about = self.meta["arrays"][name]
        array = _mapped(array_path(self.folder, name), np.dtype(about["dtype"]), tuple(about["shape"]))
        if below is not None and self._bounded.get(name, below + 1) > below:
            if array.size and array.max() >= below:
                raise self.damaged(f"{name}.bin holds {array.max():,}, and all of it must be below {below:,}")
            self._bounded[name] = below
        return array

    def damaged(self, why: str) -> DataError:
        """The error that says what is wrong with this data, and which command makes it anew."""
        return _damaged(self.folder, self.meta["name"], self.meta["form"], why)

    def _refuse(self, wanted: str, there: list[str]) -> NoReturn:
        if self.missing:
            raise DataError(f"{_title(self.meta)} has no {wanted!r}: {_gap(self.meta)}")
        raise UsageError(f"{_title(self.meta)} has no {wanted!r}; there are: {', '.join(there)}.")


StandIn = Callable[[str, str], Prepared | None]
"""Name and form of a data set -> what is opened in its place, if there is anything."""
_stand_in: ContextVar[StandIn | None] = ContextVar("stand_in", default=None)


@contextmanager
def opened_instead(stand_in: StandIn) -> Iterator[None]:
    """While this context lasts, a data set that is not here opens as what a function gives for it.

    Args:
        stand_in: Such as `rmem_cli.data_scripts.dataset.unwritten`, for which a plan needs no data.
    """
    token = _stand_in.set(stand_in)
    try:
        yield
    finally:
        _stand_in.reset(token)


def open_prepared(name: str, form: str) -> Prepared:
    """Open a prepared data set, all of which is verified: once for each change of a file, by its hash.

    Args:
        name: Data set, as in `rmem fetch --list`.
        form: What was made of it, such as "char" or "word".

    Raises:
        DataError: It is not there, damaged, or lacks so much that nothing can be made of it; the message
            names the command that helps.
    """
    try:
        return _open(name, form)
    except DamagedError:
        raise
    except DataError:
        stand_in = _stand_in.get()
        opened = stand_in(name, form) if stand_in else None
        if opened is None:
            raise
        return opened


def _open(name: str, form: str) -> Prepared:
    prepared = verified_prepared(name, form)
    if not prepared.meta["arrays"]:
        counted = ", ".join(f"{split} {count:,}" for split, count in prepared.meta["counts"].items())
        raise DataError(
            f"{_title(prepared.meta)} has only counts ({counted}), no text: {_gap(prepared.meta)}"
        )
    return prepared


def read_prepared(name: str, form: str) -> Prepared:
    """What is here of a prepared data set, even if that is too little to use.

    Checked is what is cheap, `meta.json` and sizes, not the content of the arrays.

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
    prepared = Prepared(folder, meta)
    for array in meta["arrays"]:
        _check_size(prepared, array)
    return prepared


def verified_prepared(name: str, form: str) -> Prepared:
    """The same, with every array compared with its recorded sha256: once for each change of a file.

    Raises:
        DataError: It is not there, or damaged; the message names the file.
    """
    return _verified(read_prepared(name, form), again=False)


def check_prepared(name: str, form: str) -> Prepared:
    """The same, with every array read again and compared, whether it was found right before or not.

    Raises:
        DataError: It is not there, or damaged; the message names the file.
    """
    return _verified(read_prepared(name, form), again=True)


def _verified(prepared: Prepared, *, again: bool) -> Prepared:
    hashes = _hashes(prepared)
    try:
        wrong = first_mismatch(hashes, again=again)
    except OSError as error:
        raise prepared.damaged(f"{error.filename} cannot be read: {error.strerror}") from error
    if wrong is not None:
        path, found = wrong
        raise prepared.damaged(f"{path.name} has sha256 {found}, not {hashes[path]}")
    return prepared


def prepared_folder(name: str, form: str) -> Path:
    """Where a prepared data set lies, or would lie."""
    return data_root() / name / form


def array_path(folder: Path, array: str) -> Path:
    """The file of one array of a prepared folder."""
    return folder / f"{array}.bin"


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
    except OSError as error:
        raise _damaged(folder, name, form, f"{META} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise _damaged(folder, name, form, f"{META} cannot be read: {error}") from error
    wrong = what_is_wrong(meta, name, form)
    if wrong:
        raise _damaged(folder, name, form, wrong)
    known: dict[str, Any] = meta
    return known


def _check_size(prepared: Prepared, array: str) -> None:
    about = prepared.meta["arrays"][array]
    expected = prod(about["shape"]) * np.dtype(about["dtype"]).itemsize
    try:
        found = array_path(prepared.folder, array).stat().st_size
    except OSError as error:
        raise prepared.damaged(f"{array}.bin is missing") from error
    if found != expected:
        raise prepared.damaged(f"{array}.bin holds {found:,} bytes instead of {expected:,}")


def _hashes(prepared: Prepared) -> dict[Path, str]:
    """Each file of arrays to the hash that it should have."""
    arrays: dict[str, dict[str, str]] = prepared.meta["arrays"]
    return {array_path(prepared.folder, array): about["sha256"] for array, about in arrays.items()}


class DamagedError(DataError):
    """Prepared data that is not what was prepared."""


def _damaged(folder: Path, name: str, form: str, why: str) -> DamagedError:
    if name.startswith(OWN):
        return DamagedError(
            f"The prepared data in {folder} is damaged ({why}): remove that folder, and it is made anew."
        )
    anew = f"rmem fetch {name}"
    if form.startswith(SENTENCEPIECE):
        anew += f" --sentencepiece {form.removeprefix(SENTENCEPIECE)}"
    return DamagedError(
        f"The prepared data in {folder} is damaged ({why}): `rmem fetch --check {name}` verifies it, "
        f"and `{anew}` makes it anew."
    )
