"""Putting another folder of results into one's own."""

from pathlib import Path

import pandas as pd

from rmem_cli.errors import UsageError, closest
from rmem_cli.results.curves import curve_of
from rmem_cli.results.row import COLUMNS, ResultRow
from rmem_cli.results.store import ResultStore
from rmem_cli.results.withdrawn import Withdrawals

_MOST_NAMED = 5
_KEY = ["row", "cell", "scale", "seed", "protocol", "split", "part", "metric", "train_hash", "eval_hash"]


def merge_results(store: ResultStore, folder: Path) -> dict[str, int]:
    """Add the results of another folder, with their learning curves; a later row replaces an earlier one.

    Tables of older versions are read, too: columns that they lack are blank.

    Args:
        store: Where they are put.
        folder: Where they are.

    Returns:
        Experiment to how many rows are new, or newer.

    Raises:
        UsageError: There are no results; a table is none of results; or two rows that were made at the same
            moment measure the same, and differ. Nothing is written then.
    """
    tables = sorted(folder.glob("*.csv"))
    if not tables:
        raise UsageError(f"{folder} has no results to merge: no file NAME.csv; name a folder of results")
    found = {path.stem: _read(path) for path in tables}
    added = {name: _new(store, name, rows) for name, rows in found.items()}
    for rows in added.values():
        store.write(rows)
        for row in rows:
            _copy_curve(store, folder, row)
    _merge_withdrawals(store, folder)
    return {name: len(rows) for name, rows in added.items()}


def _read(path: Path) -> list[ResultRow]:
    """The rows of a table, of whatever version."""
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: cannot be read as a table of results ({error})") from error
    unknown = [name for name in table.columns if name not in COLUMNS]
    if unknown or "experiment" not in table.columns:
        told = f"column {unknown[0]!r} is unknown; {closest(unknown[0], COLUMNS)}" if unknown else "no header"
        raise UsageError(f"{path}:1: this is no table of results: {told}")
    rows = []
    whole = table.reindex(columns=list(COLUMNS), fill_value="")
    for line, cells in enumerate(whole.itertuples(index=False), 2):
        try:
            row = ResultRow.from_text(list(cells))
        except ValueError as error:
            raise UsageError(f"{path}:{line}: {error}; correct it, or leave the table out") from error
        if row.experiment != path.stem:
            raise UsageError(f"{path}:{line}: a row of {row.experiment!r}, which is not the name of the file")
        rows.append(row)
    return rows


def _new(store: ResultStore, name: str, rows: list[ResultRow]) -> list[ResultRow]:
    """Those that are not there yet, or newer than what is."""
    own = _frame(store.read_all(name)).merge(_frame(rows), on=_KEY, how="right", suffixes=("_own", "_other"))
    differ = own[(own["time_own"] == own["time_other"]) & (own["text_own"] != own["text_other"])]
    if len(differ):
        first = [
            f"{row.row} {row.scale} seed {row.seed} {row.protocol} {row.metric}"
            for row in differ.itertuples()
        ]
        more = f" and {len(first) - _MOST_NAMED} more" if len(first) > _MOST_NAMED else ""
        raise UsageError(
            f"{name}: results of one moment contradict each other: {'; '.join(first[:_MOST_NAMED])}{more}; "
            "withdraw one (`rmem results drop`), or correct it, then merge again"
        )
    is_new = own["time_own"].isna() | (own["time_other"] > own["time_own"])
    return list(own[is_new]["result_other"])


def _frame(rows: list[ResultRow]) -> pd.DataFrame:
    columns = {name: [getattr(row, name) for row in rows] for name in [*_KEY, "time"]}
    found = pd.DataFrame(
        {**columns, "text": [",".join(row.to_text()) for row in rows], "result": rows}, dtype=object
    )
    return found.sort_values("time", kind="stable").drop_duplicates(_KEY, keep="last")


def _copy_curve(store: ResultStore, folder: Path, row: ResultRow) -> None:
    path = folder / "curves" / f"{curve_of(row)}.csv"
    if path.is_file():
        store.write_curve(curve_of(row), path.read_text(encoding="utf-8"))


def _merge_withdrawals(store: ResultStore, folder: Path) -> None:
    own, others = Withdrawals(store.folder), Withdrawals(folder)
    if new := [one for one in others.all if one not in own.all]:
        own.add(new)
