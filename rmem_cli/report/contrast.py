"""Two sets of results against each other: rows, recipes, folders of results, or commits."""

import math
import re
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from rmem_cli.errors import UsageError, closest
from rmem_cli.report.statistics import Interval, mean, sample_sd, welch_interval
from rmem_cli.report.verdict import MIN_SEEDS
from rmem_cli.results.metrics import metric
from rmem_cli.results.row import ResultRow
from rmem_cli.results.store import ResultStore

_COMMIT = re.compile(r"[0-9a-f]{7,40}")
_MEASURED = ["scale", "cell", "protocol", "split", "part", "metric"]
_DATA = "data_hash"
_SETTINGS = ["train_hash", "eval_hash", _DATA]


@dataclass(frozen=True)
class Side:
    """One set of results.

    Attributes:
        name: What was asked for.
        rows: The results.
        by: What tells them apart beside how they are measured: `experiment` and `row`, `row`, or nothing.
    """

    name: str
    rows: list[ResultRow]
    by: list[str]


@dataclass(frozen=True)
class Contrast:
    """What two sets of results gave, measured alike.

    Attributes:
        where: What and where.
        metric: Name of the metric.
        means: Of either.
        sds: Sample standard deviations; None for a single seed.
        seeds: How many seeds have a number.
        without_number: How many have none: they diverged, failed or measured none.
        difference: The second minus the first.
        interval: Its 95 % interval (Welch); None where either is a single seed.
    """

    where: str
    metric: str
    means: tuple[float, float]
    sds: tuple[float | None, float | None]
    seeds: tuple[int, int]
    without_number: tuple[int, int]
    difference: float
    interval: Interval | None

    @property
    def verdict(self) -> str:
        """Whether the second is surely better or worse, where there are seeds enough to tell."""
        if self.interval is None or min(self.seeds) < MIN_SEEDS:
            return "too few seeds"
        if any(self.without_number):
            return "seeds without a number"
        if self.interval.low <= 0 <= self.interval.high:
            return "no sure difference"
        return "better" if (self.difference > 0) == metric(self.metric).higher_is_better else "worse"


def side(name: str, store: ResultStore) -> Side:
    """A set of results by its name.

    Args:
        name: A folder of results, a commit (7 digits or more), EXPERIMENT, or EXPERIMENT/ROW.
        store: Where rows, experiments and commits are looked up.

    Raises:
        UsageError: There is nothing of this name.
    """
    if name and Path(name).is_dir() and any(Path(name).glob("*.csv")):
        return Side(name, _all(ResultStore(Path(name))), ["experiment", "row"])
    experiment, _, row = name.partition("/")
    names = store.experiments()
    if experiment in names:
        rows = store.read(experiment)
        found = [one for one in rows if row in ("", one.row)]
        if not found:
            known = dict.fromkeys(f"{experiment}/{one.row}" for one in rows)
            raise UsageError(f"{store.folder} has no results of {name!r}; {closest(name, known)}")
        return Side(name, found, [] if row else ["row"])
    if _COMMIT.fullmatch(name):
        if made := [one for one in _all(store) if one.git_commit.startswith(name)]:
            return Side(name, made, ["experiment", "row"])
        raise UsageError(f"{store.folder} has no results of the commit {name}")
    raise UsageError(
        f"{name!r} is no folder of results, no commit, and no experiment with results, alone or as "
        f"EXPERIMENT/ROW; {closest(experiment, names)}"
    )


def contrasts(first: Side, second: Side) -> list[Contrast]:
    """All that both sets measured alike: of the same names, on the same data.

    Args:
        first: One set of results.
        second: The other.

    Raises:
        UsageError: They are of different kinds, or have nothing in common.
    """
    if first.by != second.by:
        raise UsageError(
            f"{first.name!r} and {second.name!r} are of different kinds; compare two folders, two commits, "
            "two experiments, or two rows"
        )
    keys = [*first.by, *_MEASURED]
    alike = [*keys, _DATA]
    both = _values(first, keys).merge(_values(second, keys), on=alike, suffixes=("_first", "_second"))
    has_numbers = both[["values_first", "values_second"]].map(lambda values: bool(_finished(values)))
    both = both[has_numbers.all(axis=1)]
    if both.empty:
        raise UsageError(f"{first.name!r} and {second.name!r} have no results that are measured alike")
    return [
        _contrast(keys, dict(zip(both.columns, record, strict=True)))
        for record in both.itertuples(index=False)
    ]


def _values(one: Side, keys: list[str]) -> pd.DataFrame:
    """The values of the seeds, by what was measured: of the newest settings, and of each seed the latest."""
    rows = sorted(one.rows, key=lambda row: row.time)
    names = [*keys, *_SETTINGS, "seed"]
    found = pd.DataFrame({name: [getattr(row, name) for row in rows] for name in names}, dtype=object)
    found["value"] = pd.Series([row.value if _has_value(row) else None for row in rows], dtype=object)
    newest = found.drop_duplicates(keys, keep="last")[[*keys, *_SETTINGS]]
    latest = found.merge(newest, on=[*keys, *_SETTINGS]).drop_duplicates([*keys, "seed"], keep="last")
    return latest.groupby([*keys, _DATA], sort=False)["value"].agg(list).rename("values").reset_index()


def _finished(values: object) -> list[float]:
    return [float(value) for value in values if value is not None] if isinstance(values, list) else []


def _has_value(row: ResultRow) -> bool:
    return row.status == "ok" and row.value is not None and math.isfinite(row.value)


def _contrast(keys: list[str], record: dict[str, object]) -> Contrast:
    both = [record["values_first"], record["values_second"]]
    sides = [_finished(values) for values in both]
    lost = [
        len(values) - len(side) for values, side in zip(both, sides, strict=True) if isinstance(values, list)
    ]
    means, sds = [mean(values) for values in sides], [sample_sd(values) for values in sides]
    difference = means[1] - means[0]
    interval = None
    if sds[0] is not None and sds[1] is not None:
        interval = welch_interval(difference, sds[1], len(sides[1]), sds[0], len(sides[0]))
    words = [str(record[key]) for key in keys if key not in ("split", "metric") and record[key]]
    return Contrast(
        ", ".join(words),
        str(record["metric"]),
        (means[0], means[1]),
        (sds[0], sds[1]),
        (len(sides[0]), len(sides[1])),
        (lost[0], lost[1]),
        difference,
        interval,
    )


def _all(store: ResultStore) -> list[ResultRow]:
    return [row for name in store.experiments() for row in store.read(name)]
