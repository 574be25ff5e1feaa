"""From contrasts to a grid of cells."""

from collections.abc import Sequence

from rmem_cli.report import wording
from rmem_cli.report.contrast import Contrast
from rmem_cli.report.page import Cell, Column, Grid, Page, text_column
from rmem_cli.report.verdict import Outcome
from rmem_cli.results.metrics import metric

_LEGEND = [
    "a ± b (n): mean, standard deviation, seeds; [a, b]: 95 % interval of the difference (Welch)",
    "measured alike: at the same scale, by protocols and cells of the same names, on the same data; whether "
    "two recipes mean the same task by them, `rmem show` tells",
]
_OUTCOMES = {"better": Outcome.BETTER, "worse": Outcome.WORSE}


def page(first: str, second: str, found: Sequence[Contrast]) -> Page:
    """What is written about two sets of results.

    Args:
        first: Name of the first.
        second: Name of the other.
        found: What both measured alike.
    """
    columns = [
        text_column("Measured", [f"{one.where}: {one.metric}" for one in found]),
        Column(Cell(_broken(first)), [_value(one, 0) for one in found], is_number=True),
        Column(Cell(_broken(second)), [_value(one, 1) for one in found], is_number=True),
        Column(Cell("Difference"), [_difference(one) for one in found], is_number=True),
        Column(
            Cell(_broken(f"{second} is")),
            [Cell(one.verdict, outcome=_OUTCOMES.get(one.verdict)) for one in found],
        ),
    ]
    status = f"{len(found)} measured alike"
    grid = Grid("second minus first", columns)
    return Page("compare", f"{first} against {second}", status, [], [grid], [], _LEGEND)


def _broken(name: str) -> str:
    """A name that may be broken at its slash."""
    return name.replace("/", "/\n")


def _value(one: Contrast, which: int) -> Cell:
    digits = metric(one.metric).digits
    seeds, lost = one.seeds[which], one.without_number[which]
    counts = f"{seeds} of {seeds + lost}; {lost} without a number" if lost else f"{seeds}"
    return Cell(f"{wording.mean_and_spread(one.means[which], one.sds[which], digits)} ({counts})")


def _difference(one: Contrast) -> Cell:
    digits = metric(one.metric).digits
    ends = None if one.interval is None else (one.interval.low, one.interval.high)
    return wording.signed(one.difference, ends, digits)
