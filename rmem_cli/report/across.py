"""Many tasks in one grid: the matrix cells, or the parts, of an evaluation, by models, with their means."""

import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean

from rmem_cli.recipe.resolve import PAPER
from rmem_cli.recipe.solved import SolvedRule
from rmem_cli.report.page import Cell, Column, Grid, text_column
from rmem_cli.report.parts import MEAN
from rmem_cli.report.statistics import CONFIDENCE, Interval, mean
from rmem_cli.report.table import Line, Ours, Section, Table
from rmem_cli.report.wording import NOTHING

_FEWEST = 5  # tasks that are worth a grid
_FEWEST_DRAWN = 10  # tasks of which the bootstrap means are not far too narrow
_RESAMPLES = 10_000


@dataclass(frozen=True)
class Tasks:
    """What is measured alike on many tasks.

    Attributes:
        name: What tells the tasks apart, such as "number", or "part".
        sections: One for each task.
        scale: Of our values.
    """

    name: str
    sections: list[Section]
    scale: str

    @property
    def labels(self) -> list[str]:
        """What each task is called."""
        return [section.part or section.cell.partition("=")[2] for section in self.sections]


@dataclass(frozen=True)
class Values:
    """One line of the grid: a model on all tasks.

    Attributes:
        title: Of the model, and whose values they are.
        values: One for each task, as a share; None where there is none.
        caveats: Why each value counts in no difference, such as "partial data"; usually nothing.
        published: What a paper says of it; None where that is no question.
        row: Id of the row of the recipe whose values we measured; "" of published values.
    """

    title: str
    values: list[float | None]
    caveats: list[str]
    published: "Values | None" = None
    row: str = ""

    @property
    def known(self) -> list[float]:
        """The values that there are."""
        return [value for value in self.values if value is not None]

    @property
    def differences(self) -> list[float]:
        """Ours minus the published value, of each task that has both on whole data."""
        if self.published is None:
            return []
        pairs = zip(self.values, self.published.values, self.caveats, strict=True)
        return [
            ours - theirs
            for ours, theirs, cut in pairs
            if ours is not None and theirs is not None and not cut
        ]


def across_grids(table: Table) -> Iterator[Grid]:
    """For each scale with results, a grid of all tasks, where a recipe says when one of many is solved."""
    for tasks, rule in many_tasks(table):
        yield _grid(tasks, list(lines_across(tasks)), rule)


def many_tasks(table: Table) -> Iterator[tuple[Tasks, SolvedRule]]:
    """Many tasks with results, at each scale, and when one is solved, where a recipe says that."""
    if table.solved is None:
        return
    name, at = table.solved
    rule = SolvedRule(metric=name, at=at)
    for scale in table.scales:
        for tasks in _many(table.sections, rule, scale):
            rows = (line for section in tasks.sections for line in section.lines if line.kind == "row")
            if any(line.ours.get(scale) is not None for line in rows):
                yield tasks, rule


def paired_bootstrap(differences: Sequence[float]) -> Interval:
    """95 % interval of the mean of differences, by drawing as many of them again and again (percentiles).

    Args:
        differences: At least one number, such as that of two models on each of some tasks.
    """
    source = random.Random(0)  # noqa: S311 - no secret, but a table that is the same wherever it is made
    means = sorted(fmean(source.choices(differences, k=len(differences))) for _ in range(_RESAMPLES))
    cut = round((1 - CONFIDENCE) / 2 * _RESAMPLES)
    return Interval(means[cut], means[-1 - cut])


def _many(sections: Sequence[Section], rule: SolvedRule, scale: str) -> Iterator[Tasks]:
    """The tasks that are the cells of a matrix of one field, and those that are parts of one evaluation.

    What has a number, such as a length or training steps, is a point of a curve, and no task of many.
    """
    cells: dict[tuple[str, ...], list[Section]] = defaultdict(list)
    parts: dict[tuple[str, ...], list[Section]] = defaultdict(list)
    for section in sections:
        here = section.protocol, section.split, section.metric
        is_asked = section.protocol and section.x is None
        if not is_asked or section.metric != rule.metric or section.unit != "fraction":
            continue
        if section.part and section.part != MEAN:
            parts[(section.cell, *here)].append(section)
        elif not section.part and "," not in section.cell:
            cells[(section.cell.partition("=")[0], *here)].append(section)
    for (name, *_), found in cells.items():
        if name and len(found) >= _FEWEST:
            yield Tasks(name, found, scale)
    for found in parts.values():
        if len(found) >= _FEWEST:
            yield Tasks("part", found, scale)


