"""Reading prepared summarisation sets word by word: articles with their summaries, and vocabularies of them.

The form `words` is made of the form `pairs` (`rmem_cli.data.pairs`): the list `word` (see
`rmem_cli.data.texts`) has each word of all splits once, in the order of Unicode, and each split has the
arrays

- `<split>_source`: the words of all articles one after the other, by their places in that list, and
  `<split>_source_words` [articles]: how many each has;
- `<split>_reference`, the words of all summaries, `<split>_reference_words` [sentences]: how many each of
  their sentences has, and `<split>_reference_sentences` [articles]: how many each summary has;
- `<split>_id`: the list of ids.

What lacks an article or a summary is left out; the details say how often that was.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, overload

import numpy as np

from rmem_cli.data.pages import seen
from rmem_cli.data.prepared import Prepared, open_prepared
from rmem_cli.data.texts import Texts
from rmem_cli.data.tokenizers import splitter
from rmem_cli.errors import DataError

FORM = "words"
SPLITS = ("train", "valid", "test")
UNKNOWN, PAD, START, STOP = range(4)
"""Symbols that are no words, in the order of the published code: a word that has no symbol; what rows are
filled up with; before the first word and behind the last one of what is said."""
SPECIAL = ("<unk>", "<pad>", "<start>", "<stop>")
_ENDS = frozenset({".", "!", "?", "...", "'", "`", '"', ")", "\u2019", "\u201d"})


@dataclass(frozen=True)
class Splitting:
    """How a text becomes words; all are put in lower case.

    Attributes:
        tokenizer: A way of splitting a text (see `rmem_cli.data.tokenizers.splitter`).
        full_stops: Whether a line that does not end as a sentence gets a full stop, as published.
    """

    tokenizer: str
    full_stops: bool

    def lines(self, text: str) -> list[list[str]]:
        """The words of each line that has some; of a text with tags of HTML, those that are seen."""
        split = splitter(self.tokenizer)
        lines = [words for line in seen(text).lower().split("\n") if (words := split(line))]
        if not self.full_stops:
            return lines
        return [words if words[-1] in _ENDS else [*words, "."] for words in lines]


class Article(NamedTuple):
    """An article with its summary.

    Attributes:
        id: Empty if the source has none.
        source: Words of the article.
        reference: The summary: sentences of words.
    """

    id: str
    source: list[str]
    reference: list[list[str]]


class Vocabulary:
    """The words that have a symbol.

    Args:
        words: In the order of their symbols, which begin behind the special ones.

    Attributes:
        symbols: The text of each symbol.
    """

    def __init__(self, words: Iterable[str]) -> None:
        self.symbols = [*SPECIAL, *words]
        self._numbers = {word: symbol for symbol, word in enumerate(self.symbols)}

    @classmethod
    def of_symbols(cls, symbols: Sequence[str]) -> "Vocabulary":
        """The vocabulary whose `symbols` these are."""
        return cls(symbols[len(SPECIAL) :])

    def __len__(self) -> int:
        return len(self.symbols)

    def encode(self, words: Iterable[str]) -> list[int]:
        """The symbol of each word; of one that has none, that of the unknown word."""
        return [self._numbers.get(word, UNKNOWN) for word in words]

    def outside(self, words: Iterable[str]) -> list[str]:
        """The words without a symbol, each once, in the order in which they come."""
        return list(dict.fromkeys(word for word in words if word not in self._numbers))

    def classes(self, words: Iterable[str], outside: Sequence[str]) -> list[int]:
        """The symbol of each word, or, of a word of `outside`, its place in there behind all symbols."""
        own = {word: len(self) + place for place, word in enumerate(outside)}
        return [self._numbers.get(word, own.get(word, UNKNOWN)) for word in words]


class Split:
    """The articles of a split, each made when asked for.

    Args:
        prepared: The prepared set.
        name: Of the split.
        words: All words of the set.

    Attributes:
        lengths: Words of each article, `[articles]`.

    Raises:
        DataError: The split was missing when the data was prepared, or its arrays do not belong together.
    """

    def __init__(self, prepared: Prepared, name: str, words: Sequence[str]) -> None:
        self._words = words
        self._ids = Texts(prepared, f"{name}_id")
        self._source, self._reference = (
            prepared.array(f"{name}_{what}", below=len(words)) for what in ("source", "reference")
        )
        self.lengths, self._reference_words, self._sentences = (
            np.asarray(prepared.array(f"{name}_{what}"))
            for what in ("source_words", "reference_words", "reference_sentences")
        )
        fits = (
            len(self._ids) == len(self.lengths) == len(self._sentences)
            and int(self.lengths.sum()) == len(self._source)
            and int(self._reference_words.sum()) == len(self._reference)
            and int(self._sentences.sum()) == len(self._reference_words)
        )
        if not fits:
            raise prepared.damaged(f"the arrays of {name} do not belong together")

    def __len__(self) -> int:
        return len(self.lengths)

    @cached_property
    def _begins(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Where the words of each article, of each sentence, and the sentences of each summary begin."""
        source, reference, sentences = (
            np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
            for sizes in (self.lengths, self._reference_words, self._sentences)
        )
        return source, reference, sentences

    def id_of(self, place: int) -> str:
        """The id of one of the articles, by its place."""
        return self._ids[place]

    def article(self, place: int) -> Article:
        """One of the articles, by its place."""
        source, reference, sentences = self._begins
        told = (self._told(self._reference, reference, each) for each in range(*sentences[place:][:2]))
        return Article(self._ids[place], self._told(self._source, source, place), list(told))

    def _told(self, numbers: np.ndarray, begins: np.ndarray, place: int) -> list[str]:
        return [self._words[number] for number in numbers[slice(*begins[place:][:2])].tolist()]

    def occurrences(self, places: np.ndarray) -> np.ndarray:
        """How often each word of the set occurs in some articles and their summaries, `[words]`."""
        wanted = np.zeros(len(self), bool)
        wanted[places] = True
        of_sentences = np.repeat(wanted, self._sentences)
        counts = np.zeros(len(self._words), np.int64)
        for numbers, those in (
            (self._source, np.repeat(wanted, self.lengths)),
            (self._reference, np.repeat(of_sentences, self._reference_words)),
        ):
            counts += np.bincount(numbers[those], minlength=len(counts))
        return counts


