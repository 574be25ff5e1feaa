"""Articles with summaries, from JSON lines or CSV, streamed into the form `pairs` (`rmem_cli.data.pairs`)."""

import csv
import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np

from rmem_cli.data.texts import text_chunks
from rmem_cli.data.writer import Content
from rmem_cli.errors import DataError

_ARTICLE = ("article", "article_text", "text", "document")
_SUMMARY = ("summary", "highlights", "abstract", "abstract_text")
_ID = ("id", "article_id")
_LONGEST_FIELD = 1 << 27
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
    """The pairs of a file of JSON lines or of a CSV file with a header; its content tells which.

    Fields may be named as in any of the usual copies: `article`, `article_text`, `text` or `document`;
    `summary`, `highlights`, `abstract` or `abstract_text`; `id` or `article_id`.

    Raises:
        DataError: It is neither, or lacks the fields.
    """
    with path.open(encoding="utf-8", newline="") as handle:
        is_json = handle.read(1) == "{"
    yield from _read_json_lines(path) if is_json else _read_csv(path)


def _read_json_lines(path: Path) -> Iterator[Pair]:
    with path.open(encoding="utf-8", newline="\n") as handle:
        for number, line in enumerate(handle, start=1):
            try:
                record = json.loads(line)
            except ValueError as error:
                raise DataError(f"{path}:{number}: this is not a line of JSON: {error}.") from error
            yield _pair(record, path, number)


def _read_csv(path: Path) -> Iterator[Pair]:
    csv.field_size_limit(_LONGEST_FIELD)
    with path.open(encoding="utf-8", newline="") as handle:
        reader = csv.DictReader(handle)
        try:
            for record in reader:
                yield _pair(record, path, reader.line_num)
        except (csv.Error, UnicodeDecodeError) as error:
            raise DataError(f"{path}:{reader.line_num}: this is not a line of CSV: {error}.") from error


def _pair(record: object, path: Path, line: int) -> Pair:
    if not isinstance(record, dict):
        raise DataError(f"{path}:{line}: this is not a record with an article and a summary.")
    article, summary = (_field(record, names) for names in (_ARTICLE, _SUMMARY))
    if article is None or summary is None:
        raise DataError(f"{path}:{line}: there is no article with a summary here, but {', '.join(record)}.")
    return Pair(_field(record, _ID) or "", article, summary)


def _field(record: Mapping[str, object], names: Iterable[str]) -> str | None:
    """The first of these fields that is there; a list of sentences as lines, without the tags around them."""
    value = next((record[name] for name in names if name in record), None)
    if isinstance(value, list):
        sentences = (str(sentence).removeprefix("<S>").removesuffix("</S>") for sentence in value)
        return "\n".join(" ".join(sentence.split()) for sentence in sentences)
    return value if isinstance(value, str) else None


def _chunks(splits: Mapping[str, Iterable[Pair]]) -> Iterator[tuple[str, np.ndarray]]:
    for split, pairs in splits.items():
        remaining = iter(pairs)
        while block := list(islice(remaining, _BLOCK)):
            for field, texts in zip(Pair._fields, zip(*block, strict=True), strict=True):
                yield from text_chunks(f"{split}_{field}", texts)
