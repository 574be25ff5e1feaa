"""The results of a run, by its name."""

import re

from rmem_cli.errors import UsageError, closest
from rmem_cli.results.row import ResultRow
from rmem_cli.results.store import ResultStore
from rmem_cli.results.withdrawn import run_name

_NAME = re.compile(r"[^/]+/[^/]+(/[^/]+)?/[^/]+-seed\d+-[0-9a-f]{12}")


def is_run_name(text: str) -> bool:
    """Whether a text names a run: EXPERIMENT/ROW[/CELL]/SCALE-seedK-HASH."""
    return _NAME.fullmatch(text) is not None


def results_of(name: str, store: ResultStore) -> list[ResultRow]:
    """All results of a run, withdrawn ones, too.

    Args:
        name: As `rmem runs list` has it: EXPERIMENT/ROW[/CELL]/SCALE-seedK-HASH.
        store: The tables.

    Raises:
        UsageError: There are none.
    """
    experiment = name.split("/")[0]
    rows = store.read_all(experiment) if experiment in store.experiments() else []
    found = [row for row in rows if run_name(row) == name]
    if not found:
        names = list(dict.fromkeys(map(run_name, rows)))
        raise UsageError(f"there is no result of a run {name!r} in {store.folder}; {closest(name, names)}")
    return found
