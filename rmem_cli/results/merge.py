"""Putting another folder of results into one's own."""

from pathlib import Path

import pandas as pd

from rmem_cli.errors import UsageError
from rmem_cli.results.row import ResultRow
from rmem_cli.results.run_names import run_name
from rmem_cli.results.store import ResultStore
from rmem_cli.results.summaries import samples_name
from rmem_cli.results.withdrawn import Withdrawals, add_withdrawals

_MOST_NAMED = 5
_KEY = ["row", "cell", "scale", "seed", "protocol", "split", "part", "metric", "train_hash", "eval_hash"]


def merge_results(store: ResultStore, folder: Path) -> dict[str, int]:
    """Add the results of another folder, with what stands beside them; a later row replaces an earlier one.

    Tables of older versions are read, too: columns that they lack are blank.

    Args:
        store: Where they are put.
        folder: Where they are.

    Returns:
        Experiment to how many rows are new, or newer.

    Raises:
        UsageError: There are no results; a table is none of results; or two rows that were made at the same
            moment measure the same, and differ, neither of them withdrawn. Nothing is written then.
    """
    others = ResultStore(folder)
    if not others.experiments():
        raise UsageError(f"{folder} has no results to merge: no file NAME.csv; name a folder of results")
    withdrawn = Withdrawals(store.folder), Withdrawals(folder)
    added = {name: _new(store, name, others, withdrawn) for name in others.experiments()}
    # The rows come last, for what is there already is not merged again.
    if new := [one for one in withdrawn[1].all if one not in withdrawn[0].all]:
        add_withdrawals(store.folder, new)
    for rows in added.values():
        for row in {samples_name(row): row for row in rows}.values():
            store.copy_beside(row, row, folder)
        store.write(rows, replace_newer=False)
    return {name: len(rows) for name, rows in added.items()}


def _new(
    store: ResultStore, name: str, others: ResultStore, withdrawn: tuple[Withdrawals, Withdrawals]
) -> list[ResultRow]:
    """Rows of a table of others that are not there yet, or newer than what is."""
    mine, theirs = _frame(store.read_all(name)), _frame(others.read_all(name))
    own = mine.merge(theirs, on=_KEY, how="right", suffixes=("_own", "_other"))
    counts = own["result_other"].map(lambda row: all(each.of(row) is None for each in withdrawn))
    is_other = (own["time_own"] == own["time_other"]) & (own["text_own"] != own["text_other"])
    differ = own[is_other & counts.astype(bool)]
    if len(differ):
        first = [
            " ".join(filter(None, (run_name(row), row.protocol, row.part, row.metric)))
            for row in differ["result_other"]
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
