"""When a seed counts as having solved its task."""

from typing import Literal

from rmem_cli.recipe.settings import Settings
from rmem_cli.results.metrics import metric


class SolvedRule(Settings):
    """The rule by which solve rates, steps to solve and claims are judged; no hash covers it.

    Attributes:
        metric: What is measured, in the test and in the validations of the learning curve.
        at: From where on it is solved: at least or at most this, whichever is better.
        budget: Whether the steps of the runs are those of the paper, or assumed. In an assumed budget, a task
            that no seed has solved is censored, not failed.
    """

    metric: str
    at: float
    budget: Literal["published", "assumed"] = "published"

    def holds(self, value: float) -> bool:
        """Whether a value of the metric is that of a solved task."""
        return value >= self.at if metric(self.metric).higher_is_better else value <= self.at
