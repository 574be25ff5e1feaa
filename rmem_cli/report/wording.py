"""Values as people read them: the same words in every format for people."""

import math
from collections.abc import Sequence

from rmem_cli.report.page import Cell
from rmem_cli.report.table import APART, Comparison, Ours, Published, Section, StepsToSolve

NOTHING = "-"
_CURVE_POINTS = 4
_LONG = 1e9  # beyond it a number is told by its power of ten


def measured(section: Section) -> str:
    """A section's metric, its unit and its direction."""
    words = [quantity(section.metric, section.unit)]
    if section.higher_is_better is not None:
        words.append("higher is better" if section.higher_is_better else "lower is better")
    return ", ".join(words)


def quantity(metric: str, unit: str) -> str:
    """A metric with its unit, as at an axis."""
    return metric if metric == unit else f"{metric} ({unit})"


def number(value: float, digits: int | None) -> str:
    """A value with a metric's digits, or with as many as it needs, or can have."""
    return f"{value:g}" if digits is None or abs(value) >= _LONG else f"{value:.{digits}f}"


def published(cell: Published | None, digits: int | None, *, whole: bool = False) -> Cell:
    """A published value: number ± sd (n), text, curve, or why there is none.

    Args:
        cell: The value.
        digits: Of the metric; a value that was published with more has all of them.
        whole: Whether a curve is told with all of its points.
    """
    if cell is None:
        return Cell(NOTHING)
    if not cell.verified:
        return Cell("unverified")
    if cell.curve is not None and cell.x is not None:
        text = _curve(cell.x, cell.curve, digits, whole=whole)
    elif cell.text or cell.value is None:
        text = cell.text or NOTHING
    else:
        spread = "" if cell.sd is None else f" ± {as_published(cell.sd, digits)}"
        text = as_published(cell.value, digits) + spread + (f" ({cell.n})" if cell.n else "")
    return Cell(text, cell.notes, (cell.basis,) if cell.basis in APART else ())


def as_published(value: float, digits: int | None) -> str:
    """A number with a metric's digits, or with more where it was published with more."""
    text = number(value, digits)
    return text if float(text) == value else f"{value:.12f}".rstrip("0").rstrip(".")


def ours(cell: Ours | None, digits: int | None) -> Cell:
    """Our value: mean ± sd (seeds), or what became of the seeds."""
    if cell is None:
        return Cell(NOTHING)
    if cell.mean is not None and cell.n == 0:
        return Cell(number(cell.mean, digits))
    return Cell(
        f"{mean_and_spread(cell.mean, cell.sd, digits)} ({seeds(cell)})", more=_qualified(cell, digits)
    )


def spread(cell: Ours | None, digits: int | None) -> Cell:
    """Our value, mean ± sd, with its seeds only where some ended without a value."""
    if cell is None:
        return Cell(NOTHING)
    counts = f" ({seeds(cell)})" if cell.failed else ""
    return Cell(mean_and_spread(cell.mean, cell.sd, digits) + counts, more=_qualified(cell, digits))


def _qualified(cell: Ours, digits: int | None) -> tuple[str, ...]:
    """What stands beneath a value: its interval, and why it counts for no verdict."""
    return _bounds(cell, digits) + ((", ".join(cell.caveats),) if cell.caveats else ())


def _bounds(cell: Ours, digits: int | None) -> tuple[str, ...]:
    """The interval of a mean over examples, where there is one."""
    if cell.bounds is None:
        return ()
    return (f"[{number(cell.bounds.low, digits)}, {number(cell.bounds.high, digits)}]",)


def steps(count: int) -> str:
    """Training steps."""
    return f"{count:,} steps"


def seeds(cell: Ours) -> str:
    """How many seeds have a value, and what became of the others."""
    counts = [f"{cell.n} of {cell.planned}" if cell.n < cell.planned else f"{cell.n}"]
    counts += [f"{count} {status.replace('_', ' ')}" for status, count in sorted(cell.failed.items())]
    return "; ".join(counts)


