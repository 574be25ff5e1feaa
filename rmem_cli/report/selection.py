"""Which results are those of a recipe as it stands now."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import pandas as pd

from rmem_cli.recipe import RunSpec
from rmem_cli.recipe.resolve import CUSTOM, Resolved
from rmem_cli.results.row import ResultRow


class Key(NamedTuple):
    """Where and what was measured: a cell of a table, whatever the seed.

    Attributes:
        scale: The scale.
        row: Row of the recipe.
        cell: Matrix cell.
        protocol: Name of the evaluation protocol.
        part: Part of the split.
        metric: Name of the metric.
    """

    scale: str
    row: str
    cell: str
    protocol: str
    part: str
    metric: str


Results = dict[Key, list[ResultRow]]  # one for each seed, in the order of seeds

_ENTRY = ["scale", "row", "cell"]
_MEASURED = [*_ENTRY, "eval_hash", "part", "metric"]
_KEY = list(Key._fields)
_RESULT = [*_MEASURED, "seed", "train_hash", "data_hash", "time"]


@dataclass(frozen=True)
class Choice:
    """What the search of a row has found.

    Attributes:
        candidates: Its matrix cells that are compared.
        best: That with the best validation, of equal ones the first; None as long as one of them lacks
            results, or has them of other data than the rest, and if none has a number.
        equals: How many are as good as the best, itself among them.
        has_failed: Whether all have results, and none a number, as runs diverged.
    """

    candidates: list[Resolved]
    best: Resolved | None = None
    equals: int = 0
    has_failed: bool = False

    @property
    def shown(self) -> Resolved | None:
        """The candidate whose results stand for the search: the best, or the first of those that failed."""
        return self.candidates[0] if self.has_failed else self.best


@dataclass(frozen=True)
class Entry:
    """The runs of one row, or of one matrix cell of it, at one scale; they differ in the seed only.

    Attributes:
        spec: One of them.
        seeds: The seeds the recipe asks for.
        folds: How many folds each seed goes through, in an entry that stands for all of them together.
        tasks: A run of each task, in an entry that stands for what they are on average.
        choice: The search, in an entry that stands for what it chose.
    """

    spec: RunSpec
    seeds: list[int]
    folds: int = 1
    tasks: tuple[RunSpec, ...] = ()
    choice: Choice | None = None

    @property
    def stands_for_cells(self) -> bool:
        """Whether it stands for other matrix cells."""
        return self.folds > 1 or self.choice is not None


@dataclass(frozen=True)
class Selection:
    """Results of the recipe as it stands, and how many others there were.

    Attributes:
        results: A record for each seed: the fields of `Key`, `seed`, `data_hash`, and the `result` itself.
        left_out: Why results were left out, to how many.
    """

    results: pd.DataFrame
    left_out: Counter[str] = field(default_factory=Counter)


def entries(runs: Iterable[RunSpec]) -> list[Entry]:
    """Group the runs of one scale."""
    grouped: dict[tuple[str, str], Entry] = {}
    for run in runs:
        grouped.setdefault((run.row, run.cell), Entry(run, [])).seeds.append(run.seed)
    return list(grouped.values())


def select(plan: dict[str, list[Entry]], rows: Sequence[ResultRow], scales: Collection[str]) -> Selection:
    """The results whose hashes are those of the recipe.

    Args:
        plan: Scale to what the recipe runs there; results of other scales are passed over.
        rows: Results of the experiment.
        scales: All scales that the recipe has.
    """
    columns = {name: [getattr(row, name) for row in rows] for name in _RESULT}
    found = pd.DataFrame({**columns, "result": list(rows)}, dtype=object)
    planned = found.merge(_protocols(plan)[_ENTRY].drop_duplicates(), on=_ENTRY)
    hashed = planned.merge(_train_hashes(plan, planned), on=[*_ENTRY, "data_hash", "train_hash"])
    current = hashed.merge(_protocols(plan), on=_MEASURED).sort_values("time", kind="stable")
    newest = current.groupby(_ENTRY, sort=False)["data_hash"].transform("last")
    latest = current[current["data_hash"] == newest]
    counts = {
        "of other settings than the recipe has now": len(planned) - len(current),
        "of other data than the newest result": len(current) - len(latest),
        "of rows that the recipe does not have now": int(found["scale"].isin(list(plan)).sum())
        - len(planned),
        "of scales that the recipe does not have now": int((~found["scale"].isin([*scales, CUSTOM])).sum()),
        "of runs with --set, which the recipe does not define": int((found["scale"] == CUSTOM).sum()),
    }
    seeds = latest.drop_duplicates([*_KEY, "seed"], keep="last")
    return Selection(seeds.sort_values("seed", kind="stable"), Counter(counts))


def by_key(results: pd.DataFrame) -> Results:
    """The results of each cell of a table, in the order in which they stand."""
    found: Results = {}
    for *key, result in results[[*_KEY, "result"]].itertuples(index=False):
        found.setdefault(Key(*key), []).append(result)
    return found


def _protocols(plan: dict[str, list[Entry]]) -> pd.DataFrame:
    """A record for each metric of each part of each protocol of each entry, the whole (`""`) among the parts.

    Of protocols with one hash, those of the first.
    """
    records = [
        (*_where(entry), entry.spec.eval_hash(protocol), part, metric, protocol.name)
        for planned in plan.values()
        for entry in planned
        for protocol in entry.spec.settings.eval
        for part in ("", *entry.spec.protocol_task(protocol).parts())
        for metric in protocol.metrics
    ]
    return pd.DataFrame(records, columns=[*_MEASURED, "protocol"], dtype=object).drop_duplicates(_MEASURED)


def _train_hashes(plan: dict[str, list[Entry]], results: pd.DataFrame) -> pd.DataFrame:
    """What the runs of each entry are known by, on each data that they have results of."""
    specs = {_where(entry): entry.spec for planned in plan.values() for entry in planned}
    known = results[[*_ENTRY, "data_hash"]].drop_duplicates()
    hashes = [specs[*where].train_hash(data) for *where, data in known.itertuples(index=False)]
    return known.assign(train_hash=pd.Series(hashes, known.index, dtype=object))


def _where(entry: Entry) -> tuple[str, str, str]:
    return entry.spec.scale, entry.spec.row, entry.spec.cell
