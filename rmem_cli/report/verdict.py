"""Whether a result reproduces a published number."""

from dataclasses import dataclass
from enum import StrEnum

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
    """An outcome, and what stood in the way where it is `NO_VERDICT`."""

    outcome: Outcome
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """All that a verdict depends on.

    Attributes:
        seeds: Seeds with a value.
        failed: Seeds that were run and have none.
        has_number: Whether there is a verified published value.
        obstacles: Why the two values may not be compared, such as "dirty tree"; usually none.
        interval: 95 % interval of ours minus the published number; None for fewer than two seeds.
        tolerance: Largest difference that counts as reproduced, in the unit of the interval.
        higher_is_better: Direction of the metric.
    """

    seeds: int
    failed: int
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
