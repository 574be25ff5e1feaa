"""The runs that the searches of recipes ask for, once their candidates have results."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from rmem_cli.recipe import Recipe, RunSpec


def chosen_in(
    recipes: "Sequence[Recipe]", asked: "Sequence[RunSpec]", pending: "Sequence[RunSpec]" = ()
) -> "tuple[list[RunSpec], int]":
    """What the searches among some runs have chosen, as `report.searches.chosen_runs`.

    Args:
        recipes: The recipes.
        asked: Runs of them, each recipe's at one scale.
        pending: Those of the runs that are to be done first.
    """
    from rmem_cli.paths import results_root
    from rmem_cli.report.joined import join
    from rmem_cli.report.searches import chosen_runs
    from rmem_cli.results.store import ResultStore

    store = ResultStore(results_root())
    chosen: list[RunSpec] = []
    to_come = 0
    for recipe in recipes:
        own = [spec for spec in asked if spec.experiment == recipe.name]
        scale = own[0].scale if own else ""
        if scale in recipe.scales and recipe.searches(scale):
            first = [spec for spec in pending if spec.experiment == recipe.name]
            found, later = chosen_runs(own, join(recipe, store.read(recipe.name), scale).plan[scale], first)
            chosen += found
            to_come += later
    return chosen, to_come


def tell_to_come(count: int) -> None:
    """Say that there will be more runs than are known now."""
    if count:
        typer.echo(f"{count} more to come, of what the searches of the recipe choose by these", err=True)
