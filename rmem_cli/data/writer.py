"""Writing the prepared format (see `rmem_cli.data.prepared`): streamed, and visible only when finished."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from rmem_cli.data.description import DESCRIPTION_HASH, FORMAT, META, content_hash, description_hash
from rmem_cli.data.prepared import Prepared, array_path, prepared_folder, read_prepared
from rmem_cli.errors import DataError
from rmem_cli.files import sync_folder, write_durably
from rmem_cli.version import VERSION

TEMPORARY = ".tmp-"
"""Prefix of unfinished folders beside the finished ones; the next fetch removes what a kill left."""
_ASIDE = ".old-"  # before the name of a form that is being replaced


@dataclass(frozen=True)
class Content:
    """What a preparation makes of its source files.

    Args:
        arrays: Name (for text: the split) to chunks [symbols, ...] of one unsigned integer type, in order.
            Chunks may come from a generator, so nothing needs to be in memory at once.
        vocabulary: The text of each symbol.
        end_of_line: The symbol that ends a line, if there is one.
        together: Array name and chunk, for further arrays that one pass over a source gives at the same time.
        counted: What is counted, by the array with one entry for each (None: every array, by itself).
        unstored: Counts of what was read but cannot be stored, for want of a vocabulary.
        read: Counts that are complete when the arrays are: they are compared with what is expected, not kept.
        details: Facts for `meta.json` that only this kind of data set has.
    """

    arrays: Mapping[str, Iterable[np.ndarray]]
    vocabulary: list[str]
    end_of_line: int | None = None
    together: Iterable[tuple[str, np.ndarray]] = ()
    counted: Mapping[str, str] | None = None
    unstored: Mapping[str, int] = field(default_factory=dict)
    read: Mapping[str, int] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Expected:
    """What must come out of a preparation, so that a mistake cannot pass for the data set.

    Args:
        counts: Items in each split (or array), or of what is only `read`; what is not named may have any
            number.
        distinct: Symbols in the vocabulary (None: any number).
    """

    counts: Mapping[str, int]
    distinct: int | None = None


def write_prepared(
    name: str,
    form: str,
    content: Content,
    *,
    sources: Sequence[Mapping[str, Any]],
    licence: str,
    citation: str,
    expected: Expected | None = None,
    missing: Sequence[str] = (),
    short_allowed: bool = False,
    instead_of: Prepared | None = None,
) -> Prepared:
    """Write a prepared data set into the data root, replacing an earlier one of this name and form.

    Everything is written, flushed to disk and checked in a temporary folder beside the final one; only then
    is it renamed into place.

    Args:
        name: Data set.
        form: What was made of it.
        content: Arrays and vocabulary.
        sources: For `meta.json`: file, origin, bytes and sha256 of each source file.
        licence: Terms of use.
        citation: What to cite.
        expected: Counts that must come out (None: any); where files are missing, of what is there.
        missing: Source files that are not there.
        short_allowed: Record counts below the expected ones as missing too, instead of refusing them.
        instead_of: A partial one that is there; it stays where the new one would have less of a split, or no
            more of any (None: whatever is there is replaced).

    Returns:
        What is there now.

    Raises:
        DataError: The counts differ from the expected ones, an array is empty, there is none, or the disk
            refuses.
    """
    final = prepared_folder(name, form)
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=TEMPORARY, dir=final.parent))
    except OSError as error:
        raise DataError(f"Cannot write to {final.parent}: {error.strerror}.") from error
    try:
        arrays = _write_arrays(temporary, content)
        counts = _counts(content, arrays)
        if not counts:
            raise DataError(f"Nothing could be made of the files for {name} ({form}): some are missing.")
        if instead_of is not None and not _is_more(counts, instead_of.meta["counts"]):
            return instead_of
        read = {**counts, **content.read}
        short = _short(read, expected) if short_allowed else []
        if not short:
            found = Expected(read, len(content.vocabulary) or None)
            _check_counts(f"{name} ({form})", found, expected, partial=bool(missing))
        meta = {
            "format": FORMAT,
            "rmem_version": VERSION,
            "name": name,
            "form": form,
            "sources": [dict(source) for source in sources],
            "missing": [*missing, *short],
            "counts": counts,
            "distinct": len(content.vocabulary),
            "end_of_line": content.end_of_line,
            "details": dict(content.details),
            "licence": licence,
            "citation": citation,
            "data_hash": content_hash(
                {array: about["sha256"] for array, about in arrays.items()}, content.vocabulary
            ),
            "arrays": arrays,
            "vocabulary": content.vocabulary,
        }
        meta[DESCRIPTION_HASH] = description_hash(meta)
        description = json.dumps(meta, indent=1, ensure_ascii=False) + "\n"
        write_durably(temporary / META, description.encode())
        _put_in_place(temporary, final)
    except OSError as error:
        raise DataError(f"Cannot write the prepared data {final}: {error.strerror}.") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return read_prepared(name, form)


def smallest_unsigned(values: int) -> np.dtype[Any]:
    """The smallest unsigned integer type that holds 0 ... values - 1."""
    return np.min_scalar_type(max(values - 1, 0))


class _ArrayFile:
    """One array on its way to disk."""

    def __init__(self, folder: Path, name: str) -> None:
        self.name = name
        self._digest, self._count = hashlib.sha256(), 0
        self._kinds: set[tuple[str, tuple[int, ...]]] = set()
        self._handle = array_path(folder, name).open("wb")

    def append(self, chunk: np.ndarray) -> None:
        if chunk.dtype.kind != "u":
            raise TypeError(f"{self.name} must hold unsigned integers, not {chunk.dtype}")
        little = np.ascontiguousarray(chunk, dtype=chunk.dtype.newbyteorder("<"))
        data = little.reshape(-1).view(np.uint8).data
        self._handle.write(data)
        self._digest.update(data)
        self._count += len(little)
        self._kinds.add((little.dtype.str, little.shape[1:]))

    def close(self) -> None:
        self._handle.close()

    def finish(self) -> dict[str, Any]:
        """Flush to disk, and describe."""
        if not self._kinds:
            raise _nothing_found(self.name)
        if len(self._kinds) > 1:
            raise TypeError(f"the chunks of {self.name} differ in type or shape: {self._kinds}")
        self._handle.flush()
        os.fsync(self._handle.fileno())
        dtype, item_shape = self._kinds.pop()
        return {"dtype": dtype, "shape": [self._count, *item_shape], "sha256": self._digest.hexdigest()}


def _write_arrays(folder: Path, content: Content) -> dict[str, Any]:
    """Write all arrays as their chunks come; returns what `meta.json` says of each."""
    files: dict[str, _ArrayFile] = {}
    with ExitStack() as opened:

        def file(name: str) -> _ArrayFile:
            if name not in files:
                files[name] = _ArrayFile(folder, name)
                opened.callback(files[name].close)
            return files[name]

        for name, chunks in content.arrays.items():
            array = file(name)
            for chunk in chunks:
                array.append(chunk)
        for name, chunk in content.together:
            file(name).append(chunk)
        return {name: array.finish() for name, array in files.items()}


def _nothing_found(what: str) -> DataError:
    return DataError(f"Nothing was found for {what!r}: its source file is empty; give one that is not.")


def _counts(content: Content, arrays: Mapping[str, Any]) -> dict[str, int]:
    counted = {array: array for array in arrays} if content.counted is None else content.counted
    for what, array in counted.items():
        if array not in arrays:
            raise _nothing_found(what)
    return {**{what: arrays[array]["shape"][0] for what, array in counted.items()}, **content.unstored}


def _is_more(counts: Mapping[str, int], known: Mapping[str, int]) -> bool:
    """Whether there is as much of everything that is known, and more of something."""
    as_much = all(counts.get(split, 0) >= count for split, count in known.items())
    return as_much and any(count > known.get(split, 0) for split, count in counts.items())


def _short(found: Mapping[str, int], expected: Expected | None) -> list[str]:
    """The splits that are there but hold less than they should, in words."""
    return [
        f"{split}: {found[split]:,} of {count:,}"
        for split, count in (expected.counts.items() if expected else ())
        if split in found and found[split] < count
    ]


def _check_counts(title: str, found: Expected, expected: Expected | None, *, partial: bool) -> None:
    """Compare with what must come out; of a partial set, only the counts of what is there."""
    if expected is None:
        return
    wanted = {split: n for split, n in expected.counts.items() if not partial or split in found.counts}
    right = all(found.counts.get(split) == count for split, count in wanted.items())
    if right and (partial or expected.distinct in (None, found.distinct)):
        return
    few = _short(found.counts, expected) and all(found.counts.get(each, 0) <= n for each, n in wanted.items())
    hint = " --allow-missing takes what there is." if few else ""
    raise DataError(f"Preparing {title} gave {_describe(found)} instead of {_describe(expected)}.{hint}")


def _describe(counts: Expected) -> str:
    splits = ", ".join(f"{array} {count:,}" for array, count in counts.counts.items())
    return splits if counts.distinct is None else f"{splits} with {counts.distinct:,} distinct"


def _put_in_place(finished: Path, final: Path) -> None:
    """Rename `finished` to `final`; no folder can be renamed over a full one, so an old one steps aside."""
    finished.chmod(0o755)  # mkdtemp makes folders private
    sync_folder(finished)
    aside = final.with_name(_ASIDE + final.name)
    if final.exists():
        shutil.rmtree(aside, ignore_errors=True)
        final.replace(aside)
    finished.replace(final)
    sync_folder(final.parent)
    shutil.rmtree(aside, ignore_errors=True)


def clear_leftovers(folder: Path) -> None:
    """Remove what killed processes left beside prepared data, and put back what they had set aside.

    Args:
        folder: Of a data set at which nobody else is at work.
    """
    for leftover in folder.glob(f"{TEMPORARY}*"):
        shutil.rmtree(leftover, ignore_errors=True)
    for aside in folder.glob(f"{_ASIDE}*"):
        final = folder / aside.name.removeprefix(_ASIDE)
        if final.exists():
            shutil.rmtree(aside, ignore_errors=True)
        else:
            aside.replace(final)
