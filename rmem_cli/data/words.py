"""The form `words` of articles with summaries (`rmem_cli.data.articles`), made of the form `pairs`.

Words are found in blocks of articles, each of which is kept in a file of its own until all are there: a fetch
that was stopped goes on behind the last one.
"""

import io
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from rmem_cli.data.articles import Splitting
from rmem_cli.data.pages import has_tags
from rmem_cli.data.pairs import Pairs
from rmem_cli.data.prepared import Prepared
from rmem_cli.data.progress import counted
from rmem_cli.data.texts import SIZES, text_chunks
from rmem_cli.data.writer import Content
from rmem_cli.errors import DataError
from rmem_cli.files import write_atomically
from rmem_cli.visible import say

_BLOCK = 500  # articles
_DAMAGE = (OSError, EOFError, ValueError, KeyError, RuntimeError, zipfile.BadZipFile, zlib.error)
_END_OF_SENTENCE = frozenset({".", "!", "?"})


WRITTEN = Splitting("basic_english", full_stops=True)
"""Texts as they were written."""
SPLIT_ALREADY = Splitting("words", full_stops=False)
"""Texts with blanks between all words already."""


def prepare_words(pairs: Prepared, work: Path, console: Console, splitting: Splitting) -> Content:
    """All words of articles and summaries; what lacks either is left out and counted.

    Args:
        pairs: The form `pairs`.
        work: Folder of the blocks.
        console: For progress (stderr).
        splitting: How a text becomes words.

    Raises:
        DataError: Nothing of a split is left.
    """
    texts = Pairs(pairs)
    blocks = {split: _blocks(texts, split, work / split, console, splitting) for split in pairs.splits}
    words, told = set[str](), Counter[str]()
    for split, paths in blocks.items():
        kept, lacking = 0, Counter[str]()
        for block in map(_Block.load, paths):
            words.update(block.words)
            lacking.update(block.told)
            kept += len(block.ids)
        if not kept:
            raise _nothing_left(pairs, split, lacking)
        told.update(lacking)
    for what, count in sorted(told.items()):
        say(console, f"{pairs.meta['name']}: {count:,} {_TOLD[what]}")
    return Content(
        {},
        [],
        together=_arrays(blocks, sorted(words)),
        counted={split: f"{split}_source_words" for split in blocks},
        details={"tokenizer": splitting.tokenizer, "full_stops": splitting.full_stops, **told},
    )


def _nothing_left(pairs: Prepared, split: str, lacking: Counter[str]) -> DataError:
    return DataError(
        f"Of {pairs.meta['name']}, no article of {split} is left: {lacking['without_article']:,} have no "
        f"text and {lacking['without_summary']:,} no summary. Fill them in, or give others for {split}."
    )


def _blocks(texts: Pairs, split: str, folder: Path, console: Console, splitting: Splitting) -> list[Path]:
    """The files of all blocks of a split, those that are lacking or damaged made now."""
    ids, (articles, summaries) = texts.ids(split), texts.split(split)
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number:06}.npz" for number in range(-(-len(ids) // _BLOCK))]
    with counted(console, f"{texts.prepared.meta['name']} ({split}): words", len(ids), "articles") as show:
        for number, path in enumerate(paths):
            if not _Block.is_sound(path):
                part = slice(number * _BLOCK, (number + 1) * _BLOCK)
                rows = zip(ids[part], articles[part], summaries[part], strict=True)
                _Block.of(rows, splitting).save(path)
            show(min(len(ids), (number + 1) * _BLOCK))
    return paths


@dataclass
class _Block:
    """Some articles in words, which it numbers by itself.

    Attributes:
        words: Each of its words once, in the order in which they come.
        numbers: The arrays of numbers of the form, by their names without the split.
        ids: Of the articles.
        told: What was counted on the way.
    """

    words: list[str]
    numbers: dict[str, np.ndarray]
    ids: list[str]
    told: Counter[str] = field(default_factory=Counter)

    @classmethod
    def of(cls, rows: Iterator[tuple[str, str, str]], splitting: Splitting) -> "_Block":
        known: dict[str, int] = {}
        lists: dict[str, list[int]] = {name: [] for name in _NUMBERS}
        ids, told = [], Counter[str]()

        def add(name: str, words: Sequence[str]) -> None:
            lists[name] += [known.setdefault(word, len(known)) for word in words]
            lists[f"{name}_words"].append(len(words))

        for article_id, article, summary in rows:
            told.update("with_tags" for text in (article, summary) if has_tags(text))
            source = [word for line in splitting.lines(article) for word in line]
            reference = in_sentences(splitting.lines(summary))
            if not (source and reference):
                told["without_summary" if source else "without_article"] += 1
                continue
            ids.append(article_id)
            add("source", source)
            for sentence in reference:
                add("reference", sentence)
            lists["reference_sentences"].append(len(reference))
        numbers = {name: np.array(values, np.uint32) for name, values in lists.items()}
        return cls(list(known), numbers, ids, told)

    def save(self, path: Path) -> None:
        """Write a file, which is there as a whole or not at all."""
        saved: dict[str, Any] = dict((*text_chunks("words", self.words), *text_chunks("ids", self.ids)))
        saved |= self.numbers | {f"told_{what}": np.array(count) for what, count in self.told.items()}
        content = io.BytesIO()
        np.savez(content, **saved)
        write_atomically(path, content.getvalue())

    @classmethod
    def is_sound(cls, path: Path) -> bool:
        """Whether `save` has written a file, and all of it is still there."""
        try:
            cls.load(path)
        except _DAMAGE:
            return False
        return True

    @classmethod
    def load(cls, path: Path) -> "_Block":
        """Read what `save` wrote."""
        with np.load(path) as saved:
            told = {
                name.removeprefix("told_"): int(saved[name]) for name in saved if name.startswith("told_")
            }
            return cls(
                _texts(saved, "words"),
                {name: saved[name] for name in _NUMBERS},
                _texts(saved, "ids"),
                Counter(told),
            )


_TOLD = {
    "without_article": "without an article are left out",
    "without_summary": "without a summary are left out",
    "with_tags": "texts with tags of HTML, of which what is seen is taken",
}
_NUMBERS = ("source", "source_words", "reference", "reference_words", "reference_sentences")


def _texts(saved: Mapping[str, Any], name: str) -> list[str]:
    content, ends = saved[name].tobytes(), np.cumsum(saved[name + SIZES], dtype=np.int64).tolist()
    return [content[start:end].decode() for start, end in zip([0, *ends], ends, strict=False)]


def _arrays(blocks: Mapping[str, Sequence[Path]], words: Sequence[str]) -> Iterator[tuple[str, np.ndarray]]:
    yield from text_chunks("word", words)
    numbers = {word: number for number, word in enumerate(words)}
    for split, paths in blocks.items():
        for block in map(_Block.load, paths):
            own = np.array([numbers[word] for word in block.words], np.uint32)
            for name, values in block.numbers.items():
                yield f"{split}_{name}", own[values] if name in ("source", "reference") else values
            yield from text_chunks(f"{split}_id", block.ids)


def in_sentences(lines: list[list[str]]) -> list[list[str]]:
    """The sentences of a summary: its lines, or, if it is a single one, what ends with a full stop or so."""
    if len(lines) != 1:
        return lines
    [line] = lines
    ends = [place for place, word in enumerate(line, start=1) if word in _END_OF_SENTENCE]
    begins = [0, *ends]
    parts = [line[begin:end] for begin, end in zip(begins, [*ends, len(line)], strict=True)]
    return [part for part in parts if part]
