"""What the seeds of one row say together, and how that compares with a published number."""

import math
from collections import Counter
from collections.abc import Sequence
from statistics import median

from rmem_cli.report.footnotes import Footnotes
from rmem_cli.report.statistics import (
    Interval,
    mean,
    one_sample_interval,
    sample_sd,
    welch_interval,
    wilson_interval,
)
from rmem_cli.report.table import Bounds, Comparison, Ours, Published, SolveRate
from rmem_cli.report.verdict import Evidence, judge
from rmem_cli.results.metrics import Metric
from rmem_cli.results.row import ResultRow

SOLVED = 0.99
PARTIAL = "-partial"  # how the hash of a data set ends that was prepared without some of its files

_EXACT = (
    "the published number has no standard deviation with a number of runs, so the interval takes it as exact"
)


def measure(
    results: Sequence[ResultRow], planned: int, *, has_solve_rate: bool = False, has_bounds: bool = False
) -> Ours:
    """Summarise the results of one metric.

    Args:
        results: One for each seed, at least one.
        planned: Seeds the recipe asks for.
        has_solve_rate: Whether the share of seeds at 0.99 or above is of interest.
        has_bounds: Whether the values are shares of right answers among all examples of a data set, so that
            these are the sample whose interval is of interest.
    """
    ends = [_end(row) for row in results]
    values = [end for end in ends if isinstance(end, float)]
    failed = Counter(end for end in ends if isinstance(end, str))
    seconds = [row.wall_seconds for row in results if row.wall_seconds is not None]
    return Ours(
        mean=mean(values) if values else None,
        sd=sample_sd(values),
        n=len(values),
        planned=planned,
        failed=dict(failed),
        solve_rate=_solve_rate(values, failed["diverged"]) if has_solve_rate else None,
        bounds=_bounds(values, results) if has_bounds else None,
        caveats=_caveats(results),
        parameters=next((row.parameters for row in results if row.parameters is not None), None),
        wall_seconds=median(seconds) if seconds else None,
        peak_memory_mb=max(
            (row.peak_memory_mb for row in results if row.peak_memory_mb is not None), default=None
        ),
    )


def compare(
    ours: Ours | None,
    published: Published | None,
    tolerance: float | None,
    metric: Metric,
    footnotes: Footnotes,
) -> Comparison:
    """Compare a full-scale result with a published number, where both are there."""
    ours = ours or Ours(mean=None)
    difference, interval = None, None
    notes: tuple[int, ...] = ()
    if ours.mean is not None and published is not None and published.value is not None:
        difference = ours.mean - published.value
        if ours.sd is not None:
            interval = _interval(difference, ours.sd, ours.n, published)
            notes = () if _has_spread(published) else (footnotes.add(_EXACT),)
    obstacles = ours.caveats
    if published is not None and published.verified and published.value is None:
        obstacles = (f"published as {'text' if published.curve is None else 'a curve'}", *obstacles)
    verdict = judge(
        Evidence(
            seeds=ours.n,
            failed=sum(ours.failed.values()),
            has_number=published is not None and published.verified,
            obstacles=obstacles,
            interval=interval,
            tolerance=tolerance,
            higher_is_better=metric.higher_is_better,
        )
    )
    low, high = (None, None) if interval is None else (interval.low, interval.high)
    return Comparison(difference, low, high, tolerance, verdict, notes)


def _end(row: ResultRow) -> float | str:
    """The value of a finished seed, or how it ended without one."""
    if row.status != "ok":
        return row.status
    return row.value if row.value is not None and math.isfinite(row.value) else "no value"


def _solve_rate(values: Sequence[float], diverged: int) -> SolveRate | None:
    seeds = len(values) + diverged
    if seeds == 0:
        return None
    solved = sum(value >= SOLVED for value in values)
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
    return Bounds(examples, interval.low, interval.high)


def _caveats(results: Sequence[ResultRow]) -> tuple[str, ...]:
    dirty = any(row.git_dirty == "true" for row in results)
    partial = any(row.data_hash.endswith(PARTIAL) for row in results)
    return ("dirty tree",) * dirty + ("partial data",) * partial


def _interval(difference: float, sd: float, n: int, published: Published) -> Interval:
    if published.sd is None or published.n is None or published.n < 2:
        return one_sample_interval(difference, sd, n)
    return welch_interval(difference, sd, n, published.sd, published.n)


def _has_spread(published: Published) -> bool:
    return published.sd is not None and published.n is not None and published.n >= 2
