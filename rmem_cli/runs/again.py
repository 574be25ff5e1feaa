"""A run with results, to be made once more."""

from rmem_cli.errors import UsageError
from rmem_cli.paths import results_root
from rmem_cli.recipe import Recipe, RunSpec
from rmem_cli.recipe.resolve import CUSTOM
from rmem_cli.results.named import results_of
from rmem_cli.results.row import ResultRow
from rmem_cli.results.store import ResultStore
from rmem_cli.runs.identity import Identity, identity_of


def run_again(name: str, recipe: Recipe) -> RunSpec:
    """The run behind results, as its recipe has it.

    Args:
        name: Of the run, as `rmem runs list` has it.
        recipe: The recipe that the run is of.

    Raises:
        UsageError: There are no results of such a run, or the recipe would not give it any more.
        DataError: The data of the run is missing.
    """
    result = results_of(name, ResultStore(results_root()))[0]
    if result.experiment != recipe.name:
        raise UsageError(f"the run {name} is of {result.experiment}, not of {recipe.name}; name its recipe")
    if result.scale == CUSTOM:
        raise UsageError(
            f"the run {name} was changed by --set, and results do not say how; its folder, if it is here, "
            "has its settings in recipe.yaml: give the same --set again"
        )
    specs = recipe.runs(result.scale, [result.row], [result.seed])
    here = [identity_of(spec) for spec in specs if spec.cell == result.cell]
    for identity in here:
        if identity.train_hash == result.train_hash:
            return identity.spec
    raise UsageError(f"{recipe.name} does not give the run {name} any more: {_why(result, here)}")


def _why(result: ResultRow, here: list[Identity]) -> str:
    """What has changed since a result was made, and what to do."""
    if not here:
        changed = f"its row {result.row} has no cell {result.cell!r} now"
    elif here[0].data_hash != result.data_hash:
        return "its data has changed; bring back that of then, with `rmem fetch` or as your own files were"
    else:
        changed = "the settings of the row have changed"
    then = f"commit {result.git_commit.split('+')[0]}" if result.git_commit else f"rmem {result.rmem_version}"
    return (
        f"{changed}. Take the recipe of {then} and name its file, as in "
        f"`rmem train old/{result.experiment}.yaml --from-run ...`; without --from-run, today's is trained"
    )
