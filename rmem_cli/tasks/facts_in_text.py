"""Memorize, detect and memorize, reasoning: facts somewhere in a long text, and a question at its end."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch

from rmem_cli.data.babi import Babi, Question, words
from rmem_cli.data.prepared import Prepared, open_prepared
from rmem_cli.errors import UsageError
from rmem_cli.models.batch import Batch
from rmem_cli.recipe.schema import Drawn
from rmem_cli.seeding import derive_seed
from rmem_cli.tasks.base import GeneratedTask
from rmem_cli.tasks.facts_config import FactsInTextSettings

_HELD_OUT = 10


@dataclass(frozen=True)
class _Example:
    """A text and what is written over it: all that is kept of an example, however long it is."""

    split: str
    start: int
    written: list[tuple[int, np.ndarray]]
    answer: int


class FactsInText(GeneratedTask[Sequence[_Example]]):
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

    In evaluation an example comes segment by segment, the state going on, so that its length costs no memory.

    Args:
        settings: All options; of bAbI's training questions a tenth are for validation, as it has none for it.

    Raises:
        DataError: Text or questions are missing or damaged.
        UsageError: A segment is too short for facts and question.

    Source: Bulatov et al. 2023, section 4. There the text is from QuALITY, and the model starts from BERT.
    """

    def __init__(self, settings: FactsInTextSettings) -> None:
        self.corpus = corpus = open_prepared(settings.dataset, settings.form)
        babi = Babi(settings.babi_task, settings.questions)
        questions = _questions(settings.babi_task, settings.questions, babi.prepared.data_hash)
        self.form = settings.kind
        self.segments = settings.segments
        self.segment_length = settings.segment_length
        everything = [each for split in questions.values() for each in split]
        texts = {text for each in everything for text in (*each.story, each.question)}
        known = _with_new_symbols(corpus, texts)
        self.symbols = len(known)
        self._encoded = {text: np.array([known[part] for part in _parts(corpus, text)]) for text in texts}
        self.answers = sorted({each.answer for each in everything})
        self.classes = len(self.answers)
        held_out = math.ceil(len(questions["train"]) / _HELD_OUT)
        self._splits = {
            "train": questions["train"][held_out:],
            "valid": questions["train"][:held_out],
            "test": questions["test"],
        }
        self._check_room(everything)

    def batch(self, examples: Sequence[_Example]) -> Batch:
        """See `GeneratedTask.batch`."""
        return self._window(examples, 0, self.segments)

    def evaluation_batches(
        self, split: str, examples: int | None, batch_size: int, seed: int, drawn: Drawn = "by_batch"
    ) -> Iterator[Batch]:
        """See `Task.evaluation_batches`; one batch for each segment.

        Raises:
            ValueError: `examples` is None.
        """
        for rows in self.evaluated(split, examples, batch_size, seed, drawn):
            for segment in range(self.segments):
                yield self._window(rows, segment, 1)

    def examples_in(self, batch: Batch) -> int:
        """Rows that begin here: each example is counted with its first segment."""
        return int(batch.fresh.sum())

    def draw(self, count: int, seed: int, split: str, number: int) -> Sequence[_Example]:
        """See `GeneratedTask.draw`."""
        random = np.random.default_rng(derive_seed(seed, self.form, split, number))
        questions, length = self._splits[split], len(self.corpus.tokens(split))
        examples = []
        for _ in range(count):
            asked = questions[int(random.integers(len(questions)))]
            question = self._encoded[asked.question]
            written = [*self._placed(self._facts(asked), random), (self._end - len(question), question)]
            start, answer = int(random.integers(length)), self.answers.index(asked.answer)
            examples.append(_Example(split, start, written, answer))
        return examples

    @property
    def _end(self) -> int:
        return self.segments * self.segment_length

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

    def _window(self, examples: Sequence[_Example], first: int, count: int) -> Batch:
        """`count` segments of some examples, from segment number `first` on."""
        start, length = first * self.segment_length, count * self.segment_length
        tokens = self.corpus.tokens(examples[0].split)
        offsets = np.array([example.start for example in examples])[:, None] + start + np.arange(length)
        symbols = tokens[offsets % len(tokens)].astype(np.int64)
        for row, example in zip(symbols, examples, strict=True):
            for position, written in example.written:
                begin, end = max(position, start), min(position + len(written), start + length)
                if begin < end:
                    row[begin - start : end - start] = written[begin - position : end - position]
        targets, weight = torch.zeros(symbols.shape, dtype=torch.long), torch.zeros(symbols.shape)
        if start + length == self._end:
            targets[:, -1] = torch.tensor([example.answer for example in examples])
            weight[:, -1] = 1
        fresh = torch.full((len(examples),), first == 0)
        return Batch(torch.from_numpy(symbols), targets, weight, fresh)

    def _facts(self, asked: Question) -> list[np.ndarray]:
        """What is told of a question: all of its story, or the statement that supports the answer."""
        told = asked.story if self.form == "reasoning" else [asked.story[place] for place in asked.support]
        return [self._encoded[fact] for fact in told]

    def _check_room(self, asked: Iterable[Question]) -> None:
        """Facts of one segment must not reach the next one, nor the question."""
        needed = max(sum(map(len, self._facts(each))) + len(self._encoded[each.question]) for each in asked)
        if needed > self.segment_length:
            raise UsageError(
                f"facts and question take up to {needed} symbols, and a segment has {self.segment_length}; "
                f"set task.segment_length to {needed} or more"
            )


def _parts(corpus: Prepared, text: str) -> list[str]:
    """A sentence of bAbI in the units of a corpus: its words, without punctuation, or its characters."""
    if corpus.meta["form"] == "word":
        return words(text)
    return list(text)


def _with_new_symbols(corpus: Prepared, texts: Iterable[str]) -> dict[str, int]:
    """Text to symbol: the vocabulary of a corpus, and after it what other texts have beyond."""
    known = {part: symbol for symbol, part in enumerate(corpus.vocabulary)}
    new = sorted({part for text in texts for part in _parts(corpus, text)} - known.keys())
    return known | {part: symbol for symbol, part in enumerate(new, start=len(corpus.vocabulary))}


@lru_cache(maxsize=2)
def _questions(task: int, size: str, data_hash: str) -> dict[str, list[Question]]:
    """All questions of a bAbI task, read once for all evaluations of a run."""
    del data_hash  # other data are other questions
    babi = Babi(task, size)
    return {split: list(babi.questions(split)) for split in ("train", "test")}
