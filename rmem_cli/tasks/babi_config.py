"""Settings of the questions of bAbI."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, field_validator

from rmem_cli.recipe.kinds import TaskSettings
from rmem_cli.recipe.messages import describe

BABI_TASKS = range(1, 21)
BabiNumber = Annotated[int, Field(ge=1, le=20)]
SMALLER: Literal["en"] = "en"  # size of bAbI
SAME_ANSWER = "the most frequent answer"
# How often it is the answer to one of the 1,000 test questions of each task.
MOST_FREQUENT_ANSWERS = (
    *(187, 187, 215, 177, 189, 503, 488, 336, 638, 437),
    *(187, 189, 183, 177, 341, 257, 520, 531, 93, 180),
)


class BabiSettings(TaskSettings):
    """Questions about the stories of bAbI; `rmem_cli.tasks.babi` has examples.

    Attributes:
        number: Number of the task, 1 to 20, or a list of those that one model learns together; None: all.
        size: With 1,000 training questions (`en`) or 10,000 (`en-10k`); the test questions are the same.
        level: Whether a step is a word, or all words of a sentence (the question is one, too).
        text: `as_written` keeps the case of letters, and punctuation is words; `plain` has lower case and no
            punctuation.
        padding: `masked` reads no further than a question is long; `published` reads blanks before each story
            and behind each question, up to the longest ones.
        order: In which order training questions are read: `like_length` makes batches of questions of about
            one length, in another order in each pass; `file` is that of the files in each, as published.
        classes: What an answer is one of: all words and answers and the blank (`vocabulary`, as published),
            or all answers.
        if_missing: What becomes of a task without its file of 10,000 training questions: it is refused, or
            learned from those of the `smaller` size. Results then say that their data is partial.
    """

    implementation: ClassVar[str] = "rmem_cli.tasks.babi:StoryQuestions"
    metrics: ClassVar[tuple[str, ...]] = ("accuracy", "loss")
    generated: ClassVar[bool] = False
    asks_questions: ClassVar[bool] = True
    numbered: ClassVar[frozenset[str]] = frozenset({"number"})

    kind: Literal["babi"] = "babi"
    number: int | list[int] | None
    size: Literal["en", "en-10k"] = "en-10k"
    level: Literal["word", "sentence"] = "sentence"
    text: Literal["as_written", "plain"] = "as_written"
    padding: Literal["masked", "published"] = "masked"
    order: Literal["like_length", "file"] = "like_length"
    classes: Literal["vocabulary", "answers"] = "vocabulary"
    if_missing: Literal["refuse", "smaller"] = "refuse"

    @property
    def numbers(self) -> list[int]:
        """The tasks that are learned."""
        if self.number is None:
            return [*BABI_TASKS]
        return self.number if isinstance(self.number, list) else [self.number]

    def across_tasks(self) -> Self | None:
        """Those of any one task."""
        return self.model_copy(update={"number": None}) if isinstance(self.number, int) else None

    @property
    def classes_are_symbols(self) -> bool:
        """See `TaskSettings.classes_are_symbols`."""
        return self.classes == "vocabulary"

    @property
    def reads_sentences(self) -> bool:
        """See `TaskSettings.reads_sentences`."""
        return self.level == "sentence"

    def parts(self) -> tuple[str, ...]:
        """Each of the tasks that are learned together, such as `qa3`."""
        return tuple(f"qa{number}" for number in self.numbers) if len(self.numbers) > 1 else ()

    @field_validator("number", mode="before")
    @classmethod
    def _tasks_are_numbers_and_differ(cls, number: object) -> object:
        given = number if isinstance(number, list) else [] if number is None else [number]
        wrong = [each for each in given if type(each) is not int or each not in BABI_TASKS]
        if wrong:
            raise ValueError(
                f"must be a task from 1 to 20, a list of them, or null for all; {describe(wrong[0])} is none"
            )
        if isinstance(number, list) and len(set(number)) != max(1, len(number)):
            raise ValueError(f"is {number}; give one or more tasks, each of them once")
        return number

    def baselines(self, split: str) -> dict[str, dict[str, float]]:
        """To give the same answer to each test question of a task, the most frequent one."""
        if split != "test" or isinstance(self.number, list | None):
            return {}
        return {SAME_ANSWER: {"accuracy": MOST_FREQUENT_ANSWERS[self.number - 1] / 1000}}

    def data_sets(self) -> list[tuple[str, str]]:
        """The tasks, and what may stand in for them."""
        sizes = [self.size] if self.if_missing == "refuse" else list(dict.fromkeys([self.size, SMALLER]))
        return [("babi", f"{size}-qa{number}") for number in self.numbers for size in sizes]
