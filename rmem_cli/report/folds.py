"""Cross-validation: the folds of a data set, each tested by a run of its own, as one measurement."""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

import pandas as pd

from rmem_cli.recipe.hashing import digest
from rmem_cli.report.selection import Entry
from rmem_cli.results.row import ResultRow

_ONE_SEED = ["protocol", "part", "metric", "seed", "data_hash"]


def pool_folds(
    plan: dict[str, list[Entry]], results: pd.DataFrame
) -> tuple[dict[str, list[Entry]], pd.DataFrame]:
    """Add to the plan and to the results what all folds of a row are together.

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
    with_folds, pooled = {}, [results]
    for scale, planned in plan.items():
        groups = [(folds, _together(folds)) for folds in _find_folds(planned)]
        pooled += [_pooled(folds, whole, results) for folds, whole in groups]
        with_folds[scale] = [*(whole for _, whole in groups), *planned]
    return with_folds, pd.concat(pooled)


def _find_folds(planned: Iterable[Entry]) -> list[list[Entry]]:
    alike: dict[tuple[str, str], list[Entry]] = defaultdict(list)
    for entry in planned:
        settings = entry.spec.settings
        task = settings.task.across_folds()
        if task is not None:
            alike[entry.spec.row, digest(settings.model_copy(update={"task": task}))].append(entry)
    return [folds for folds in alike.values() if len(folds) > 1]


def _together(folds: Sequence[Entry]) -> Entry:
    """The entry that stands for all folds."""
    labels = [entry.spec.cell.split(",") for entry in folds]
    common = [part for part in labels[0] if all(part in label for label in labels)]
    cell = ",".join([*common, f"{len(folds)} folds together"])
    return Entry(replace(folds[0].spec, cell=cell), folds[0].seeds, folds=len(folds))


def _pooled(folds: Sequence[Entry], whole: Entry, results: pd.DataFrame) -> pd.DataFrame:
    """The results of all folds together, one for each seed."""
    scale, row, cell = whole.spec.scale, whole.spec.row, whole.spec.cell
    is_fold = results["cell"].isin([entry.spec.cell for entry in folds])
    here = results[(results["scale"] == scale) & (results["row"] == row) & is_fold]
    seeds = here.groupby(_ONE_SEED, sort=False)["result"].agg(list)
    complete = seeds[seeds.map(len) == len(folds)]
    pooled = complete.map(lambda rows: _pool(rows, cell))
    return pooled.reset_index().assign(scale=scale, row=row, cell=cell)


def _pool(rows: Sequence[ResultRow], cell: str) -> ResultRow:
    """The result of one seed: the mean over its folds, weighted by their examples."""
    examples = sum(row.examples or 0 for row in rows)
    value = None
    if examples and all(row.value is not None for row in rows):
        value = math.fsum((row.value or 0.0) * (row.examples or 0) for row in rows) / examples
    seconds = [row.wall_seconds for row in rows if row.wall_seconds is not None]
    return replace(
        rows[0],
        cell=cell,
        value=value,
        examples=examples,
        wall_seconds=math.fsum(seconds) if len(seconds) == len(rows) else None,
        peak_memory_mb=max(
            (row.peak_memory_mb for row in rows if row.peak_memory_mb is not None), default=None
        ),
        git_commit=rows[0].git_commit if all(row.git_commit for row in rows) else "",
        git_dirty="true" if any(row.git_dirty == "true" for row in rows) else rows[0].git_dirty,
        status=next((row.status for row in rows if row.status != "ok"), "ok"),
    )
