"""Settings of facts that are hidden in long texts."""

import math
import re
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, PositiveInt

from rmem_cli.recipe.kinds import TaskSettings


def _no_path(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_-]+", text):
        raise ValueError(
            f"must be a name that `rmem fetch --list` shows, not {text!r}; own texts cannot be read yet"
        )
    return text


PreparedName = Annotated[str, AfterValidator(_no_path)]


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
