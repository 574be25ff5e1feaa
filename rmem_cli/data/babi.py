"""The bAbI question answering tasks, as prepared: every line of a file, and which of them are questions.

There is a form for each task and training size, `en-qa1` ... `en-qa20` (1,000 questions) and `en-10k-qa1` ...
`en-10k-qa20` (10,000); the test questions are the same. For each split (`train`, `test`) it holds

- `<split>_text`: the text of every line (see `rmem_cli.data.texts`), without its number and its answer;
- `<split>_number` [lines]: the number of the line in its story; a story begins where it is 1;
- `<split>_question` [questions]: which lines are questions, counted from 0;
- `<split>_answer`: the answer to each question;
- `<split>_support` [facts] and `<split>_supports` [questions]: the line numbers of the supporting facts of
  all questions one after the other, and how many each question has.

The vocabulary holds the words of all lines and answers, in the order of Unicode.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

import numpy as np

from rmem_cli.data.prepared import open_prepared
from rmem_cli.data.texts import Texts
from rmem_cli.errors import DataError

TASKS = range(1, 21)
SIZES = ("en", "en-10k")
SPLITS = ("train", "test")

_NUMBER = re.compile("[1-9][0-9]{0,3}")
_WORDS = re.compile(r"\W+")
_WORDS_AND_REST = re.compile(r"(\W+)")


class Line(NamedTuple):
    """A line of a bAbI file.

    Args:
        number: Its number in the story, from 1.
        text: Statement or question.
        answer: The answer to a question (None: a statement). Several words are separated by commas.
        support: Numbers of the lines that support the answer.
    """

    number: int
    text: str
    answer: str | None = None
    support: tuple[int, ...] = ()

    @classmethod
    def parse(cls, line: str) -> "Line":
        """Read a line as it stands in the files.

        Raises:
            ValueError: It has no number, or not the fields of a statement or of a question.
        """
        number, _, rest = line.partition(" ")
        if not _NUMBER.fullmatch(number):
            raise ValueError(f"{number!r} is no number")
        text, *asked = rest.split("\t")
        if not asked:
            return cls(int(number), text)
        answer, support = asked
        return cls(int(number), text, answer, tuple(map(int, support.split())))

    def __str__(self) -> str:
        asked = "" if self.answer is None else f"\t{self.answer}\t{' '.join(map(str, self.support))}"
        return f"{self.number} {self.text}{asked}"


@dataclass(frozen=True)
class Question:
    """A question with all that was told before it.

    Args:
        story: The statements since the story began, without earlier questions.
        question: What is asked.
        answer: The answer; several words are separated by commas.
        support: Positions in `story` of the statements that support the answer.
    """

    story: list[str]
    question: str
    answer: str
    support: list[int]


class Babi:
    """One task, read back.

    Args:
        task: Number of the task, 1 to 20.
        size: "en" (1,000 training questions) or "en-10k" (10,000).

    Raises:
        DataError: It is not there; the message names the command that gets it.
    """

    def __init__(self, task: int, size: str = "en-10k") -> None:
        self.prepared = open_prepared("babi", form(task, size))

    def has(self, split: str) -> bool:
        """Whether the file of a split was there when the data was prepared."""
        return f"{split}_number" in self.prepared.meta["arrays"]

    def lines(self, split: str) -> list[Line]:
        """Every line of a split, as in the original file.

        Raises:
            DataError: The file was missing when the data was prepared, or the arrays do not belong together.
        """
        try:
            return self._lines(split)
        except ValueError as error:
            raise self._apart(split) from error

    def _lines(self, split: str) -> list[Line]:
        text = list(Texts(self.prepared, f"{split}_text"))
        numbers = self.prepared.array(f"{split}_number").tolist()
        lines = [Line(number, line) for number, line in zip(numbers, text, strict=True)]
        supports = self.prepared.array(f"{split}_supports").tolist()
        facts = self.prepared.array(f"{split}_support").tolist()
        if sum(supports) != len(facts):
            raise ValueError(f"{len(facts)} supporting facts instead of {sum(supports)}")
        support = iter(facts)
        questions = self.prepared.array(f"{split}_question", below=len(lines)).tolist()
        answers = Texts(self.prepared, f"{split}_answer")
        for position, answer, count in zip(questions, answers, supports, strict=True):
            line = lines[position]
            lines[position] = Line(line.number, line.text, answer, tuple(islice(support, count)))
        return lines

    def questions(self, split: str) -> Iterator[Question]:
        """Every question of a split with its story.

        Raises:
            DataError: As for `lines`.
        """
        story: list[str] = []
        positions: dict[int, int] = {}
        for line in self.lines(split):
            if line.number == 1:
                story, positions = [], {}
            if line.answer is None:
                positions[line.number] = len(story)
                story.append(line.text)
            elif not positions.keys() >= set(line.support):
                raise self._apart(split)
            else:
                yield Question(
                    list(story),
                    line.text.strip(),
                    line.answer,
                    [positions[number] for number in line.support],
                )

    def _apart(self, split: str) -> DataError:
        return self.prepared.damaged(f"the arrays of {split} do not belong together")


def form(task: int, size: str) -> str:
    """The prepared form of a task, such as "en-10k-qa3"."""
    return f"{size}-qa{task}"


def words(text: str) -> list[str]:
    """The words of a line, in lower case, without punctuation.

    Example: `words("Where is Mary? ")` is `["where", "is", "mary"]`.
    """
    # Not torchtext's `basic_english`, to which punctuation marks are words, too.
    return [word for word in _WORDS.split(text.lower()) if word]


def tokens(text: str) -> list[str]:
    """The words of a line and, as words of their own, its punctuation; letters stay as they are.

    Example: `tokens("Where is Mary? ")` is `["Where", "is", "Mary", "?"]`.
    """
    return [stripped for part in _WORDS_AND_REST.split(text) if (stripped := part.strip())]


def vocabulary_of(lines: Iterable[Line]) -> Sequence[str]:
    """All words of lines and answers, in the order of Unicode (torchtext would put frequent ones first)."""
    texts = {text for line in lines for text in (line.text, line.answer)}  # most lines recur: split each once
    return sorted({word for text in texts if text is not None for word in words(text)})


def arrays_of(split: str, lines: Sequence[Line]) -> dict[str, np.ndarray]:
    """The arrays of numbers of a split; see the module."""
    questions = [position for position, line in enumerate(lines) if line.answer is not None]
    return {
        f"{split}_number": np.array([line.number for line in lines], np.uint16),
        f"{split}_question": np.array(questions, np.uint32),
        f"{split}_support": np.array([number for line in lines for number in line.support], np.uint16),
        f"{split}_supports": np.array([len(lines[position].support) for position in questions], np.uint8),
    }
