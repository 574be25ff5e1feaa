"""`rmem list`: the recipes there are, and the kinds of components to build more from."""

from typing import TYPE_CHECKING, Any

import typer

from rmem_cli.commands.options import AsJson

if TYPE_CHECKING:
    from rmem_cli.recipe import Recipe


def list_recipes(
    as_json: AsJson = False,
) -> None:
    """List the recipes with their rows and scales, and the kinds of cores and tasks.

    In a pipe, a recipe is a line, with tabs between name, title, paper, rows and scales.
    """
    from rmem_cli.errors import UsageError
    from rmem_cli.json_text import json_text
    from rmem_cli.recipe import list_recipes as names
    from rmem_cli.recipe import load_recipe
    from rmem_cli.recipe.registry import CORES, TASKS

    recipes, problems = [], []
    for name in names():
        try:
            recipes.append(_about(load_recipe(name)))
        except UsageError as error:
            problems.append(str(error))
    kinds = {"cores": CORES.kinds(), "tasks": TASKS.kinds()}
    if as_json:
        typer.echo(json_text({"recipes": recipes, **kinds}))
    else:
        _print(recipes, kinds)
    if problems:
        raise UsageError("\n".join(problems))


def _about(recipe: "Recipe") -> dict[str, Any]:
    return {
        "name": recipe.name,
        "title": recipe.title,
        "paper": recipe.paper,
        "rows": [row.id for row in recipe.rows],
        "scales": list(recipe.scales),
    }


def _print(recipes: list[dict[str, Any]], kinds: dict[str, list[str]]) -> None:
    from rmem_cli.commands.lists import print_line, print_records

    print_records(
        {
            field: ", ".join(value) if isinstance(value, list) else value or "-"
            for field, value in recipe.items()
        }
        for recipe in recipes
    )
    for noun, names in kinds.items():
        print_line(f"{noun}: {', '.join(names)}")
