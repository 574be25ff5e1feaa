"""Long texts with a question of bAbI at their end, which evaluations read segment by segment."""

import math
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Protocol, TypeVar

import numpy as np
import torch

from rmem_cli.data.babi import Babi, Question, words
from rmem_cli.data.prepared import Prepared
from rmem_cli.data.task_tokenizers import TextTokenizer
from rmem_cli.models.batch import Batch
from rmem_cli.recipe.schema import Drawn
from rmem_cli.tasks.base import GeneratedTask

_HELD_OUT = 10


class Asked(Protocol):
    """All that is kept of an example, however long it is."""

    @property
    def answer(self) -> int:
        """Its class."""
        ...


Example = TypeVar("Example", bound=Asked)


class AskedAtEnd(GeneratedTask[Sequence[Example]]):
    """A task whose examples are texts of one length, with a question at the end and its answer due there.

    In evaluation an example comes segment by segment, the state going on, so that its length costs no memory.

    Args:
        questions: Those that are asked, in the symbols of the text.
        length: Symbols of an example.
        segment_length: Symbols that an evaluation reads at once.
    """

    def __init__(self, questions: "EncodedQuestions", length: int, segment_length: int) -> None:
        self.questions = questions
        self.symbols, self.classes = questions.symbols, len(questions.answers)
        self.length = length
        self.segment_length = segment_length

    @property
    def tokenizer(self) -> TextTokenizer:
        """See `Task.tokenizer`."""
        return self.questions.tokenizer

    @property
    def class_names(self) -> list[str]:
        """The answers."""
        return self.questions.answers

    @abstractmethod
    def read(self, examples: Sequence[Example], start: int, stop: int) -> np.ndarray:
        """The symbols of some examples from one position to another, `[examples, stop - start]`."""

    def batch(self, examples: Sequence[Example]) -> Batch:
        """See `GeneratedTask.batch`."""
        return self._window(examples, 0, self.length)

    def evaluation_batches(
        self, split: str, examples: int | None, batch_size: int, seed: int, drawn: Drawn = "by_batch"
    ) -> Iterator[Batch]:
        """See `Task.evaluation_batches`; one batch for each segment.

        Raises:
            ValueError: `examples` is None.
        """
        for rows in self.evaluated(split, examples, batch_size, seed, drawn):
            for start in range(0, self.length, self.segment_length):
                yield self._window(rows, start, min(start + self.segment_length, self.length))

    def examples_in(self, batch: Batch) -> int:
        """Rows that begin here: each example is counted with its first segment."""
        return int(batch.fresh.sum())

    def _window(self, examples: Sequence[Example], start: int, stop: int) -> Batch:
        symbols = self.read(examples, start, stop)
        targets, weight = torch.zeros(symbols.shape, dtype=torch.long), torch.zeros(symbols.shape)
        if stop == self.length:
            targets[:, -1] = torch.tensor([example.answer for example in examples])
            weight[:, -1] = 1
        fresh = torch.full((len(examples),), start == 0)
        return Batch(torch.from_numpy(symbols.astype(np.int64)), targets, weight, fresh)


def put(row: np.ndarray, start: int, written: Iterable[tuple[int, np.ndarray]]) -> None:
    """Write symbols over a part of a text.

    Args:
        row: `[n]`, the symbols from position `start` on.
        start: Of the part.
        written: Positions in the whole text, and the symbols that stand from there on.
    """
    stop = start + len(row)
    for position, symbols in written:
        begin, end = max(position, start), min(position + len(symbols), stop)
        if begin < end:
            row[begin - start : end - start] = symbols[begin - position : end - position]


class EncodedQuestions:
    """The questions of a bAbI task in the symbols of a text.

    Words, or characters, that the text does not have become symbols behind its own. Of the training questions
    a tenth, the first, are for validation, as bAbI has none for it.

    Args:
        task: Number of the bAbI task.
        size: Which size of bAbI, `en` or `en-10k`.
        corpus: The text.

    Raises:
        DataError: The questions are missing or damaged.
    """

    def __init__(self, task: int, size: str, corpus: Prepared) -> None:
        asked = _questions(task, size, Babi(task, size).prepared.data_hash)
        everything = [each for split in asked.values() for each in split]
        texts = {text for each in everything for text in (*each.story, each.question)}
        known = _with_new_symbols(corpus, texts)
        self.symbols = len(known)
        self._corpus, self._new_symbols = corpus, [*known][len(corpus.vocabulary) :]
        self.answers = sorted({each.answer for each in everything})
        self._encoded = {text: np.array([known[part] for part in _parts(corpus, text)]) for text in texts}
        held_out = math.ceil(len(asked["train"]) / _HELD_OUT)
        self.splits = {
            "train": asked["train"][held_out:],
            "valid": asked["train"][:held_out],
            "test": asked["test"],
        }

    @property
    def tokenizer(self) -> TextTokenizer:
        """That of the text, with the symbols behind its own."""
        return TextTokenizer.of(self._corpus, self._new_symbols)

    def __getitem__(self, text: str) -> np.ndarray:
        """The symbols of a sentence."""
        return self._encoded[text]

    def sentences(self) -> dict[str, np.ndarray]:
        """All sentences of stories and questions, with their symbols."""
        return dict(self._encoded)

    def answer(self, asked: Question) -> int:
        """The class of its answer."""
        return self.answers.index(asked.answer)

    def longest(self, told: Iterable[list[str]]) -> int:
        """The most symbols that some lists of sentences have."""
        return max(sum(len(self[text]) for text in texts) for texts in told)


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