def lines_across(tasks: Tasks) -> Iterator[Values]:
    """Every model with a value, ours before what was published of it."""
    titles = {(line.kind, line.id): line.title for section in tasks.sections for line in section.lines}
    for key, title in titles.items():
        found = [_line(section, key) for section in tasks.sections]
        ours = [None if line is None else line.ours.get(tasks.scale) for line in found]
        caveats = ["" if one is None else _caveats(one) for one in ours]
        said = [None if line is None else line.published for line in found]
        theirs = [one.value if one is not None and one.verified else None for one in said]
        is_row = key[0] == "row"
        quoted = Values(f"{title}, published" if is_row else title, theirs, [""] * len(theirs))
        published = quoted if quoted.known else None
        own = Values(
            title,
            [None if one is None else one.mean for one in ours],
            caveats,
            published,
            key[1] if is_row else "",
        )
        yield from [own] if own.known else []
        yield from [] if published is None else [published]


def _line(section: Section, key: tuple[str, str]) -> Line | None:
    return next((line for line in section.lines if (line.kind, line.id) == key), None)


def _grid(tasks: Tasks, lines: Sequence[Values], rule: SolvedRule) -> Grid:
    whole = tasks.sections[0]
    columns = [text_column("Model", [line.title for line in lines])]
    for place, label in enumerate(tasks.labels):
        texts = [_percent(line.values[place], line.caveats[place]) for line in lines]
        columns.append(text_column(label, texts, is_number=True))
    failed = [str(sum(not rule.holds(value) for value in line.known)) for line in lines]
    columns.append(text_column("mean", [_mean(line) for line in lines], is_number=True))
    columns.append(text_column("failed", failed, is_number=True))
    words = [f"{whole.metric} (%) by {tasks.name}, {tasks.scale}", "mean: of the values in its line"]
    words.append(f"failed: tasks under {100 * rule.at:g}")
    caveats = dict.fromkeys(each for line in lines for each in line.caveats if each)
    if caveats:
        words.append(f"*: {' or '.join(caveats)}, in no difference")
    differences = [_difference(line) for line in lines] if tasks.scale == PAPER else []
    if any(not cell.is_empty for cell in differences):
        columns.append(Column(Cell("ours - published"), differences))
        if any(cell.more for cell in differences):
            words.append("[a, b]: 95 % of paired bootstrap means over the tasks")
    where = whole.protocol if whole.part == "" else ", ".join(filter(None, (whole.cell, whole.protocol)))
    return Grid(f"{where}: {'; '.join(words)}", columns)


def _percent(value: float | None, caveat: str) -> str:
    return NOTHING if value is None else f"{100 * value:.1f}" + "*" * bool(caveat)


def _caveats(ours: Ours) -> str:
    """Why there would be no verdict on a value."""
    lost = ["seeds without a number"] if ours.without_number else []
    return ", ".join([*ours.caveats, *lost])


def _mean(line: Values) -> str:
    """The mean of the values that there are, and of how many it is, if not of all."""
    count = "" if len(line.known) == len(line.values) else f" ({len(line.known)})"
    return f"{100 * mean(line.known):.1f}{count}"


def _difference(line: Values) -> Cell:
    """The mean difference, of how many tasks, if not of all, and its interval beneath, where they suffice."""
    if len(line.differences) < 2:
        return Cell()
    of = f" ({len(line.differences)})" if len(line.differences) < len(line.values) else ""
    bounds = []
    if len(line.differences) >= _FEWEST_DRAWN:
        interval = paired_bootstrap(line.differences)
        bounds = [f"[{100 * interval.low:+.1f}, {100 * interval.high:+.1f}]"]
    return Cell(f"{100 * mean(line.differences):+.1f}{of}", more=tuple(bounds))
