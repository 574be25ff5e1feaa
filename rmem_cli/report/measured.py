"""What the seeds of one row say together."""

import math
from collections import Counter
from collections.abc import Sequence
from statistics import median

from rmem_cli.recipe.solved import SolvedRule
from rmem_cli.report.statistics import mean, sample_sd, wilson_interval
from rmem_cli.report.table import NO_VALUE, Bounds, Ours, SolveRate, StepsToSolve
from rmem_cli.results.row import ResultRow

PARTIAL = "-partial"  # how the hash of a data set ends that was prepared without some of its files


def measure(
    results: Sequence[ResultRow],
    planned: int,
    *,
    steps: int | None = None,
    rule: SolvedRule | None = None,
    steps_to_solve: StepsToSolve | None = None,
    has_bounds: bool = False,
) -> Ours:
    """Summarise the results of one metric.

    Args:
        results: One for each seed, at least one.
        planned: Seeds the recipe asks for.
        steps: How long they were trained, where that is known.
        rule: When a seed has solved the task; None where that is of no interest.
        steps_to_solve: When the seeds did, where that is known.
        has_bounds: Whether the values are shares of right answers among all examples of a data set, so that
            these are the sample whose interval is of interest.
    """
    ends = [_end(row) for row in results]
    values = [end for end in ends if isinstance(end, float)]
    failed = Counter(end for end in ends if isinstance(end, str))
    unsolved = failed["diverged"] + failed[NO_VALUE]
    seconds = [row.wall_seconds for row in results if row.wall_seconds is not None]
    return Ours(
        mean=mean(values) if values else None,
        sd=sample_sd(values),
        n=len(values),
        planned=planned,
        failed=dict(failed),
        solve_rate=None if rule is None else _solve_rate(rule, values, unsolved),
        bounds=_bounds(values, results) if has_bounds else _bootstrapped(results),
        steps=steps,
        steps_to_solve=steps_to_solve,
        caveats=_caveats(results),
        parameters=next((row.parameters for row in results if row.parameters is not None), None),
        wall_seconds=median(seconds) if seconds else None,
        peak_memory_mb=max(
            (row.peak_memory_mb for row in results if row.peak_memory_mb is not None), default=None
        ),
    )


def _end(row: ResultRow) -> float | str:
    """The value of a finished seed, or how it ended without one."""
    if row.status != "ok":
        return row.status
    return row.value if row.value is not None and math.isfinite(row.value) else NO_VALUE


def _solve_rate(rule: SolvedRule, values: Sequence[float], unsolved: int) -> SolveRate | None:
    seeds = len(values) + unsolved
    if seeds == 0:
        return None
    solved = sum(rule.holds(value) for value in values)
    interval = wilson_interval(solved, seeds)
    return SolveRate(solved, seeds, interval.low, interval.high)


def _bounds(values: Sequence[float], results: Sequence[ResultRow]) -> Bounds | None:
    """Wilson's interval of the mean, as if it were the right answers of one seed.

    The examples are the sample: all seeds answer the same ones, so that three seeds are not three times as
    many answers. The mean of the seeds varies with the examples at most as much as one seed does.
    """
    examples = min((row.examples for row in results if row.examples), default=0)
    if not values or not examples:
        return None
    interval = wilson_interval(mean(values) * examples, examples)
    return Bounds(examples, interval.low, interval.high, "wilson")


def _bootstrapped(results: Sequence[ResultRow]) -> Bounds | None:
    """The mean of the ends of the seeds' intervals, where they have some: all score the same examples."""
    ended = [row for row in results if isinstance(_end(row), float)]
    ends = [(row.low, row.high) for row in ended if row.low is not None and row.high is not None]
    if not ends or len(ends) < len(ended):
        return None
    low, high = map(mean, zip(*ends, strict=True))
    return Bounds(min(row.examples or 0 for row in ended), low, high, "bootstrap")


def _caveats(results: Sequence[ResultRow]) -> tuple[str, ...]:
    caveats = {
        "dirty tree": any(row.git_dirty == "true" for row in results),
        "no commit": any(row.git_commit == "" for row in results),
        "partial data": any(row.data_hash.endswith(PARTIAL) for row in results),
    }
    return tuple(caveat for caveat, found in caveats.items() if found)
