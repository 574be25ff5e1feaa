"""Matrix cells that make one measurement together: the folds of a data set, the tasks of one model."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from rmem_cli.recipe.hashing import digest
from rmem_cli.recipe.kinds import TaskSettings
from rmem_cli.report.measured import PARTIAL
from rmem_cli.report.parts import mean_of_tasks
from rmem_cli.report.selection import Entry
from rmem_cli.report.statistics import mean
from rmem_cli.results.row import ResultRow

Pooled = tuple[dict[str, list[Entry]], pd.DataFrame]  # a plan and results, as in `selection.Selection`

_ONE_SEED = ["protocol", "part", "metric", "seed"]


@dataclass(frozen=True)
class _Pooling:
    """Which cells belong together, and what they give.

    Attributes:
        across: The settings of a task whichever member it is; None if it is none.
        cell: What so many are called together.
        are_one_data_set: Whether a seed counts only where they are of the same data.
        value: The value of one seed.
    """

    across: Callable[[TaskSettings], TaskSettings | None]
    cell: Callable[[int], str]
    are_one_data_set: bool
    value: Callable[[Sequence[ResultRow]], float | None]


def pool_folds(plan: dict[str, list[Entry]], results: pd.DataFrame) -> Pooled:
    """Add to the plan and to the results what all folds of a row are together (cross-validation).

    Folds are matrix cells that differ in nothing but the fold they test, where no two test the same example.
    A seed counts where it has a result in every one of them, on the same data; its value is the mean over the
    folds, weighted by their examples. For a share of right answers or a mean loss this is the value over all
    examples; for F1 it is what it says: a mean of F1s.

    Args:
        plan: Scale to what the recipe runs there.
        results: As in `selection.Selection`.

    Returns:
        Both, with entries in cells of their own such as "5 folds together", ahead of the others.
    """
    return _pool(plan, results, _FOLDS)


def pool_tasks(plan: dict[str, list[Entry]], results: pd.DataFrame) -> Pooled:
    """Add to the plan and to the results what the tasks of a row are on average.

    Tasks are matrix cells that differ in nothing but the task that a number names, each learned by a model of
    its own. A seed counts where it has a result of every one of them; each task counts once.

    Args:
        plan: Scale to what the recipe runs there.
        results: As in `selection.Selection`.

    Returns:
        Both, with entries in cells of their own such as "mean of 20 tasks", ahead of the others.
    """
    return _pool(plan, results, _TASKS)


def _pool(plan: dict[str, list[Entry]], results: pd.DataFrame, pooling: _Pooling) -> Pooled:
    with_pooled, pooled = {}, [results]
    for scale, planned in plan.items():
        groups = [(cells, _together(cells, pooling)) for cells in _find_alike(planned, pooling)]
        pooled += [_results(cells, whole, results, pooling) for cells, whole in groups]
        with_pooled[scale] = [*(whole for _, whole in groups), *planned]
    return with_pooled, pd.concat(pooled)


def _find_alike(planned: Iterable[Entry], pooling: _Pooling) -> list[list[Entry]]:
    alike: dict[tuple[str, str], list[Entry]] = defaultdict(list)
    for entry in planned:
        settings = entry.spec.settings
        task = pooling.across(settings.task)
        if task is not None:
            alike[entry.spec.row, digest(settings.model_copy(update={"task": task}))].append(entry)
    return [cells for cells in alike.values() if len(cells) > 1]


def _together(cells: Sequence[Entry], pooling: _Pooling) -> Entry:
    """The entry that stands for all of the cells."""
    labels = [entry.spec.cell.split(",") for entry in cells]
    common = [part for part in labels[0] if all(part in label for label in labels)]
    cell = ",".join([*common, pooling.cell(len(cells))])
    spec, seeds = replace(cells[0].spec, cell=cell), cells[0].seeds
    if pooling is _FOLDS:
        return Entry(spec, seeds, folds=len(cells))
    return Entry(spec, seeds, tasks=tuple(replace(entry.spec, cell=cell) for entry in cells))


def _results(cells: Sequence[Entry], whole: Entry, results: pd.DataFrame, pooling: _Pooling) -> pd.DataFrame:
    """The results of all cells together, one for each seed."""
    scale, row, cell = whole.spec.scale, whole.spec.row, whole.spec.cell
    is_member = results["cell"].isin([entry.spec.cell for entry in cells])
    here = results[(results["scale"] == scale) & (results["row"] == row) & is_member]
    one_seed = [*_ONE_SEED, *(["data_hash"] if pooling.are_one_data_set else [])]
    seeds = here.groupby(one_seed, sort=False)["result"].agg(list)
    complete = seeds[seeds.map(len) == len(cells)]
    found = complete.map(lambda rows: _result(rows, cell, pooling.value(rows)))
    return found.reset_index().assign(scale=scale, row=row, cell=cell)


def _result(rows: Sequence[ResultRow], cell: str, value: float | None) -> ResultRow:
    """The result of one seed: its value in all cells, and what these took together."""
    seconds = [row.wall_seconds for row in rows if row.wall_seconds is not None]
    sizes = {row.parameters for row in rows}
    return replace(
        rows[0],
        cell=cell,
        value=value,
        examples=sum(row.examples or 0 for row in rows),
        parameters=sizes.pop() if len(sizes) == 1 else None,
        wall_seconds=math.fsum(seconds) if len(seconds) == len(rows) else None,
        peak_memory_mb=max(
            (row.peak_memory_mb for row in rows if row.peak_memory_mb is not None), default=None
        ),
        git_commit=rows[0].git_commit if all(row.git_commit for row in rows) else "",
        git_dirty="true" if any(row.git_dirty == "true" for row in rows) else rows[0].git_dirty,
        data_hash=next((row.data_hash for row in rows if row.data_hash.endswith(PARTIAL)), rows[0].data_hash),
        status=next((row.status for row in rows if row.status != "ok"), "ok"),
    )


def _over_examples(rows: Sequence[ResultRow]) -> float | None:
    """The mean, weighted by examples."""
    examples = sum(row.examples or 0 for row in rows)
    if not examples or any(row.value is None for row in rows):
        return None
    return math.fsum((row.value or 0.0) * (row.examples or 0) for row in rows) / examples


def _over_tasks(rows: Sequence[ResultRow]) -> float | None:
    """The mean, in which each counts once."""
    values = [row.value for row in rows if row.value is not None]
    return mean(values) if len(values) == len(rows) else None


_FOLDS = _Pooling(
    lambda task: task.across_folds(), lambda count: f"{count} folds together", True, _over_examples
)
_TASKS = _Pooling(lambda task: task.across_tasks(), mean_of_tasks, False, _over_tasks)
