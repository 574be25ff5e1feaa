"""The description of a prepared data set, its `meta.json`: what it must say, and whether it can be so."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from types import NoneType
from typing import Any

FORMAT = 1
META = "meta.json"
DESCRIPTION_HASH = "description_hash"
"""Where `meta.json` has the hash of all else that it says; data of an earlier rmem has none."""

_TYPES: dict[str, type | tuple[type, ...]] = {
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
    "details": dict,
    "licence": str,
    "citation": str,
    "data_hash": str,
}
_DTYPES = ("|u1", "<u2", "<u4", "<u8")
_ARRAY_NAME = re.compile(r"\w+")


def what_is_wrong(meta: Any, name: str, form: str) -> str | None:
    """Why a description cannot be that of a data set, in a phrase; None if it can.

    Args:
        meta: What `meta.json` holds, of whatever type.
        name: The data set that its folder is named for.
        form: What was made of it.
    """
    if not isinstance(meta, dict):
        return f"{META} is not a mapping"
    if not _is_kind(meta.get("format"), int) or meta["format"] != FORMAT:
        return f"{META} says format {meta.get('format')!r}, and this rmem reads format {FORMAT}"
    invalid = [key for key, kind in _TYPES.items() if not _is_kind(meta.get(key, _ABSENT), kind)]
    if invalid:
        return f"{META} lacks a valid {', '.join(invalid)}"
    if (meta["name"], meta["form"]) != (name, form):
        return f"{META} describes {meta['name']!r} ({meta['form']!r})"
    inconsistent = _inconsistent(meta)
    if inconsistent:
        return f"{META} describes {inconsistent} wrongly"
    hashes = {array: about["sha256"] for array, about in meta["arrays"].items()}
    if content_hash(hashes, meta["vocabulary"]) != meta["data_hash"]:
        return f"the data_hash in {META} does not fit its arrays and vocabulary"
    if meta.get(DESCRIPTION_HASH, description_hash(meta)) != description_hash(meta):
        return f"{META} was changed: its {DESCRIPTION_HASH} does not fit what it says"
    return None


def content_hash(array_hashes: Mapping[str, str], vocabulary: Sequence[str]) -> str:
    """The data hash: 12 hex digits of the sha256 of every array's sha256 and the vocabulary."""
    content = json.dumps({"arrays": dict(array_hashes), "vocabulary": list(vocabulary)}, sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:12]


def description_hash(meta: Mapping[str, Any]) -> str:
    """The sha256 of all that `meta.json` says, but for this hash itself."""
    said = {key: value for key, value in meta.items() if key != DESCRIPTION_HASH}
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()


_ABSENT = object()


def _is_kind(value: object, kind: type | tuple[type, ...]) -> bool:
    """As `isinstance`; true and false are no numbers."""
    return isinstance(value, kind) and not isinstance(value, bool)


def _inconsistent(meta: Mapping[str, Any]) -> str | None:
    """The first thing of which `meta.json` says what cannot be, or what does not fit the rest."""
    arrays, counts, vocabulary, end = (meta[key] for key in ("arrays", "counts", "vocabulary", "end_of_line"))
    for array, about in arrays.items():
        if not _is_array_entry(array, about):
            return f"the array {array!r}"
    lengths = {about["shape"][0] for about in arrays.values()}
    if not all(_is_size(count) and (not arrays or count in lengths) for count in counts.values()):
        return "counts"
    if not all(isinstance(symbol, str) for symbol in vocabulary) or meta["distinct"] != len(vocabulary):
        return "the vocabulary"
    if end is not None and end not in range(len(vocabulary)):
        return "end_of_line"
    if not all(isinstance(gap, str) for gap in meta["missing"]):
        return "what is missing"
    return None


def _is_array_entry(array: str, about: Any) -> bool:
    try:
        return (
            _ARRAY_NAME.fullmatch(array) is not None
            and len(about["shape"]) > 0
            and all(_is_size(size) for size in about["shape"])
            and about["dtype"] in _DTYPES
            and isinstance(about["sha256"], str)
        )
    except (KeyError, TypeError):
        return False


def _is_size(value: object) -> bool:
    return isinstance(value, int) and _is_kind(value, int) and value >= 0
