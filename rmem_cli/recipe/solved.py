"""When a seed counts as having solved its task, and runs that end there."""

from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from rmem_cli.recipe.settings import Settings
from rmem_cli.results.metrics import metric


class SolvedAt(Settings):
    """A value of a metric from which on a task is solved.

    Attributes:
        metric: What is measured.
        at: At least or at most this, whichever is better.
    """

    metric: str
    at: Annotated[float, Field(allow_inf_nan=False)]

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
