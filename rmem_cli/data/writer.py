"""Writing the prepared format (see `rmem_cli.data.prepared`): streamed, and visible only when finished."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rmem_cli.data.prepared import (
    FORMAT,
    META,
    Prepared,
    array_path,
    content_hash,
    open_prepared,
    prepared_folder,
)
from rmem_cli.errors import DataError

TEMPORARY = ".tmp-"
"""Prefix of unfinished folders beside the finished ones; the next fetch removes what a kill left."""


@dataclass(frozen=True)
class Content:
    """What a preparation makes of its source files.

    Args:
        arrays: Name (for text: the split) to chunks [symbols, ...] of one unsigned integer type, in order.
            Chunks may come from a generator, so nothing needs to be in memory at once.
        vocabulary: The text of each symbol.
        end_of_line: The symbol that ends a line, if there is one.
    """

    arrays: Mapping[str, Iterable[np.ndarray]]
    vocabulary: list[str]
    end_of_line: int | None = None


@dataclass(frozen=True)
class Expected:
    """What must come out of a preparation, so that a mistake cannot pass for the data set.

    Args:
        counts: Items in each array.
        distinct: Symbols in the vocabulary.
    """

    counts: Mapping[str, int]
    distinct: int


def write_prepared(
    name: str,
    form: str,
    content: Content,
    *,
    sources: Sequence[Mapping[str, Any]],
    licence: str,
    citation: str,
    expected: Expected | None = None,
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
        expected: Counts that must come out (None: any).

    Raises:
        DataError: The counts differ from the expected ones, an array is empty, or the disk refuses.
    """
    final = prepared_folder(name, form)
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=TEMPORARY, dir=final.parent))
    except OSError as error:
        raise DataError(f"Cannot write to {final.parent}: {error.strerror}.") from error
    try:
        arrays = {array: _write_array(temporary, array, chunks) for array, chunks in content.arrays.items()}
        counts = {array: about["shape"][0] for array, about in arrays.items()}
        _check_counts(f"{name} ({form})", Expected(counts, len(content.vocabulary)), expected)
        meta = {
            "format": FORMAT,
            "name": name,
            "form": form,
            "sources": [dict(source) for source in sources],
            "missing": [],
            "counts": counts,
            "distinct": len(content.vocabulary),
            "end_of_line": content.end_of_line,
            "licence": licence,
            "citation": citation,
            "data_hash": content_hash(
                {array: about["sha256"] for array, about in arrays.items()}, content.vocabulary
            ),
            "arrays": arrays,
            "vocabulary": content.vocabulary,
        }
        _write_text(temporary / META, json.dumps(meta, indent=1, ensure_ascii=False) + "\n")
        _put_in_place(temporary, final)
    except OSError as error:
        raise DataError(f"Cannot write the prepared data {final}: {error.strerror}.") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return open_prepared(name, form)


def smallest_unsigned(values: int) -> np.dtype[Any]:
    """The smallest unsigned integer type that holds 0 ... values - 1."""
    return np.min_scalar_type(max(values - 1, 0))


def _write_array(folder: Path, array: str, chunks: Iterable[np.ndarray]) -> dict[str, Any]:
    digest, count, kinds = hashlib.sha256(), 0, set()
    with array_path(folder, array).open("wb") as handle:
        for chunk in chunks:
            if chunk.dtype.kind != "u":
                raise TypeError(f"{array} must hold unsigned integers, not {chunk.dtype}")
            little = np.ascontiguousarray(chunk, dtype=chunk.dtype.newbyteorder("<"))
            handle.write(little.data)
            digest.update(little.data)
            count += len(little)
            kinds.add((little.dtype.str, little.shape[1:]))
        handle.flush()
        os.fsync(handle.fileno())
    if count == 0:
        raise DataError(f"Nothing was found for {array!r}: its source file is empty.")
    if len(kinds) > 1:
        raise TypeError(f"the chunks of {array} differ in type or shape: {kinds}")
    dtype, item_shape = kinds.pop()
    return {"dtype": dtype, "shape": [count, *item_shape], "sha256": digest.hexdigest()}


def _check_counts(title: str, found: Expected, expected: Expected | None) -> None:
    if expected is None or (dict(found.counts), found.distinct) == (dict(expected.counts), expected.distinct):
        return
    raise DataError(f"Preparing {title} gave {_describe(found)} instead of {_describe(expected)}.")


def _describe(counts: Expected) -> str:
    splits = ", ".join(f"{array} {count:,}" for array, count in counts.counts.items())
    return f"{splits} with {counts.distinct:,} distinct"


def _write_text(path: Path, text: str) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as handle:
        handle.write(text)
        handle.flush()
        os.fsync(handle.fileno())


def _put_in_place(finished: Path, final: Path) -> None:
    """Rename `finished` to `final`; no folder can be renamed over a full one, so an old one steps aside."""
    finished.chmod(0o755)  # mkdtemp makes folders private
    _sync_folder(finished)
    if final.exists():
        aside = Path(tempfile.mkdtemp(prefix=TEMPORARY, dir=final.parent))
        final.replace(aside / final.name)
        finished.replace(final)
        shutil.rmtree(aside, ignore_errors=True)
    else:
        finished.replace(final)
    _sync_folder(final.parent)


def _sync_folder(folder: Path) -> None:
    """Make renames in a folder survive a power cut, where the system has such a call (Windows has not)."""
    if hasattr(os, "O_DIRECTORY"):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
