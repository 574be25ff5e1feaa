"""What a recipe's searches have chosen: of each row the matrix cell whose validation is best."""

import math
from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from rmem_cli.recipe.resolve import Resolved, RunSpec
from rmem_cli.recipe.search import SearchSettings
from rmem_cli.report.selection import Choice, Entry, Key, Results, by_key
from rmem_cli.report.statistics import mean
from rmem_cli.results.metrics import metric
from rmem_cli.results.row import ResultRow


def add_chosen(
    plan: dict[str, list[Entry]], results: pd.DataFrame, searches: dict[str, list[list[Resolved]]]
) -> tuple[dict[str, list[Entry]], pd.DataFrame]:
    """Add to the plan and to the results what each search chose.

    Args:
        plan: Scale to what the recipe runs there.
        results: As in `selection.Selection`.
        searches: Scale to the candidates of each search there.

    Returns:
        Both, with entries in cells of their own such as "lr by valid", ahead of the others. Such an entry
        is without results until its search has chosen.
    """
    measured = by_key(results)
    with_chosen, chosen = {}, [results]
    for scale, planned in plan.items():
        added = [_entry(candidates, planned, measured) for candidates in searches[scale]]
        chosen += [_results(entry, results) for entry in added]
        with_chosen[scale] = [*added, *planned]
    return with_chosen, pd.concat(chosen)


def chosen_runs(
    asked: Sequence[RunSpec], planned: Sequence[Entry], pending: Sequence[RunSpec] = ()
) -> tuple[list[RunSpec], int]:
    """What searches among some runs have chosen to be trained further.

    Args:
        asked: Runs of one recipe at one scale; a search counts if all its candidates are among them.
        planned: What the recipe runs there, from `join`.
        pending: Those of the runs that are to be done first, whatever results they have by now.

    Returns:
        The runs that are not among those asked for, with what `--set` changed in these, and how many more
        there will be once the other searches have chosen.
    """
    there = {(spec.row, spec.cell): spec for spec in asked}
    waiting = {(spec.row, spec.cell) for spec in pending}
    chosen: list[RunSpec] = []
    to_come = 0
    for choice, seeds in ((entry.choice, entry.seeds) for entry in planned if entry.choice is not None):
        cells = [(one.row.id, one.cell) for one in choice.candidates]
        if not there.keys() >= set(cells):
            continue
        if waiting.intersection(cells) or choice.shown is None:
            to_come += len(set(seeds) - set(choice.candidates[0].seeds))
        elif choice.best is not None:
            one = there[choice.best.row.id, choice.best.cell]
            chosen += [replace(one, seed=seed) for seed in seeds]
    return [spec for spec in chosen if spec not in asked], to_come


def searched_metric(one: Resolved) -> str:
    """The metric by which a candidate is compared."""
    protocols = {protocol.name: protocol for protocol in one.settings.eval}
    return protocols[_search(one).protocol].metrics[0]


def _entry(candidates: list[Resolved], planned: Sequence[Entry], measured: Results) -> Entry:
    """The entry of what a search chose, or will choose."""
    choice = _choice(candidates, measured)
    first = choice.shown or candidates[0]
    specs = (entry.spec for entry in planned)
    spec = next(spec for spec in specs if (spec.row, spec.cell) == (first.row.id, first.cell))
    return Entry(replace(spec, cell=first.searched_cell), _search(first).seeds, choice=choice)


def _results(entry: Entry, results: pd.DataFrame) -> pd.DataFrame:
    """The results of what was chosen, under the cell of the search."""
    spec, shown = entry.spec, None if entry.choice is None else entry.choice.shown
    if shown is None:
        return results.iloc[:0]
    is_there = (results["scale"] == spec.scale) & (results["row"] == spec.row)
    is_there &= (results["cell"] == shown.cell) & results["seed"].isin(entry.seeds)
    return results[is_there].assign(cell=spec.cell)


def _choice(candidates: list[Resolved], measured: Results) -> Choice:
    """What the validations of the candidates tell, as far as they are there."""
    name = searched_metric(candidates[0])
    found = [_validations(one, name, measured) for one in candidates]
    data = {row.data_hash for rows in found for row in rows}
    if not all(found) or len(data) > 1:
        return Choice(candidates)
    sign = 1 if metric(name).higher_is_better else -1
    scores = [_score(rows, sign) for rows in found]
    best = max(scores)
    if best == -math.inf:
        return Choice(candidates, has_failed=True)
    return Choice(candidates, candidates[scores.index(best)], scores.count(best))


def _validations(one: Resolved, name: str, measured: Results) -> list[ResultRow]:
    """The results by which a candidate is compared, one for each of its seeds; none if one is missing."""
    key = Key(one.scale, one.row.id, one.cell, _search(one).protocol, "", name)
    rows = {row.seed: row for row in measured.get(key, [])}
    return [rows[seed] for seed in one.seeds] if rows.keys() >= set(one.seeds) else []


def _score(rows: Sequence[ResultRow], sign: int) -> float:
    """The mean over the seeds, the more the better; the worst there is if one of them has no value."""
    values = [row.value for row in rows if row.status == "ok" and row.value is not None]
    is_whole = len(values) == len(rows) and all(map(math.isfinite, values))
    return sign * mean(values) if is_whole else -math.inf


def _search(one: Resolved) -> SearchSettings:
    assert one.search is not None  # noqa: S101  it is a candidate
    return one.search
