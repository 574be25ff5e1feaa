"""Articles with summaries of one's own: lines of JSON, CSV files, or pairs of text files.

A folder has a file for each split, or one with all articles, which a task then divides
(`task.split: drawn`). Of two text files, one has an article a line, the other its summary in the same line.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from rmem_cli.data.pair_records import Pair, pair_content, read_pairs, read_text_pairs
from rmem_cli.data.pairs import FORM
from rmem_cli.data.words import WRITTEN
from rmem_cli.data.writer import Content

from .dataset import Dataset, Form, SourceFile
from .words import words_form

_SPLITS = ("train", "valid", "test")
_ALL = "articles"
_RECORDS = ".jsonl"
_TEXTS = ((".source", (".src", ".article")), (".target", (".tgt", ".summary")))
_OTHER_NAMES = {"valid": ("validation", "val", "dev")}
_MOST = 64 << 30


def prepare_pairs(files: Mapping[str, Path]) -> Content:
    """Articles and summaries as they stand; those of a single file are the split train."""
    named = {split: split for split in _SPLITS} | {_ALL: "train"}
    return pair_content({split: found for name, split in named.items() if (found := _pairs(files, name))})


def _pairs(files: Mapping[str, Path], name: str) -> Iterator[Pair] | None:
    """The pairs of the file, or the two files, of that name; None if there is none."""
    if path := files.get(name + _RECORDS):
        return read_pairs(path)
    source, target = (files.get(name + suffix) for suffix, _ in _TEXTS)
    return read_text_pairs(source, target) if source and target else None


def named(name: str) -> Dataset:
    """One of several sets of one's own, by its name."""
    return replace(OWN_ARTICLES, name=name)


def _file(name: str, suffix: str, others: tuple[str, ...]) -> SourceFile:
    names = [name, *_OTHER_NAMES.get(name, ())]
    aliases = tuple(each + ending for each in names for ending in (suffix, *others))[1:]
    return SourceFile(name + suffix, None, "", aliases, _MOST)


def _records(name: str) -> SourceFile:
    return _file(name, _RECORDS, (".json", ".csv", ".tsv"))


def _texts(name: str) -> tuple[SourceFile, ...]:
    return tuple(_file(name, suffix, others) for suffix, others in _TEXTS)


OWN_ARTICLES = Dataset(
    name="own_articles",
    title="Articles and summaries of your own",
    files=tuple(map(_records, _SPLITS)),
    alternatives=(
        (_records(_ALL),),
        _texts(_ALL),
        tuple(file for split in _SPLITS for file in _texts(split)),
    ),
    sources=(),
    forms=(Form(FORM, prepare_pairs, unit="pairs"),),
    derived=(words_form(WRITTEN),),
    licence="yours",
    citation="none",
    alone=_ALL + _RECORDS,
    instructions=(
        "Put your articles into a folder: train.jsonl, valid.jsonl and test.jsonl, or all of them as "
        'articles.jsonl (a line for each: {"article": "...", "summary": "..."}); or .csv files with such '
        "columns; or text files articles.source and articles.target, whose lines belong together. Import "
        "them with `rmem fetch own_articles --from FOLDER`; own_articles_NAME is a further set."
    ),
)
