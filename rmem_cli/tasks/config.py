"""Settings of the tasks: everything about them that can be known without torch and without data."""

import math
from typing import ClassVar, Literal

from pydantic import Field, PositiveInt

from rmem_cli.data.prepared import open_prepared
from rmem_cli.recipe.settings import Component


class TaskSettings(Component):
    """What every task declares.

    Attributes:
        metrics: Names of the metrics it can be evaluated by.
        generated: Whether examples are made from the seed (any number of them) instead of read from data.
    """

    metrics: ClassVar[tuple[str, ...]]
    generated: ClassVar[bool]

    def chance(self) -> dict[str, float]:
        """Metric to the value that a model without memory reaches, where it is known exactly."""
        return {}

    def data_sets(self) -> list[tuple[str, str]]:
        """Prepared data sets that the task reads, as (name, form)."""
        return []

    def data_hash(self) -> str:
        """Identity of the data that the task reads; empty if it makes its own.

        Raises:
            DataError: A data set is missing or damaged.
        """
        return "-".join(open_prepared(name, form).data_hash for name, form in self.data_sets())


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

    def chance(self) -> dict[str, float]:
        """Blanks where blanks are due, and a uniform guess for each symbol."""
        loss = self.symbols * math.log(self.alphabet) / (self.length + 2 * self.symbols)
        return {"loss": loss, "accuracy": 1 / self.alphabet}


class AssociativeRecallSettings(TaskSettings):
    """Associative recall in the form of the RUM papers; `rmem_cli.tasks.associative_recall` has an example.

    Attributes:
        length: T, twice the number of key-digit pairs; even.
    """

    implementation: ClassVar[str] = "rmem_cli.tasks.associative_recall:AssociativeRecall"
    metrics: ClassVar[tuple[str, ...]] = ("accuracy", "loss")
    generated: ClassVar[bool] = True
    common: ClassVar[frozenset[str]] = frozenset({"length"})

    kind: Literal["associative_recall"] = "associative_recall"
    length: PositiveInt = Field(multiple_of=2)

    def chance(self) -> dict[str, float]:
        """One of ten digits, each as likely as the other."""
        return {"accuracy": 0.1, "loss": math.log(10)}


class LanguageModelSettings(TaskSettings):
    """Next-symbol prediction over a whole text, the state carried from batch to batch.

    Attributes:
        dataset: Name of a prepared data set, as `rmem fetch` knows it.
        form: Which of its prepared forms: `char`, `word`, `bytes`, ...
        segment_length: Symbols of each text column in one training batch; the state's gradient stops there.
    """

    implementation: ClassVar[str] = "rmem_cli.tasks.language_model:LanguageModel"
    metrics: ClassVar[tuple[str, ...]] = ("bpc", "perplexity", "loss", "accuracy")
    generated: ClassVar[bool] = False
    common: ClassVar[frozenset[str]] = frozenset({"segment_length"})

    kind: Literal["language_model"] = "language_model"
    dataset: str
    form: str
    segment_length: PositiveInt

    def data_sets(self) -> list[tuple[str, str]]:
        """The text."""
        return [(self.dataset, self.form)]
