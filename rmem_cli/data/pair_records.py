"""Articles with summaries, from JSON lines or CSV, streamed into the form `pairs` (`rmem_cli.data.pairs`)."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice, zip_longest
from math import isfinite
from pathlib import Path
from typing import NamedTuple

import numpy as np

from rmem_cli.data.records import Record, read_lines, read_records
from rmem_cli.data.texts import text_chunks
from rmem_cli.data.writer import Content
from rmem_cli.errors import DataError

_ARTICLE = ("article", "article_text", "text", "document")
_SUMMARY = ("summary", "highlights", "abstract", "abstract_text")
_ID = ("id", "article_id")
_BLOCK = 256


class Pair(NamedTuple):
    """An article, its summary and its id ("" if it has none)."""

    id: str
    article: str
    summary: str


def pair_content(splits: Mapping[str, Iterable[Pair]]) -> Content:
    """The three lists of texts of each split, in one pass.

    Args:
        splits: Split to its pairs, which may come from a generator.
    """
    return Content({}, [], together=_chunks(splits), counted={split: f"{split}_id_bytes" for split in splits})


def read_pairs(path: Path) -> Iterator[Pair]:
    """The pairs of a file of JSON or of a CSV file with a header (see `rmem_cli.data.records`).

    Fields may be named as in any of the usual copies: `article`, `article_text`, `text` or `document`;
    `summary`, `highlights`, `abstract` or `abstract_text`; `id` or `article_id`.

    Raises:
        DataError: It is neither, or lacks the fields.
    """
    for place, record in read_records(path, (*_ARTICLE, *_SUMMARY, *_ID)):
        yield pair(place, record)


def read_text_pairs(articles: Path, summaries: Path) -> Iterator[Pair]:
    """The pairs of two text files: an article a line, and its summary in the same line.

    Raises:
        DataError: A file is not text, or one has fewer lines.
    """
    both = zip_longest(read_lines(articles), read_lines(summaries))
    for number, (article, summary) in enumerate(both, start=1):
        if article is None or summary is None:
            short, other = (articles, summaries) if article is None else (summaries, articles)
            raise DataError(
                f"{short}:{number}: this line is missing: {other} has it. Lines of the same number belong "
                "together; give each file as many."
            )
        yield Pair("", article, summary)


def pair(place: str, record: Record) -> Pair:
    """The pair of a record.

    Args:
        place: Of the record, for messages.
        record: It, its fields named as in any of the usual copies.

    Raises:
        DataError: It lacks a field, or one is no text.
    """
    article, summary = (text_field(place, record, names) for names in (_ARTICLE, _SUMMARY))
    if article is None or summary is None:
        raise DataError(
            f"{place}: there is no article with a summary here, but {', '.join(record)}. Call "
            "these fields article and summary."
        )
    return Pair(text_field(place, record, _ID, numbers=True) or "", article, summary)


def text_field(place: str, record: Record, names: Iterable[str], *, numbers: bool = False) -> str | None:
    """The first of these fields that is there; a list of sentences as lines, without the tags around them.

    Args:
        place: Of the record, for messages.
        record: It.
        names: Of the fields.
        numbers: Whether a number will do for a text, as it does for an id or a label.

    Raises:
        DataError: It is no text.
    """
    name = next((name for name in names if record.get(name) is not None), None)
    if name is None:
        return None
    value = record[name]
    if numbers and (isinstance(value, int) or (isinstance(value, float) and isfinite(value))):
        value = str(value)
    if isinstance(value, list) and all(isinstance(sentence, str) for sentence in value):
        sentences = (sentence.removeprefix("<S>").removesuffix("</S>") for sentence in value)
        value = "\n".join(" ".join(sentence.split()) for sentence in sentences)
    if not isinstance(value, str):
        what = "neither text nor a number" if numbers else "not text, nor a list of sentences"
        raise DataError(f"{place}: {name} is {what}. Write it as one of them.")
    if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
        raise DataError(
            f"{place}: {name} holds half of a character (a lone surrogate). Write all of it, or leave it out."
        )
    return value


def _chunks(splits: Mapping[str, Iterable[Pair]]) -> Iterator[tuple[str, np.ndarray]]:
    for split, pairs in splits.items():
        remaining = iter(pairs)
        while block := list(islice(remaining, _BLOCK)):
            for field, texts in zip(Pair._fields, zip(*block, strict=True), strict=True):
                yield from text_chunks(f"{split}_{field}", texts)
