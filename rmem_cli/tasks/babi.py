"""bAbI: stories, and questions about them."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import zip_longest
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from rmem_cli.data.babi import Babi, Question, tokens, words
from rmem_cli.data.task_tokenizers import StoryTokenizer
from rmem_cli.errors import DataError
from rmem_cli.models.batch import Batch
from rmem_cli.recipe.schema import Drawn
from rmem_cli.seeding import generator
from rmem_cli.tasks.babi_config import SMALLER, BabiSettings
from rmem_cli.tasks.base import Task
from rmem_cli.tasks.like_length import LikeLength

_BLANK = 0  # the symbol of padded steps
_NOTHING = -1  # in a step of fewer symbols than others
_HELD_OUT = 10
_POOL = 256  # batches whose questions are sorted by length together


@dataclass(frozen=True)
class _Encoded:
    """A question as it is read.

    Attributes:
        story: Its steps, `[steps]`: words, or numbers of sentences.
        question: Those of the question itself.
        answer: Its class.
        part: Which of the tasks that are learned it is of, counted from 0.
    """

    story: np.ndarray
    question: np.ndarray
    answer: int
    part: int

    def __len__(self) -> int:
        return len(self.story) + len(self.question)


class StoryQuestions(Task):
    """Read a story and a question, and name the answer at the last step of the question.

    Symbols are words as they are written, punctuation among them, or plain ones; symbol 0 is a blank. On the
    level of words each step is one, on that of sentences each step is all words of a sentence at once, and so
    is the question. With `B` a blank, `x` beyond what counts:

        word       Mary went home . Where is Mary ?  x  x        target at the last ?
        sentence   {Mary went home .} {Where is Mary ?}  x       target at the second step

    Published padding reads blanks as if they were words: in front of the story up to the longest one and,
    word by word, behind the question up to the longest one; the answer is asked of the last blank.

        word       B  B  Mary went home . Where is Mary ? B B
        sentence   {B} {Mary went home .} {Where is Mary ?}

    Answers of several words, such as `milk,football`, are one class. The last tenth of the training questions
    of each task is for validation.

    Batches of like length: each pass over the training questions is in an order of its own, a function of the
    seed and the number of the pass, in which the questions of some hundred batches are sorted by their
    length; those that do not fill a batch are left out of it. In evaluation all are sorted by their length.

    Args:
        settings: All options.

    Raises:
        DataError: Questions are missing or damaged.

    Source: the published code of the question answering of Dangovski et al. 2019, whose split of a line into
    words, vocabulary, classes, padding and order of batches these are.
    """

    def __init__(self, settings: BabiSettings) -> None:
        self.settings = settings
        tasks = [_questions_of(number, settings) for number in settings.numbers]
        every = [each for splits in tasks for questions in splits.values() for each in questions]
        answers = {each.answer for each in every}
        written = settings.text
        self.vocabulary = [
            "",
            *sorted(answers.union(*(_sentence_words(text, written) for text in _texts(every)))),
        ]
        self.answers = self.vocabulary if settings.classes == "vocabulary" else sorted(answers)
        self.symbols, self.classes = len(self.vocabulary), len(self.answers)
        encode = _Encoder(self.vocabulary, self.answers, settings)
        self._splits = {
            split: [
                encode(each, task)
                for row in zip_longest(*(splits[split] for splits in tasks))
                for task, each in enumerate(row)
                if each is not None
            ]
            for split in tasks[0]
        }
        self._sentences = encode.sentences()
        encoded = [each for questions in self._splits.values() for each in questions]
        self.longest_story = max(len(each.story) for each in encoded)
        self.longest_question = max(len(each.question) for each in encoded)
        self._passes = LikeLength(
            np.array([len(each) for each in self._splits["train"]]),
            "questions",
            lambda seed, epoch: generator(seed, "questions", "order", epoch),
            _POOL,
        )

    @property
    def tokenizer(self) -> StoryTokenizer:
        """See `Task.tokenizer`."""
        return StoryTokenizer(self.vocabulary, plain=self.settings.text == "plain")

    @property
    def class_names(self) -> list[str]:
        """The answers."""
        return self.answers

    def steps_per_epoch(self, batch_size: int) -> int:
        """Training steps of one pass over the questions.

        Raises:
            UsageError: There are not enough questions for one batch.
        """
        return self._passes.steps(batch_size)

    def training_batch(self, step: int, batch_size: int, seed: int) -> Batch:
        """See `Task.training_batch`."""
        questions = self._splits["train"]
        if self.settings.order == "file":
            # As published: passes are not a whole number of batches long; the last of one may be smaller.
            first = step * batch_size % len(questions) // batch_size * batch_size
            return self._batch(questions[first : first + batch_size])
        return self._batch([questions[each] for each in self._passes.batch(step, batch_size, seed)])

    def evaluation_batches(
        self, split: str, examples: int | None, batch_size: int, seed: int, drawn: Drawn = "by_batch"
    ) -> Iterator[Batch]:
        """See `Task.evaluation_batches`; as many questions of each task as there are, the shortest first."""
        del drawn, seed
        questions = sorted(self._splits[split][:examples], key=len)
        for start in range(0, len(questions), batch_size):
            yield self._batch(questions[start : start + batch_size])

    def _batch(self, questions: Sequence[_Encoded]) -> Batch:
        published = self.settings.padding == "published"
        rows = [self._padded(each) if published else _joined(each) for each in questions]
        steps = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=_BLANK)
        lengths = torch.tensor([len(row) for row in rows])
        begins = torch.tensor([self.longest_story if published else len(each.story) for each in questions])
        last = torch.arange(steps.shape[1]) == lengths[:, None] - 1
        answers = torch.tensor([each.answer for each in questions])
        return Batch(
            steps if self._sentences is None else torch.from_numpy(self._sentences[steps.numpy()]),
            last * answers[:, None],
            last.float(),
            torch.ones(len(rows), dtype=torch.bool),
            lengths=None if bool((lengths == steps.shape[1]).all()) else lengths,
            question=begins,
            part=torch.tensor([each.part for each in questions]) if self.settings.parts() else None,
        )

    def _padded(self, asked: _Encoded) -> Tensor:
        """With blanks before the story and behind the question, as if they were words."""
        before = self.longest_story - len(asked.story)
        behind = self.longest_question - len(asked.question)
        return functional.pad(_joined(asked), (before, behind), value=_BLANK)


class _Encoder:
    """From questions as they are told to questions as they are read.

    Args:
        vocabulary: The word of each symbol.
        answers: The answer of each class.
        settings: Of the task.
    """

    def __init__(self, vocabulary: Sequence[str], answers: Sequence[str], settings: BabiSettings) -> None:
        self._symbols = {word: symbol for symbol, word in enumerate(vocabulary)}
        self._classes = {answer: number for number, answer in enumerate(answers)}
        self._settings = settings
        self._known: dict[str, list[int]] = {}
        self._table = [[_BLANK]]

    def __call__(self, asked: Question, part: int) -> _Encoded:
        """A question of one of the tasks that are learned."""
        story = [step for sentence in asked.story for step in self._steps(sentence)]
        question = self._steps(asked.question)
        return _Encoded(
            np.array(story, np.int32), np.array(question, np.int32), self._classes[asked.answer], part
        )

    def sentences(self) -> np.ndarray | None:
        """The symbols of each sentence, `[sentences, symbols]`; None on the level of words."""
        if self._settings.level == "word":
            return None
        longest = max(map(len, self._table))
        return np.array([row + [_NOTHING] * (longest - len(row)) for row in self._table])

    def _steps(self, sentence: str) -> list[int]:
        """The steps that a sentence takes: its words, or its number."""
        if sentence not in self._known:
            symbols = [self._symbols[word] for word in _sentence_words(sentence, self._settings.text)]
            if self._settings.level == "sentence":
                self._table.append(symbols)
                symbols = [len(self._table) - 1]
            self._known[sentence] = symbols
        return self._known[sentence]


@lru_cache(maxsize=1 << 16)
def _sentence_words(sentence: str, text: Literal["as_written", "plain"]) -> tuple[str, ...]:
    return tuple(words(sentence) if text == "plain" else tokens(sentence))


def _texts(questions: Iterable[Question]) -> set[str]:
    """All sentences of stories and questions."""
    return {text for each in questions for text in (*each.story, each.question)}


def _joined(asked: _Encoded) -> Tensor:
    return torch.from_numpy(np.concatenate([asked.story, asked.question]).astype(np.int64))


def _questions_of(number: int, settings: BabiSettings) -> dict[str, list[Question]]:
    """The questions of each split of a task."""
    babi = Babi(number, settings.size)
    train, test = _training_questions(babi, number, settings), list(babi.questions("test"))
    if not (train and test):
        raise babi.prepared.damaged(f"there is no question in {'test' if train else 'train'}")
    if settings.text == "plain":
        train, test = _with_plain_answers(train), _with_plain_answers(test)
    kept = len(train) - math.ceil(len(train) / _HELD_OUT)
    return {"train": train[:kept], "valid": train[kept:], "test": test}


def _with_plain_answers(questions: list[Question]) -> list[Question]:
    return [replace(each, answer=each.answer.lower()) for each in questions]


def _training_questions(babi: Babi, number: int, settings: BabiSettings) -> list[Question]:
    """Those of the task, or where their file is missing and that is wanted, those of the smaller size."""
    if settings.if_missing == "smaller" and not babi.has("train"):
        babi = Babi(number, SMALLER)
    try:
        return list(babi.questions("train"))
    except DataError as error:
        if babi.has("train") or settings.size == SMALLER or settings.if_missing == "smaller":
            raise
        raise DataError(
            f"{error} Or train on 1,000 questions in its place: set task.if_missing to smaller."
        ) from error
