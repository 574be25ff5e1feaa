"""Sections of papers, each with the part of the abstract that belongs to it.

A sentence of an abstract belongs to the section that has the sentence with the longest common subsequence of
words; the share of its words that are in there is the recall of ROUGE-L. What sections are about is told by
the first known word of their head.

    1. introduction   glands vary . we ask why .        abstract   we ask why glands vary .
    2. results        two of nine glands grew .                    two glands of nine grew .

    pairs             glands vary . we ask why .        we ask why glands vary .
                      two of nine glands grew .         two glands of nine grew .

Source: Gidiotis and Tsoumakas 2020, and its published code, which compares stems of words; here the words are
compared as they are, in lower case.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeGuard

from rmem_cli.data.pair_records import Pair, pair
from rmem_cli.data.records import Record, read_records
from rmem_cli.errors import DataError

# fmt: off
_HEADS = frozenset({
    "introduction", "case", "purpose", "objective", "objectives", "aim",
    "summary", "background", "background/aims", "findings", "literature", "studies",
    "related", "method", "methods", "techniques", "methodology", "result",
    "results", "experiment", "experiments", "experimental", "discussion", "conclusion",
    "conclusions", "concluding",
})
# fmt: on
_OTHER_HEADS = frozenset({"limitations"})
_LEAST_WORDS = 50  # that a section, and in training a part of an abstract, has more than


def read_sections(path: Path, *, whole: bool, least: int = 0) -> Iterator[Pair]:
    """The sections of papers whose heads are known.

    Args:
        path: Lines of JSON, with the fields of Cohan et al. 2018.
        whole: Whether each section gets the whole abstract, as where what is said about all of them is
            joined; without, one to which no sentence belongs is left out.
        least: Words that a part of an abstract has more than, or its section is left out.

    Raises:
        DataError: The file is not such a file; the message names the line.
    """
    for place, record in read_records(path, ()):
        yield from _sections(place, record, whole, least)


def published(path: Path, split: str, papers: Counter[str]) -> Iterator[Pair]:
    """The sections of a split, as published: of the test, with whole abstracts, as they are joined.

    Args:
        path: As of `read_sections`.
        split: "train", "valid" or "test".
        papers: Counts the papers of the split as they are read.
    """
    for place, record in read_records(path, ()):
        papers[papers_of(split)] += 1
        yield from _sections(place, record, split == "test", _LEAST_WORDS if split == "train" else 0)


def papers_of(split: str) -> str:
    """What the papers of a split are counted as."""
    return f"papers of {split}"


def _sections(place: str, record: Record, whole: bool, least: int) -> Iterator[Pair]:
    heads, sections = record.get("section_names"), record.get("sections")
    if not _is_texts(heads) or not isinstance(sections, list) or len(heads) != len(sections):
        raise DataError(
            f"{place}: section_names and sections are not lists of the same length, as the files of the "
            "authors have them. Mend it, or leave the paper out."
        )
    # Every text is checked, and freed of its tags, as those of whole papers are.
    texts = [pair(place, {**record, "article": section, "article_text": None}) for section in sections]
    if not texts:
        return
    abstract = texts[0].summary.split("\n")
    belongs = _belonging(abstract, [text.article.split("\n") for text in texts])
    for number, (head, text) in enumerate(zip(heads, texts, strict=True)):
        part = [sentence for sentence, its in zip(abstract, belongs, strict=True) if its == number]
        said = abstract if whole else part
        long_enough = len(text.article.split()) > _LEAST_WORDS and _words(said) > least
        if said and long_enough and _is_known(head):
            yield Pair(text.id, text.article, "\n".join(said))


def _belonging(abstract: Sequence[str], sections: Sequence[Sequence[str]]) -> list[int | None]:
    """The section of each sentence of an abstract; None: it shares no word with any."""
    words = [[sentence.lower().split() for sentence in section] for section in sections]
    belongs: list[int | None] = []
    for sentence in abstract:
        own = sentence.lower().split()
        common = [max((common_words(own, other) for other in section), default=0) for section in words]
        most = max(common)
        belongs.append(common.index(most) if most else None)
    return belongs


def common_words(one: Sequence[str], other: Sequence[str]) -> int:
    """Words of the longest common subsequence of two texts.

    Source: Hyyro 2004, "Bit-parallel LCS-length computation revisited": each row of the table is a number,
    whose bit is zero where the length rises.
    """
    places: dict[str, int] = {}
    for place, word in enumerate(one):
        places[word] = places.get(word, 0) | 1 << place
    everywhere = (1 << len(one)) - 1
    row = everywhere
    for word in other:
        found = row & places.get(word, 0)
        row = ((row + found) | (row - found)) & everywhere
    return len(one) - row.bit_count()


def _is_known(head: str) -> bool:
    words = (word for word in head.lower().split() if word in _HEADS | _OTHER_HEADS)
    return next(words, None) in _HEADS


def _words(sentences: Sequence[str]) -> int:
    return sum(len(sentence.split()) for sentence in sentences)


def _is_texts(value: Any) -> TypeGuard[list[str]]:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)