def solved(cell: Ours | None) -> Cell:
    """Seeds that solved the task, the interval of their share, and when the first and the last did."""
    if cell is None or cell.solve_rate is None:
        return Cell()
    rate, found = cell.solve_rate, cell.steps_to_solve
    when = () if found is None else (f"at {_when(found)}",)
    return Cell(f"{rate.solved}/{rate.seeds}", more=(f"[{rate.low:.2f}, {rate.high:.2f}]", *when))


def _when(found: StepsToSolve) -> str:
    solved = [step for step in found.steps if step is not None]
    ends = [f"{step:,}" for step in dict.fromkeys(solved[:1] + solved[-1:])]
    return " to ".join(ends if len(solved) == len(found.steps) else [*ends[:1], f"> {found.budget:,}"])


def difference(comparison: Comparison | None, digits: int | None) -> Cell:
    """Ours minus published, with its interval."""
    if comparison is None or comparison.difference is None:
        return Cell()
    low, high = comparison.low, comparison.high
    digits = _enough(digits, comparison.tolerance)
    ends = None if low is None or high is None else (low, high)
    return signed(comparison.difference, ends, digits)


def _enough(digits: int | None, tolerance: float | None) -> int | None:
    """Digits by which a difference is told from a tolerance: at least those of a tenth of it."""
    if digits is None or not tolerance:
        return digits
    return max(digits, 1 - math.floor(math.log10(tolerance)))


def signed(difference: float, ends: tuple[float, float] | None, digits: int | None) -> Cell:
    """A difference, with the ends of its interval."""
    more = () if ends is None else (f"[{_signed(ends[0], digits)}, {_signed(ends[1], digits)}]",)
    return Cell(_signed(difference, digits), more=more)


def verdict(comparison: Comparison | None) -> Cell:
    """The verdict, with what stood in its way, and how it was found."""
    if comparison is None:
        return Cell()
    found = comparison.verdict
    text = f"{found.outcome}: {found.reason}" if found.reason else str(found.outcome)
    return Cell(text, comparison.notes, outcome=found.outcome)


def parameters(count: int | None) -> str:
    """A number of parameters: 950, 17.9k, 2.45M."""
    if count is None:
        return ""
    if count < 1000:
        return str(count)
    return f"{count / 1000:.1f}k" if count < 999_950 else f"{count / 1_000_000:.2f}M"


def duration(seconds: float | None) -> str:
    """A time: 4.2 s, 12 min, 3.4 h, 12 days."""
    if seconds is None:
        return ""
    if seconds < 100:
        return f"{seconds:.1f} s"
    if seconds < 6000:
        return f"{seconds / 60:.0f} min"
    days = seconds / 86400
    return f"{seconds / 3600:.1f} h" if days < 7 else f"{days:,.0f} days"


def memory(megabytes: float | None) -> str:
    """An amount of memory: 480 MB, 1.2 GB."""
    if megabytes is None:
        return ""
    return f"{megabytes:.0f} MB" if megabytes < 1000 else f"{megabytes / 1000:.1f} GB"


def mean_and_spread(value: float | None, sd: float | None, digits: int | None) -> str:
    """A mean ± its standard deviation, where that is known."""
    if value is None:
        return NOTHING
    return number(value, digits) + (f" ± {number(sd, digits)}" if sd is not None else "")


def _signed(value: float, digits: int | None) -> str:
    return ("-" if value < 0 else "+") + number(abs(value), digits)


def _curve(x: Sequence[float], values: Sequence[float], digits: int | None, *, whole: bool) -> str:
    points = [f"{at:g}→{as_published(value, digits)}" for at, value in zip(x, values, strict=True)]
    if len(points) > _CURVE_POINTS and not whole:
        points = [*points[: _CURVE_POINTS - 1], "…", points[-1]]
    return ", ".join(points)
