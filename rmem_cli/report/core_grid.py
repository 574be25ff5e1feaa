"""Every core on every task: the best result of each core in each experiment.

A line is an experiment at one scale, not a kind of task: what stands in one line is one task of one size, as
the recipe trains it at that scale, measured in one way, so that its cells can be compared with each other.
Two experiments, or two scales of one, differ in at least one of these. The experiments of a task follow each
other.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rmem_cli.recipe import Recipe
from rmem_cli.recipe.kinds import TaskSettings
from rmem_cli.recipe.registry import CORES, TASKS
from rmem_cli.report.joined import Joined, join
from rmem_cli.report.measured import measure
from rmem_cli.report.places import entries_at, main_place, place_x
from rmem_cli.report.selection import Entry
from rmem_cli.report.table import Ours
from rmem_cli.results.metrics import Metric, metric
from rmem_cli.results.row import ResultRow


@dataclass(frozen=True)
class Best:
    """The best row of a core.

    Attributes:
        row: Id of the row.
        title: Its name for readers.
        rows: How many rows of the core have a result.
        ours: What its seeds gave.
    """

    row: str
    title: str
    rows: int
    ours: Ours


@dataclass(frozen=True)
class GridLine:
    """An experiment at one scale, or a matrix cell of it.

    Attributes:
        experiment: Name of the recipe.
        title: Its title.
        task: Kind of its task.
        data: The data sets it reads, such as "ptb char" ("" if it makes its own).
        scale: The scale.
        cell: Matrix cell ("" if the recipe has no matrix).
        protocol: Name of the evaluation protocol.
        split: Its split.
        part: Part of the split ("" for the whole).
        x_name: The one field of the task that the protocol sets, if it is a number ("" if it is not so).
        x: Its value.
        metric: Name of the metric.
        unit: Unit of all values.
        higher_is_better: Direction.
        digits: Digits after the decimal point when printed.
        best: Core to its best row; no core without results is in it.
        rows: Core to the rows of the recipe that are of it, whether they have results or not.
    """

    experiment: str
    title: str
    task: str
    data: str
    scale: str
    cell: str
    protocol: str
    split: str
    part: str
    x_name: str
    x: float | None
    metric: str
    unit: str
    higher_is_better: bool
    digits: int
    best: dict[str, Best]
    rows: dict[str, list[str]]


@dataclass(frozen=True)
class CoreGrid:
    """All cores and all experiments.

    Attributes:
        cores: Every kind of core there is, with results or without.
        lines: The experiments, those of one task together; one without results has a line without values.
    """

    cores: list[str]
    lines: list[GridLine]


def build_core_grid(
    experiments: Sequence[tuple[Recipe, Sequence[ResultRow]]], scale: str | None = None
) -> CoreGrid:
    """The grid of some experiments.

    Args:
        experiments: Each recipe with the results of its name; those that it would not give now are left out.
        scale: Show this scale only; None for all with results, or `paper` if there are none.

    Raises:
        UsageError: A recipe has no such scale.
    """
    lines = [line for recipe, rows in experiments for line in _lines(recipe, join(recipe, rows, scale))]
    kinds = TASKS.kinds()
    lines.sort(key=lambda line: (kinds.index(line.task), line.data, line.experiment))
    return CoreGrid(CORES.kinds(), lines)


def _lines(recipe: Recipe, joined: Joined) -> list[GridLine]:
    measured = {key.scale for key in joined.results}
    scales = [scale for scale in joined.plan if scale in measured] or list(joined.plan)
    return [
        _line(recipe, scale, [entry for entry in planned if entry.spec.cell == cell], joined)
        for scale in scales
        for planned in [_whole(joined.plan[scale])]
        for cell in dict.fromkeys(entry.spec.cell for entry in planned)
    ]


def _whole(planned: Sequence[Entry]) -> Sequence[Entry]:
    """Of each row all folds together, or what a search chose, in place of each cell, where there is one.

    Tasks are lines of their own, and what they are on average is none.
    """
    rows = {entry.spec.row for entry in planned if entry.stands_for_cells}
    measured = [entry for entry in planned if not entry.tasks]
    return [entry for entry in measured if entry.stands_for_cells or entry.spec.row not in rows]


def _line(recipe: Recipe, scale: str, planned: list[Entry], joined: Joined) -> GridLine:
    place = main_place(scale, planned, joined.results)
    at_place = entries_at(place, {scale: planned})
    x_name, x = place_x(place, at_place) or ("", None)
    kind = metric(place.metric)
    task = planned[0].spec.settings.task
    found: dict[str, list[Best]] = {}
    rows: dict[str, list[str]] = {}
    for at_scale in at_place.values():
        spec, seeds = at_scale[scale].spec, at_scale[scale].seeds
        model = spec.settings.model
        if model.architecture != "sequence" or model.core is None:
            continue
        core = model.core.equal_kind
        rows.setdefault(core, []).append(spec.row)
        if results := joined.results.get(place.key(scale, spec.row)):
            best = Best(spec.row, spec.title, 0, measure(results, len(seeds)))
            found.setdefault(core, []).append(best)
    return GridLine(
        experiment=recipe.name,
        title=recipe.title,
        task=task.kind,
        data=", ".join(_data(task)),
        scale=scale,
        cell=place.cell,
        protocol=place.protocol,
        split=place.split,
        part=place.part,
        x_name=x_name,
        x=x,
        metric=kind.name,
        unit=kind.unit,
        higher_is_better=kind.higher_is_better,
        digits=kind.digits,
        best={core: _best(tried, kind) for core, tried in found.items()},
        rows=rows,
    )


def _data(task: TaskSettings) -> Iterator[str]:
    """What a task reads, by its names."""
    yield from map(" ".join, task.data_sets())
    own = task.own_files()
    yield from () if own is None else (path.name for path in own.files.values())


def _best(rows: Sequence[Best], kind: Metric) -> Best:
    """The row with the best mean; one whose seeds all failed comes last."""
    sign = 1 if kind.higher_is_better else -1
    found = max(rows, key=lambda row: -float("inf") if row.ours.mean is None else sign * row.ours.mean)
    return Best(found.row, found.title, len(rows), found.ours)
