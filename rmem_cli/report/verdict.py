"""Whether a result reproduces a published number."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from rmem_cli.report.statistics import Interval

MIN_SEEDS = 3
_ROUNDING = 1e-9  # a difference of exactly the tolerance is inside it, however its digits were rounded


class Outcome(StrEnum):
    """What can be said about a result beside a published number."""

    REPRODUCED = "reproduced"
    BETTER = "better"
    WORSE = "worse"
    INCONCLUSIVE = "inconclusive"
    TOO_FEW_SEEDS = "too few seeds"
    NO_VERDICT = "no verdict"
    NO_PUBLISHED_NUMBER = "no published number"
    NOT_RUN = "not run"

    @property
    def out_of_tolerance(self) -> bool:
        """Whether the result surely differs from the published number by more than the tolerance."""
        return self in (Outcome.BETTER, Outcome.WORSE)


@dataclass(frozen=True)
class Verdict:
    """An outcome, and what stood in the way of another, where that is known."""

    outcome: Outcome
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class ClaimEvidence:
    """All that a verdict on a claim depends on.

    Attributes:
        claim: What was published: the task is solved, or it is not.
        solved: Seeds that solved it.
        seeds: Seeds that were trained, diverged ones included.
        failed: Seeds that were begun, and failed otherwise.
        obstacles: Why result and claim may not be compared; usually none.
        assumed_budget: Whether the steps of training are assumed, so that what no seed solved is censored.
    """

    claim: Literal["solved", "not solved"]
    solved: int
    seeds: int
    failed: int
    obstacles: tuple[str, ...]
    assumed_budget: bool


def judge_claim(evidence: ClaimEvidence) -> Verdict:
    """The verdict on a claim: reproduced if every seed bears it out, and the contrary only if none does."""
    if evidence.seeds + evidence.failed == 0:
        return Verdict(Outcome.NOT_RUN)
    obstacles = [*evidence.obstacles, *(["no seed finished"] if evidence.seeds == 0 else [])]
    if obstacles:
        return Verdict(Outcome.NO_VERDICT, ", ".join(obstacles))
    if evidence.seeds < MIN_SEEDS:
        return Verdict(Outcome.TOO_FEW_SEEDS)
    if 0 < evidence.solved < evidence.seeds:
        return Verdict(Outcome.INCONCLUSIVE, f"solved by {evidence.solved} of {evidence.seeds} seeds")
    if (evidence.solved > 0) == (evidence.claim == "solved"):
        return Verdict(Outcome.REPRODUCED)
    if evidence.solved > 0:
        return Verdict(Outcome.BETTER)
    if evidence.assumed_budget:
        return Verdict(Outcome.INCONCLUSIVE, "not solved within an assumed budget")
    return Verdict(Outcome.WORSE)


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """All that a verdict depends on.

    Attributes:
        seeds: Seeds with a value.
        failed: Seeds that were run and have none.
        without_number: How many of those were trained as the others, and diverged or measured no number.
        has_number: Whether there is a verified published value.
        obstacles: Why the two values may not be compared, such as "dirty tree"; usually none.
        interval: 95 % interval of ours minus the published number; None for fewer than two seeds.
        tolerance: Largest difference that counts as reproduced, in the unit of the interval.
        higher_is_better: Direction of the metric.
    """

    seeds: int
    failed: int
    without_number: int
    has_number: bool
    obstacles: tuple[str, ...]
    interval: Interval | None
    tolerance: float | None
    higher_is_better: bool


def judge(evidence: Evidence) -> Verdict:
    """The verdict on one full-scale result."""
    if evidence.seeds + evidence.failed == 0:
        return Verdict(Outcome.NOT_RUN)
    if not evidence.has_number:
        return Verdict(Outcome.NO_PUBLISHED_NUMBER)
    obstacles = list(evidence.obstacles)
    if evidence.tolerance is None and not obstacles:
        obstacles.append("no tolerance stated")
    if evidence.seeds == 0:
        obstacles.append("no seed finished")
    if obstacles:
        return Verdict(Outcome.NO_VERDICT, ", ".join(obstacles))
    if evidence.seeds < MIN_SEEDS or evidence.interval is None or evidence.tolerance is None:
        return Verdict(Outcome.TOO_FEW_SEEDS)
    if evidence.without_number:
        trained = evidence.seeds + evidence.without_number
        return Verdict(Outcome.INCONCLUSIVE, f"{evidence.without_number} of {trained} seeds without a number")
    return Verdict(_place(evidence.interval, evidence.tolerance, evidence.higher_is_better))


def _place(interval: Interval, tolerance: float, higher_is_better: bool) -> Outcome:
    """Where the interval lies: inside the tolerance, wholly on one side of it, or across its edge."""
    edge = tolerance * (1 + _ROUNDING)
    if -edge <= interval.low and interval.high <= edge:
        return Outcome.REPRODUCED
    if interval.low > edge:
        return Outcome.BETTER if higher_is_better else Outcome.WORSE
    if interval.high < -edge:
        return Outcome.WORSE if higher_is_better else Outcome.BETTER
    return Outcome.INCONCLUSIVE
