"""Settings of facts that are hidden in long texts."""

import math
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, PositiveInt, model_validator

from rmem_cli.recipe.kinds import TaskSettings
from rmem_cli.tasks.babi_config import MOST_FREQUENT_ANSWERS, SAME_ANSWER, BabiNumber
from rmem_cli.tasks.text_config import no_path

# How many different answers each task of bAbI has, by its size.
ANSWERS = {
    "en": (6, 6, 6, 6, 7, 2, 4, 14, 2, 3, 6, 6, 6, 6, 4, 4, 2, 2, 12, 7),
    "en-10k": (6, 6, 6, 6, 7, 2, 4, 16, 2, 3, 6, 6, 6, 6, 4, 4, 2, 2, 12, 7),
}


PreparedName = Annotated[str, no_path("no file of your own is read here")]


class FactsInTextSettings(TaskSettings):
    """What the three tasks of the paper on a million tokens share; `rmem_cli.tasks.facts_in_text` has
    examples.

    Attributes:
        babi_task: Number of the bAbI task that the facts are from.
        dataset: Name of a prepared text.
        form: Which of its prepared forms; words, or anything made of characters.
        segments: Length of an example, in segments.
        segment_length: Length of a segment, in symbols; the core's own should be the same.
        questions: Which size of bAbI: 1,000 questions (`en`) or 10,000.
    """

    implementation: ClassVar[str] = "rmem_cli.tasks.facts_in_text:FactsInText"
    metrics: ClassVar[tuple[str, ...]] = ("accuracy", "loss")
    generated: ClassVar[bool] = True
    common: ClassVar[frozenset[str]] = frozenset(
        {"dataset", "form", "segments", "segment_length", "questions"}
    )
    babi_task: ClassVar[int]

    dataset: PreparedName
    form: PreparedName
    segments: PositiveInt
    segment_length: PositiveInt
    questions: Literal["en", "en-10k"] = "en-10k"

    def chance(self, split: str) -> dict[str, float]:
        """One of six places."""
        del split
        return {"accuracy": 1 / 6, "loss": math.log(6)}

    def baselines(self, split: str) -> dict[str, dict[str, float]]:
        """Beside chance: to give the same answer to each test question, the most frequent one."""
        known = super().baselines(split)
        if split == "test":
            known[SAME_ANSWER] = {"accuracy": MOST_FREQUENT_ANSWERS[self.babi_task - 1] / 1000}
        return known

    def data_sets(self) -> list[tuple[str, str]]:
        """Facts and text."""
        return [("babi", f"{self.questions}-qa{self.babi_task}"), (self.dataset, self.form)]


class MemorizeSettings(FactsInTextSettings):
    """A fact at the beginning of a text, a question at its end."""

    babi_task: ClassVar[int] = 1

    kind: Literal["memorize"] = "memorize"


class DetectAndMemorizeSettings(FactsInTextSettings):
    """A fact somewhere in a text, a question at its end."""

    babi_task: ClassVar[int] = 1

    kind: Literal["detect_and_memorize"] = "detect_and_memorize"


class ReasoningSettings(FactsInTextSettings):
    """Two facts somewhere in a text, and at its end a question about what they say of a place."""

    babi_task: ClassVar[int] = 4

    kind: Literal["reasoning"] = "reasoning"


class BabilongSettings(TaskSettings):
    """Facts of bAbI among the sentences of a long text; `rmem_cli.tasks.babilong` has an example.

    Attributes:
        babi_task: Number of the bAbI task, 1 to 20.
        dataset: Name of the prepared text that is the background.
        form: Which of its prepared forms; words, or anything made of characters.
        tokens: Length of an example, facts and question included, in symbols.
        segment_length: Length of a segment, in symbols; the core's own should be the same.
        questions: Which size of bAbI: 1,000 questions (`en`) or 10,000.
        most_facts: Questions about more facts are left out; None: none is.
        earliest: Share of the background before which no fact stands.
        latest: Share of the background behind which no fact stands.
        shortest_sentence: Symbols that a sentence of the background has at least.
        vary_segments: Whether each training batch has a number of segments of its own, up to all of them.
    """

    implementation: ClassVar[str] = "rmem_cli.tasks.babilong:Babilong"
    metrics: ClassVar[tuple[str, ...]] = ("accuracy", "loss")
    generated: ClassVar[bool] = True

    kind: Literal["babilong"] = "babilong"
    babi_task: BabiNumber
    dataset: PreparedName
    form: PreparedName
    tokens: PositiveInt
    segment_length: PositiveInt
    questions: Literal["en", "en-10k"] = "en-10k"
    most_facts: PositiveInt | None = None
    earliest: float = Field(default=0.0, ge=0.0, le=1.0)
    latest: float = Field(default=1.0, ge=0.0, le=1.0)
    shortest_sentence: PositiveInt = 10
    vary_segments: bool = False

    @model_validator(mode="after")
    def _bounds_are_in_order(self) -> Self:
        if self.earliest > self.latest:
            raise ValueError(
                f"earliest is {self.earliest:g}, and latest {self.latest:g}; make earliest no larger"
            )
        return self

    def chance(self, split: str) -> dict[str, float]:
        """One of the answers of the bAbI task."""
        del split
        answers = ANSWERS[self.questions][self.babi_task - 1]
        return {"accuracy": 1 / answers, "loss": math.log(answers)}

    def baselines(self, split: str) -> dict[str, dict[str, float]]:
        """Beside chance: to give the same answer to each test question of the task, the most frequent one."""
        known = super().baselines(split)
        if split == "test" and self.most_facts is None:
            known[SAME_ANSWER] = {"accuracy": MOST_FREQUENT_ANSWERS[self.babi_task - 1] / 1000}
        return known

    def data_sets(self) -> list[tuple[str, str]]:
        """Facts and text."""
        return [("babi", f"{self.questions}-qa{self.babi_task}"), (self.dataset, self.form)]