class Articles(Sequence[Article]):
    """Articles of one split or of several, in an order of their own.

    Args:
        splits: Where they are.
        places: Of each: which split, and its place there, `[articles, 2]`.
    """

    def __init__(self, splits: Sequence[Split], places: np.ndarray) -> None:
        self._splits, self._places = splits, places
        self.lengths = np.zeros(len(places), np.int64)
        for number, split in enumerate(splits):
            those = places[:, 0] == number
            self.lengths[those] = split.lengths[places[those, 1]]

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, index: int) -> Article: ...

    @overload
    def __getitem__(self, index: slice) -> list[Article]: ...

    def __getitem__(self, index: int | slice) -> Article | list[Article]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        split, place = self._places[range(len(self))[index]]
        return self._splits[int(split)].article(int(place))

    def named(self, article_id: str) -> Article | None:
        """The first of some id; None if there is none."""
        found = (
            place
            for place, (split, of_split) in enumerate(self._places.tolist())
            if self._splits[split].id_of(of_split) == article_id
        )
        place = next(found, None)
        return None if place is None else self[place]

    def occurrences(self) -> np.ndarray:
        """How often each word of the set occurs in them, `[words]`."""
        places = (self._places[self._places[:, 0] == number, 1] for number in range(len(self._splits)))
        counts = [split.occurrences(those) for split, those in zip(self._splits, places, strict=True)]
        total: np.ndarray = np.add.reduce(counts)
        return total


class WordSet:
    """A prepared set of articles with summaries, word by word.

    Args:
        prepared: It.
    """

    def __init__(self, prepared: Prepared) -> None:
        self.prepared = prepared
        self.words: Sequence[str] = list(Texts(self.prepared, "word"))
        self.splits = {
            split: Split(self.prepared, split, self.words)
            for split in SPLITS
            if f"{split}_source" in self.prepared.meta["arrays"]
        }

    @property
    def splitting(self) -> Splitting:
        """How its texts became words."""
        details = self.prepared.meta["details"]
        return Splitting(details["tokenizer"], details["full_stops"])

    def published(self) -> dict[str, Articles]:
        """The articles of each split.

        Raises:
            DataError: A split is not there.
        """
        missing = [split for split in SPLITS if split not in self.splits]
        if missing:
            name = self.prepared.meta["name"]
            raise DataError(
                f"{name} is here without its split {' and '.join(missing)}. Get all of it with `rmem fetch "
                f"{name}`, or set task.split to drawn, which divides anew what is here."
            )
        return {name: Articles([split], _all([split])) for name, split in self.splits.items()}

    def drawn(self, held_out: int, seed: int) -> dict[str, Articles]:
        """All articles, divided anew: one of `held_out` is for validation, another one for the test.

        Args:
            held_out: What part of them.
            seed: Another one, another division.

        Raises:
            DataError: There are too few articles.
        """
        splits = list(self.splits.values())
        places = _all(splits)
        if len(places) < held_out:
            name = self.prepared.meta["name"]
            raise DataError(
                f"{name} has {len(places)} articles here, too few to be divided into {held_out}; get all of "
                f"it with `rmem fetch {name}`."
            )
        places = places[np.random.default_rng(seed).permutation(len(places))]
        valid, test = len(places) // held_out, 2 * (len(places) // held_out)
        parts = {"train": places[test:], "valid": places[:valid], "test": places[valid:test]}
        return {name: Articles(splits, part) for name, part in parts.items()}

    def vocabulary(self, articles: Articles, size: int) -> Vocabulary:
        """The words that occur most often in articles and their summaries, ties in the order of Unicode.

        Args:
            articles: Those that are trained on.
            size: Most symbols, the special ones included.
        """
        counts = articles.occurrences()
        order = np.argsort(-counts, kind="stable")[: max(0, size - len(SPECIAL))]
        return Vocabulary(self.words[number] for number in order[counts[order] > 0].tolist())


def open_words(name: str) -> WordSet:
    """Open a prepared set of articles.

    Args:
        name: "cnn_dailymail", "pubmed", "arxiv", "science_daily", or one of your own.

    Raises:
        DataError: It is not there, or damaged; the message names the command that helps.
    """
    return WordSet(open_prepared(name, FORM))


def _all(splits: Sequence[Split]) -> np.ndarray:
    """Which split each article is of, and its place there, `[articles, 2]`."""
    of = np.repeat(np.arange(len(splits)), [len(split) for split in splits])
    return np.stack([of, np.concatenate([np.arange(len(split)) for split in splits])], 1)
