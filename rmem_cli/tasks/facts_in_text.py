"""Memorize, detect and memorize, reasoning: facts somewhere in a long text, and a question at its end."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rmem_cli.data.babi import Question
from rmem_cli.data.prepared import open_prepared
from rmem_cli.errors import UsageError
from rmem_cli.seeding import derive_seed
from rmem_cli.tasks.asked_at_end import AskedAtEnd, EncodedQuestions, put
from rmem_cli.tasks.facts_config import FactsInTextSettings


@dataclass(frozen=True)
class _Example:
    """A text, by where it begins in the corpus, and what is written over it."""

    split: str
    start: int
    written: list[tuple[int, np.ndarray]]
    answer: int


class FactsInText(AskedAtEnd[_Example]):
    """Remember facts over a long text, and answer a question about them at its end.

    The text is any prepared corpus, from a random place on. Facts are written over it, and the question over
    its end; what is asked for, at the last step alone, is one of the places that bAbI knows:

        memorize              Mary went to the garden ... text ... Where is Mary
        detect_and_memorize   ... text ... Mary went to the garden ... text ... Where is Mary
        reasoning             ... The hall is east of the bath ... The bed is west of the bath ... What is
                              the bath east of

    For `memorize` the fact stands at the very beginning, else at the beginning of a segment drawn at random,
    for each of the two facts of `reasoning`, which keep their order. The first two take questions of bAbI's
    first task, each with the fact that supports its answer; `reasoning` those of the fourth, with both facts.

    Args:
        settings: All options; of bAbI's training questions a tenth are for validation, as it has none for it.

    Raises:
        DataError: Text or questions are missing or damaged.
        UsageError: A segment is too short for facts and question.

    Source: Bulatov et al. 2023, section 4. There the text is from QuALITY, and the model starts from BERT.
    """

    def __init__(self, settings: FactsInTextSettings) -> None:
        self.corpus = open_prepared(settings.dataset, settings.form)
        self.form = settings.kind
        self.segments = settings.segments
        length = settings.segments * settings.segment_length
        questions = EncodedQuestions(settings.babi_task, settings.questions, self.corpus)
        super().__init__(questions, length, settings.segment_length)
        self._check_room()

    def draw(self, count: int, seed: int, split: str, number: int) -> Sequence[_Example]:
        """See `GeneratedTask.draw`."""
        random = np.random.default_rng(derive_seed(seed, self.form, split, number))
        questions, length = self.questions.splits[split], len(self.corpus.tokens(split))
        examples = []
        for _ in range(count):
            asked = questions[int(random.integers(len(questions)))]
            question = self.questions[asked.question]
            facts = [self.questions[fact] for fact in self._facts(asked)]
            written = [*self._placed(facts, random), (self.length - len(question), question)]
            start, answer = int(random.integers(length)), self.questions.answer(asked)
            examples.append(_Example(split, start, written, answer))
        return examples

    def read(self, examples: Sequence[_Example], start: int, stop: int) -> np.ndarray:
        """See `AskedAtEnd.read`."""
        tokens = self.corpus.tokens(examples[0].split)
        offsets = np.array([example.start for example in examples])[:, None] + np.arange(start, stop)
        symbols: np.ndarray = tokens[offsets % len(tokens)].astype(np.int64)
        for row, example in zip(symbols, examples, strict=True):
            put(row, start, example.written)
        return symbols

    def _placed(
        self, facts: Sequence[np.ndarray], random: np.random.Generator
    ) -> list[tuple[int, np.ndarray]]:
        """Facts with their positions; those of one segment stand one after the other."""
        chosen = [0] * len(facts)
        if self.form != "memorize":
            chosen = sorted(random.integers(self.segments, size=len(facts)).tolist())
        placed, free = [], 0
        for segment, fact in zip(chosen, facts, strict=True):
            position = max(segment * self.segment_length, free)
            placed.append((position, fact))
            free = position + len(fact)
        return placed

    def _facts(self, asked: Question) -> list[str]:
        """What is told of a question: all of its story, or the statement that supports the answer."""
        return asked.story if self.form == "reasoning" else [asked.story[place] for place in asked.support]

    def _check_room(self) -> None:
        """Facts of one segment must not reach the next one, nor the question."""
        every = (each for split in self.questions.splits.values() for each in split)
        needed = self.questions.longest([*self._facts(each), each.question] for each in every)
        if needed > self.segment_length:
            raise UsageError(
                f"facts and question take up to {needed} symbols, and a segment has {self.segment_length}; "
                f"set task.segment_length to {needed} or more"
            )
