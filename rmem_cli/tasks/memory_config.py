"""Settings of the tasks of one memory: copying, adding, associative recall."""

import math
from typing import ClassVar, Literal

from pydantic import Field, PositiveInt

from rmem_cli.recipe.kinds import TaskSettings
from rmem_cli.tasks.baselines import OCCURRED, expected_largest_count, plateaus


class CopyingMemorySettings(TaskSettings):
    """The copying memory task in the form of the RUM papers; `rmem_cli.tasks.copying_memory` has an example.

    Attributes:
        length: T, the number of steps over which the symbols must be kept.
        symbols: How many symbols are to be copied.
        alphabet: How many different symbols there are.
    """

    implementation: ClassVar[str] = "rmem_cli.tasks.copying_memory:CopyingMemory"
    metrics: ClassVar[tuple[str, ...]] = ("loss", "accuracy")
    generated: ClassVar[bool] = True
    common: ClassVar[frozenset[str]] = frozenset({"length"})

    kind: Literal["copying_memory"] = "copying_memory"
    length: PositiveInt
    symbols: PositiveInt = 10
    alphabet: PositiveInt = 8

    def chance(self, split: str) -> dict[str, float]:
        """Blanks where blanks are due, and a uniform guess for each symbol."""
        del split
        return {"loss": self._loss_without_memory, "accuracy": 1 / self.alphabet}

    def plateaus(self) -> str:
        """Each symbol that is kept takes an equal part of the loss away."""
        return plateaus(self._loss_without_memory, self.symbols)

    @property
    def _loss_without_memory(self) -> float:
        return self.symbols * math.log(self.alphabet) / (self.length + 2 * self.symbols)


class CopyLastTenSettings(TaskSettings):
    """The copy task in the form of the UR-LSTM paper; `rmem_cli.tasks.copy_last_ten` tells how it differs.

    Attributes:
        length: The time lag: the number of steps over which the ten symbols must be kept.
    """

    implementation: ClassVar[str] = "rmem_cli.tasks.copy_last_ten:CopyLastTen"
    metrics: ClassVar[tuple[str, ...]] = ("loss", "accuracy")
    generated: ClassVar[bool] = True
    common: ClassVar[frozenset[str]] = frozenset({"length"})

    kind: Literal["copy_last_ten"] = "copy_last_ten"
    length: PositiveInt

    def chance(self, split: str) -> dict[str, float]:
        """One of eight symbols, each as likely as the other."""
        del split
        return {"loss": math.log(8), "accuracy": 1 / 8}

    def plateaus(self) -> str:
        """Each symbol that is kept takes a tenth of the loss away."""
        return plateaus(math.log(8), 10)


class AddingSettings(TaskSettings):
    """The adding task; `rmem_cli.tasks.adding` has an example.

    Attributes:
        length: Steps of the sequence.
    """

    implementation: ClassVar[str] = "rmem_cli.tasks.adding:Adding"
    metrics: ClassVar[tuple[str, ...]] = ("mse",)
    generated: ClassVar[bool] = True
    encoder: ClassVar[str] = "features"
    head: ClassVar[str] = "regression"
    common: ClassVar[frozenset[str]] = frozenset({"length"})

    kind: Literal["adding"] = "adding"
    length: int = Field(ge=2)

    def chance(self, split: str) -> dict[str, float]:
        """The variance of the sum of two values, each uniform in [0, 1)."""
        del split
        return {"mse": 1 / 6}


class AssociativeRecallSettings(TaskSettings):
    """Associative recall in the form of the RUM papers; `rmem_cli.tasks.associative_recall` has an example.

    Attributes:
        length: T, twice the number of key-digit pairs; even.
        training_examples: How many examples are drawn for training, to be read again in every pass, and by
            an evaluation of the split `train`; None: every step draws its own.
    """

    implementation: ClassVar[str] = "rmem_cli.tasks.associative_recall:AssociativeRecall"
    metrics: ClassVar[tuple[str, ...]] = ("accuracy", "loss")
    generated: ClassVar[bool] = True
    common: ClassVar[frozenset[str]] = frozenset({"length"})

    kind: Literal["associative_recall"] = "associative_recall"
    length: PositiveInt = Field(multiple_of=2)
    training_examples: PositiveInt | None = None

    def chance(self, split: str) -> dict[str, float]:
        """One of ten digits, each as likely as the other."""
        del split
        return {"accuracy": 0.1, "loss": math.log(10)}

    def baselines(self, split: str) -> dict[str, dict[str, float]]:
        """Beside chance: to know the digits that occurred, of none its key, and to name the most frequent."""
        occurred = expected_largest_count(self.length // 2, 10) / (self.length // 2)
        return {**super().baselines(split), OCCURRED: {"accuracy": occurred}}
