"""Settings of the tasks of the RMT paper: copy, reverse, retrieval, equations."""

import math
from abc import abstractmethod
from typing import ClassVar, Literal, Self

from pydantic import Field, PositiveInt, model_validator

from rmem_cli.errors import listed
from rmem_cli.recipe.kinds import TaskSettings
from rmem_cli.tasks.baselines import OCCURRED


class AlgorithmicSettings(TaskSettings):
    """What the generated tasks of the RMT paper share.

    Attributes:
        prepared: Whether the examples are those of the prepared set, as published (100,000 to train on,
            10,000 and 20,000 to evaluate), or drawn anew at every step. Those of a prepared set all differ.
            Drawn anew, an example that is evaluated may have been trained on, where there are few: of
            equations with whole roots, 400,000.
    """

    metrics: ClassVar[tuple[str, ...]] = ("accuracy", "exact_match", "loss")
    generated: ClassVar[bool] = True
    feeds_back: ClassVar[bool] = True
    predicts_future: ClassVar[bool] = True
    answers_in_symbols: ClassVar[bool] = True

    prepared: bool = False

    def data_sets(self) -> list[tuple[str, str]]:
        """The prepared set."""
        return [self._prepared_set()] if self.prepared else []

    @abstractmethod
    def _prepared_set(self) -> tuple[str, str]:
        """Name and form of the set that has such examples."""


class _RepeatingSettings(AlgorithmicSettings):
    """What copy and reverse share.

    Attributes:
        length: How many symbols are to be repeated. There are prepared sets of 24 and 120, and to copy also
            of 240 and 360.
        alphabet: How many different symbols there are; prepared sets longer than 24 have 8.
    """

    common: ClassVar[frozenset[str]] = frozenset({"length", "alphabet", "prepared"})
    prepared_lengths: ClassVar[tuple[int, ...]]

    length: PositiveInt
    alphabet: int = Field(default=10, gt=0, le=254)  # symbols are bytes, and two of them stand for others

    @model_validator(mode="after")
    def _there_is_such_a_prepared_set(self) -> Self:
        if self.prepared and self.length not in self.prepared_lengths:
            lengths = listed([str(length) for length in self.prepared_lengths])
            raise ValueError(
                f"there are prepared sets of the lengths {lengths}, not of {self.length}; take one of these, "
                "or set prepared to false"
            )
        return self

    def chance(self, split: str) -> dict[str, float]:
        """One of the symbols, each as likely as the other."""
        del split
        return {"loss": math.log(self.alphabet), "accuracy": 1 / self.alphabet}

    def _prepared_set(self) -> tuple[str, str]:
        return self.kind, str(self.length)


class CopySettings(_RepeatingSettings):
    """The copy task in the form of the RMT paper; `rmem_cli.tasks.copy_reverse` has an example."""

    implementation: ClassVar[str] = "rmem_cli.tasks.copy_reverse:Copy"
    prepared_lengths: ClassVar[tuple[int, ...]] = (24, 120, 240, 360)

    kind: Literal["copy"] = "copy"


class ReverseSettings(_RepeatingSettings):
    """The reverse task in the form of the RMT paper; `rmem_cli.tasks.copy_reverse` has an example."""

    implementation: ClassVar[str] = "rmem_cli.tasks.copy_reverse:Reverse"
    prepared_lengths: ClassVar[tuple[int, ...]] = (24, 120)

    kind: Literal["reverse"] = "reverse"


class AssociativeRetrievalSettings(AlgorithmicSettings):
    """Associative retrieval in the form of the RMT paper; `rmem_cli.tasks.associative_retrieval` has an
    example.

    Attributes:
        pairs: How many keys with values there are; the prepared set has four.
    """

    implementation: ClassVar[str] = "rmem_cli.tasks.associative_retrieval:AssociativeRetrieval"

    kind: Literal["associative_retrieval"] = "associative_retrieval"
    pairs: int = Field(default=4, ge=1, le=10)

    @model_validator(mode="after")
    def _the_prepared_set_has_four(self) -> Self:
        if self.prepared and self.pairs != 4:
            raise ValueError("the prepared set has 4 pairs; set pairs to 4, or prepared to false")
        return self

    def chance(self, split: str) -> dict[str, float]:
        """One of ten digits, each as likely as the other."""
        del split
        return {"accuracy": 0.1, "exact_match": 0.1, "loss": math.log(10)}

    def baselines(self, split: str) -> dict[str, dict[str, float]]:
        """Beside chance: to know the values that occurred, which all differ, but of none its key."""
        occurred = 1 / self.pairs
        known = {"accuracy": occurred, "exact_match": occurred, "loss": math.log(self.pairs)}
        return {**super().baselines(split), OCCURRED: known}

    def _prepared_set(self) -> tuple[str, str]:
        return "associative_retrieval", "pairs4"


class QuadraticEquationsSettings(AlgorithmicSettings):
    """Quadratic equations in the form of the RMT paper; `rmem_cli.tasks.quadratic_equations` has an
    example.
    """

    implementation: ClassVar[str] = "rmem_cli.tasks.quadratic_equations:QuadraticEquations"

    kind: Literal["quadratic_equations"] = "quadratic_equations"

    def _prepared_set(self) -> tuple[str, str]:
        return "quadratic", "steps"
