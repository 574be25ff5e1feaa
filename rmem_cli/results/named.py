"""The results of a run, by its name."""

from rmem_cli.errors import UsageError, closest, listed
from rmem_cli.results.row import ResultRow
from rmem_cli.results.run_names import is_named, run_name
from rmem_cli.results.store import ResultStore


def results_of(name: str, store: ResultStore) -> list[ResultRow]:
    """All results of a run, withdrawn ones, too.

    Args:
        name: As `rmem runs list` has it (EXPERIMENT/ROW[/CELL]/SCALE-seedK-HASH), or its beginning up to a
            slash.
        store: The tables.

    Raises:
        UsageError: There are none, or they are of several runs.
    """
    experiment = name.split("/")[0]
    rows = store.read_all(experiment) if experiment in store.experiments() else []
    names = list(dict.fromkeys(map(run_name, rows)))
    chosen = [each for each in names if is_named(each, name)]
    if not chosen:
        near = (
            closest(name, names) if names else f"of experiments, {closest(experiment, store.experiments())}"
        )
        raise UsageError(f"there is no result of a run {name!r} in {store.folder}; {near}")
    if len(chosen) > 1:
        raise UsageError(f"{name!r} is {len(chosen)} runs with results; name one: {listed(chosen)}")
    return [row for row in rows if run_name(row) == chosen[0]]
