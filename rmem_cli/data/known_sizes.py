"""Sizes of public and of generated data sets, so that a run can be planned before its data is there.

What is known is how much there is, not what it says: symbols are zeros, every article of Hyperpartisan news
is so long that it fills its segments, and of bAbI a question for each of its six places stands for thousands.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from rmem_cli.data import babi, hyperpartisan
from rmem_cli.data.prepared import Prepared
from rmem_cli.data.texts import text_chunks

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
# Different symbols, and symbols of a row.
_GENERATED: dict[tuple[str, str], tuple[int, int]] = {
    ("copy", "24"): (12, 3 * 24 + 1),
    ("copy", "120"): (10, 3 * 120 + 1),
    ("copy", "240"): (10, 3 * 240 + 1),
    ("copy", "360"): (10, 3 * 360 + 1),
    ("reverse", "24"): (12, 2 * 24 + 1),
    ("reverse", "120"): (10, 2 * 120 + 1),
    ("associative_retrieval", "pairs4"): (37, 11),
    ("quadratic", "steps"): (24, 181),
}
_GENERATED_ROWS = {"train": 100_000, "valid": 10_000, "test": 20_000}
_ARTICLES, _PIECES = 645, 4000
_LONG_ARTICLE = 4096
_PLACES = ("bathroom", "bedroom", "garden", "hallway", "kitchen", "office")
_QUESTIONS = {"en": 1_000, "en-10k": 10_000}


UNPREPARED = "unprepared"
"""Data hash of a data set that is not there."""


@dataclass(frozen=True)
class _Unwritten(Prepared):
    """A data set of which nothing but its size is known."""

    arrays: Mapping[str, np.ndarray]

    @property
    def data_hash(self) -> str:
        """No hash: there is nothing to hash."""
        return UNPREPARED

    def array(self, name: str, *, below: int | None = None) -> np.memmap[Any, Any]:
        """What stands for the content; zeros are below everything."""
        del below
        return self.arrays[name].view(np.memmap)


@cache
def unwritten(name: str, form: str) -> Prepared | None:
    """A data set in its known size, but without its content; None if its size is not known."""
    if (name, form) in _TEXTS:
        distinct, counts = _TEXTS[name, form]
        return _of(name, form, _symbols(distinct), counts, {split: _zeros(counts[split]) for split in counts})
    if form == "images" and name in _IMAGES:
        shape = _IMAGES[name]
        arrays = {"train_images": _zeros(*shape), "train_labels": _zeros(shape[0])}
        return _of(name, form, _symbols(_CLASSES), {"train": shape[0]}, arrays)
    if (name, form) in _GENERATED:
        distinct, length = _GENERATED[name, form]
        rows = {split: _zeros(count, length) for split, count in _GENERATED_ROWS.items()}
        return _of(name, form, _symbols(distinct), _GENERATED_ROWS, rows)
    if name == "hyperpartisan":
        articles = dict(_article_pieces() if form.startswith(hyperpartisan.PIECES) else _article_texts())
        return _of(name, form, [], {"articles": _ARTICLES}, articles, {"symbols": _PIECES})
    if name == "babi":
        return _babi(form)
    return None


def _of(
    name: str,
    form: str,
    vocabulary: list[str],
    counts: Mapping[str, int],
    arrays: Mapping[str, np.ndarray],
    details: Mapping[str, Any] | None = None,
) -> Prepared:
    meta = {
        "name": name,
        "form": form,
        "missing": [],
        "arrays": {array: {"shape": content.shape} for array, content in arrays.items()},
        "counts": dict(counts),
        "vocabulary": vocabulary,
        "end_of_line": 0,
        "details": dict(details or {}),
    }
    return _Unwritten(Path(), meta, arrays)


def _symbols(distinct: int) -> list[str]:
    return [str(symbol) for symbol in range(distinct)]


def _zeros(*shape: int) -> np.ndarray:
    """One zero, seen from everywhere: as large as the data, without its memory."""
    return np.broadcast_to(np.zeros((), np.uint8), shape)


def _article_pieces() -> Iterator[tuple[str, np.ndarray]]:
    yield from _article_facts()
    for fold in range(hyperpartisan.FOLDS):
        yield f"fold{fold}", _zeros(_ARTICLES * _LONG_ARTICLE)
        yield f"fold{fold}_sizes", np.full(_ARTICLES, _LONG_ARTICLE, np.uint32)


def _article_texts() -> Iterator[tuple[str, np.ndarray]]:
    yield from _article_facts()
    yield from text_chunks("title", ["News"] * _ARTICLES)
    yield from text_chunks("text", [" ".join(["news"] * _LONG_ARTICLE)] * _ARTICLES)


def _article_facts() -> Iterator[tuple[str, np.ndarray]]:
    yield "label", _zeros(_ARTICLES)
    yield "rank", np.arange(_ARTICLES, dtype=np.uint16)


def _babi(form: str) -> Prepared | None:
    """Of the tasks that are read within other texts, each question as long as one of its task can be."""
    size, _, task = form.rpartition("-qa")
    tell = {"1": _told_once, "4": _told_twice}.get(task)
    if size not in _QUESTIONS or tell is None:
        return None
    lines = [line for place in _PLACES for line in tell(place)]
    arrays: dict[str, np.ndarray] = {}
    for split in babi.SPLITS:
        arrays |= text_chunks(f"{split}_text", [line.text for line in lines])
        arrays |= text_chunks(f"{split}_answer", [line.answer for line in lines if line.answer is not None])
        arrays |= babi.arrays_of(split, lines)
    counts = {"train": _QUESTIONS[size], "test": _QUESTIONS["en"]}
    return _of("babi", form, list(babi.vocabulary_of(lines)), counts, arrays)


def _told_once(place: str) -> list[babi.Line]:
    return [
        babi.Line(1, f"Daniel went back to the {place}."),
        babi.Line(2, "Where is Daniel? ", place, (1,)),
    ]


def _told_twice(place: str) -> list[babi.Line]:
    one, other = [each for each in _PLACES if each != place][:2]
    return [
        babi.Line(1, f"The {place} is north of the {one}."),
        babi.Line(2, f"The {other} is south of the {one}."),
        babi.Line(3, f"What is north of the {one}?", place, (1,)),
    ]
