"""When a seed counts as having solved its task, and runs that end there."""

from typing import Annotated, Literal, Self

from pydantic import Field, PositiveInt, model_validator

from rmem_cli.recipe.settings import Settings
from rmem_cli.results.metrics import METRICS, metric


class SolvedAt(Settings):
    """A value of a metric from which on a task is solved.

    Attributes:
        metric: What is measured.
        at: At least or at most this, whichever is better.
    """

    metric: str
    at: Annotated[float, Field(allow_inf_nan=False)]

    @model_validator(mode="after")
    def _a_fraction_is_none_of_a_hundred(self) -> Self:
        known = METRICS.get(self.metric)
        if known is not None and known.is_share and not 0 <= self.at <= 1:
            raise ValueError(
                f"{self.metric} is a fraction, and at is {self.at}; give one from 0 to 1, as 0.99"
            )
        return self

    @property
    def bound(self) -> str:
        """On which side of `at` a solved task is, in words."""
        return "at least" if metric(self.metric).higher_is_better else "at most"

    def holds(self, value: float) -> bool:
        """Whether a value of the metric is that of a solved task."""
        return value >= self.at if metric(self.metric).higher_is_better else value <= self.at


class SolvedRule(SolvedAt):
    """The rule by which solve rates, steps to solve and claims are judged; no hash covers it.

    It is of the test, and of the validations of the learning curve.

    Attributes:
        budget: Whether the steps of the runs are those of the paper, or assumed. In an assumed budget, a task
            that no seed has solved is censored, not failed.
    """

    budget: Literal["published", "assumed"] = "published"


class StopWhenSolvedSettings(SolvedAt):
    """End the training as soon as so many validations in a row are those of a solved task.

    Meant for a best possible value, such as an accuracy of 1, which more steps could not raise. The published
    code knows no such end: tables show the steps that were trained, and say why they are fewer.

    Attributes:
        evaluations: How many in a row.
    """

    evaluations: PositiveInt = 1

    def implies(self, rule: SolvedAt) -> bool:
        """Whether training that ended so has solved the task by a rule as well."""
        return self.metric == rule.metric and rule.holds(self.at)
