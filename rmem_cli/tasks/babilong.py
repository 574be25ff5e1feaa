"""BABILong: the facts of a bAbI question among the sentences of a long text, and the question at its end."""

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from functools import lru_cache
from math import ceil, floor

import numpy as np

from rmem_cli.data.babi import Question
from rmem_cli.data.prepared import open_prepared
from rmem_cli.data.sentences import Sentences
from rmem_cli.errors import UsageError
from rmem_cli.models.batch import Batch
from rmem_cli.seeding import derive_seed
from rmem_cli.tasks.asked_at_end import AskedAtEnd, EncodedQuestions, put
from rmem_cli.tasks.facts_config import BabilongSettings


@dataclass(frozen=True)
class _Example:
    """A background, by where it begins among the sentences of its split, and what is put in between."""

    split: str
    start: int
    inserted: list[tuple[int, np.ndarray]]
    answer: int


class Babilong(AskedAtEnd[_Example]):
    """Read a text of an exact length with facts between its sentences, and answer a question about them.

    The background is any prepared text: its sentences from one drawn at random on, without short ones and
    without those that say a sentence of bAbI themselves; the last of them is cut where the length asks for
    it. All facts of a story stand in their order, each in front of a sentence (or behind the last) that is
    drawn by itself, each as likely; several may stand together:

        ... . Mary went to the hall ... . ... . John went to the bath Mary went to the bed ... Where is Mary

    What is asked for, at the last step alone, is one of the answers of the bAbI task. Facts have their
    corpus' units: its words, without punctuation, or its characters.

    Args:
        settings: All options.

    Raises:
        DataError: Text or questions are missing or damaged.
        UsageError: The length does not suffice for facts and question, or no question or no sentence is left.

    Source: Kuratov et al. 2024, section 2, and booydar/babilong. There the text is PG-19, positions within
    bounds are those of the whole sample, and the model says the answer.
    """

    def __init__(self, settings: BabilongSettings) -> None:
        self.settings = settings
        self.corpus = open_prepared(settings.dataset, settings.form)
        questions = EncodedQuestions(settings.babi_task, settings.questions, self.corpus)
        super().__init__(questions, settings.tokens, settings.segment_length)
        self._asked = {split: self._with_few_facts(each) for split, each in questions.splits.items()}
        every = (each for split in self._asked.values() for each in split)
        self._needed = questions.longest([*each.story, each.question] for each in every)
        if self._needed > settings.tokens:
            raise UsageError(
                f"facts and question take up to {self._needed} symbols, and task.tokens is "
                f"{settings.tokens}; raise it, or lower task.most_facts"
            )
        self._sentences = lru_cache(3)(self._sentences_of)

    def training_batch(self, step: int, batch_size: int, seed: int) -> Batch:
        """See `Task.training_batch`; of its own number of segments, where that varies."""
        if not self.settings.vary_segments:
            return super().training_batch(step, batch_size, seed)
        random = np.random.default_rng(derive_seed(seed, "number of segments", step))
        fewest, most = (ceil(each / self.segment_length) for each in (self._needed, self.length))
        shorter = copy(self)
        shorter.length = min(self.length, self.segment_length * int(random.integers(fewest, most + 1)))
        return shorter.make(batch_size, seed, "train", step)

    def draw(self, count: int, seed: int, split: str, number: int) -> Sequence[_Example]:
        """See `GeneratedTask.draw`."""
        random = np.random.default_rng(derive_seed(seed, "babilong", split, number))
        return [self._drawn(split, random) for _ in range(count)]

    def read(self, examples: Sequence[_Example], start: int, stop: int) -> np.ndarray:
        """See `AskedAtEnd.read`."""
        return np.stack([self._row(example, start, stop) for example in examples])

    def _drawn(self, split: str, random: np.random.Generator) -> _Example:
        questions, sentences = self._asked[split], self._sentences(split)
        asked = questions[int(random.integers(len(questions)))]
        facts, question = [self.questions[fact] for fact in asked.story], self.questions[asked.question]
        background = self.length - sum(map(len, facts)) - len(question)
        start = sentences.begin(int(random.integers(len(sentences))))
        gaps = _Gaps(sentences, start, background, self.settings)
        inserted, before = [], 0
        for gap, fact in zip(sorted(gaps.draw(random) for _ in facts), facts, strict=True):
            inserted.append((gap + before, fact))
            before += len(fact)
        inserted.append((self.length - len(question), question))
        return _Example(split, start, inserted, self.questions.answer(asked))

    def _row(self, example: _Example, start: int, stop: int) -> np.ndarray:
        """The symbols of an example from one position to another."""
        positions = np.arange(start, stop)
        background = positions + example.start
        for position, symbols in example.inserted:
            background -= np.clip(positions - position, 0, len(symbols))
        row = self._sentences(example.split).symbols(background).astype(np.int64)
        put(row, start, example.inserted)
        return row

    def _with_few_facts(self, questions: Sequence[Question]) -> list[Question]:
        most = self.settings.most_facts
        left = [each for each in questions if most is None or len(each.story) <= most]
        if not left:
            fewest = min(len(each.story) for each in questions)
            raise UsageError(
                f"no question has {most} facts or fewer; raise task.most_facts to {fewest} or more"
            )
        return left

    def _sentences_of(self, split: str) -> Sentences:
        said = self.questions.sentences().values()
        return Sentences(self.corpus, split, self.settings.shortest_sentence, list(said))


class _Gaps:
    """Where facts may stand: in front of the sentences of a background and behind it, within bounds.

    Where no sentence begins within the bounds, it is in front of the last one before them.
    """

    def __init__(self, sentences: Sentences, start: int, background: int, settings: BabilongSettings) -> None:
        self._begin = sentences.begin
        self._start = start
        self._end = background
        low, high = ceil(settings.earliest * background), floor(settings.latest * background)
        self._first = sentences.first_from(start + low)
        last = sentences.first_from(start + min(high + 1, background)) - 1
        self._count = max(0, last + 1 - self._first) + (high == background)
        if self._count == 0:
            self._first, self._count = last, 1

    def draw(self, random: np.random.Generator) -> int:
        """One of them, as a position in the background."""
        number = self._first + int(random.integers(self._count))
        return min(self._begin(number) - self._start, self._end)
