"""Which results are those of a recipe as it stands now."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache

from rmem_cli.recipe import RunSpec
from rmem_cli.recipe.resolve import CUSTOM
from rmem_cli.results.row import ResultRow

Key = tuple[str, str, str, str, str, str]  # scale, row, cell, protocol, part, metric


@dataclass(frozen=True)
class Entry:
    """The runs of one row, or of one matrix cell of it, at one scale; they differ in the seed only.

    Attributes:
        spec: One of them.
        seeds: The seeds the recipe asks for.
        folds: How many folds each seed goes through, in an entry that stands for all of them together.
    """

    spec: RunSpec
    seeds: list[int]
    folds: int = 1


@dataclass
class Selection:
    """Results of the recipe as it stands, and how many others there were.

    Attributes:
        results: Where and what, to one result for each seed.
        left_out: Why results were left out, to how many.
    """

    results: dict[Key, list[ResultRow]] = field(default_factory=dict)
    left_out: Counter[str] = field(default_factory=Counter)


def entries(runs: Iterable[RunSpec]) -> list[Entry]:
    """Group the runs of one scale."""
    grouped: dict[tuple[str, str], Entry] = {}
    for run in runs:
        grouped.setdefault((run.row, run.cell), Entry(run, [])).seeds.append(run.seed)
    return list(grouped.values())


def select(plan: dict[str, list[Entry]], rows: Sequence[ResultRow]) -> Selection:
    """The results whose hashes are those of the recipe.

    Args:
        plan: Scale to what the recipe runs there; results of other scales are passed over.
        rows: Results of the experiment.
    """
    selection = Selection()
    by_entry: dict[tuple[str, str, str], list[ResultRow]] = defaultdict(list)
    for row in rows:
        by_entry[(row.scale, row.row, row.cell)].append(row)
    for scale, planned in plan.items():
        for entry in planned:
            _select_entry(selection, entry, by_entry.pop((scale, entry.spec.row, entry.spec.cell), []))
    for (scale, _, _), others in by_entry.items():
        if scale in plan:
            selection.left_out["of rows that the recipe does not have now"] += len(others)
        elif scale == CUSTOM:
            selection.left_out["of runs with --set, which the recipe does not define"] += len(others)
    return selection


def _select_entry(selection: Selection, entry: Entry, rows: list[ResultRow]) -> None:
    spec = entry.spec
    own_hash = cache(spec.train_hash)
    protocols = {spec.eval_hash(protocol): protocol for protocol in reversed(spec.settings.eval)}

    @cache
    def parts(eval_hash: str) -> tuple[str, ...]:
        return spec.protocol_task(protocols[eval_hash]).parts()

    current = [
        row
        for row in rows
        if row.train_hash == own_hash(row.data_hash)
        and row.eval_hash in protocols
        and (not row.part or row.part in parts(row.eval_hash))
    ]
    selection.left_out["of other settings than the recipe has now"] += len(rows) - len(current)
    if not current:
        return
    newest = max(current, key=lambda row: row.time)
    of_newest_data = [row for row in current if row.data_hash == newest.data_hash]
    selection.left_out["of other data than the newest result"] += len(current) - len(of_newest_data)
    for row in sorted(of_newest_data, key=lambda row: row.time):
        protocol = protocols[row.eval_hash]
        if row.metric in protocol.metrics:
            key = (row.scale, row.row, row.cell, protocol.name, row.part, row.metric)
            others = [other for other in selection.results.get(key, []) if other.seed != row.seed]
            selection.results[key] = sorted([*others, row], key=lambda row: row.seed)
