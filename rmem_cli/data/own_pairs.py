"""Articles of one's own with summaries, as a prepared set of the form `words` (`rmem_cli.data.articles`)."""

import shutil
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from rich.console import Console

from rmem_cli.data.articles import FORM
from rmem_cli.data.own import prepared_once
from rmem_cli.data.own_documents import own_field
from rmem_cli.data.pair_records import Pair, pair_content, text_field
from rmem_cli.data.pairs import FORM as PAIRS
from rmem_cli.data.prepared import Prepared
from rmem_cli.data.records import read_records
from rmem_cli.data.words import WRITTEN, prepare_words
from rmem_cli.data.writer import Content
from rmem_cli.errors import DataError
from rmem_cli.recipe.own_files import SPLITS, OwnPairs


def open_own_pairs(own: OwnPairs) -> Prepared:
    """Articles of one's own, word by word, prepared the first time.

    Raises:
        DataError: A file is missing or is no such file, a record lacks its article or its summary, or a split
            has no record.
    """
    pairs = prepared_once(own, PAIRS, lambda: pair_content(_splits(own)))
    work = pairs.folder.parent / ".work-words"
    words = prepared_once(own, FORM, lambda: _words(pairs, work))
    shutil.rmtree(work, ignore_errors=True)
    return words


def _words(pairs: Prepared, work: Path) -> Content:
    return prepare_words(pairs, work / pairs.data_hash, Console(stderr=True), WRITTEN)


def _splits(own: OwnPairs) -> dict[str, Iterator[Pair]]:
    """The pairs of each split; those of one file are read in this order."""
    counts = {field: sum(1 for _ in _read(own, path)) for field, path in own.files.items()}
    sizes = dict(counts)
    if own.file is not None:
        cuts = own.cuts(counts["file"])
        sizes = {split: cut - begin for split, begin, cut in zip(SPLITS, [0, *cuts], cuts, strict=False)}
    for split, size in sizes.items():
        if size < 1:
            path = own.files.get(split, own.file)
            raise DataError(f"{path} has no article for {split}; give more of them, or other shares.")
    if own.file is None:
        return {split: _read(own, path) for split, path in own.files.items()}
    pairs = _read(own, Path(own.file))
    return {split: islice(pairs, size) for split, size in sizes.items()}


def _read(own: OwnPairs, path: Path) -> Iterator[Pair]:
    for place, record in read_records(path, (own.article, own.summary, own.id)):
        article = own_field(place, record, own.article, "pairs.article")
        summary = own_field(place, record, own.summary, "pairs.summary")
        yield Pair(text_field(place, record, [own.id], numbers=True) or "", article, summary)
