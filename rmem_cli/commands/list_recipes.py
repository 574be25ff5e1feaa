"""`rmem list`: the recipes there are, and the kinds of components to build more from."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rmem_cli.recipe import Recipe


def list_recipes(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the recipes with their rows and scales, and the kinds of cores and tasks."""
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
    import sys

    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    width = None if sys.stdout.isatty() else 10_000  # lines are wrapped for people only
    console = Console(markup=False, highlight=False, width=width)
    table = Table("recipe", "title", "paper", "rows", "scales", box=None, pad_edge=False)
    for recipe in recipes:
        cells = (", ".join(cell) if isinstance(cell, list) else cell for cell in recipe.values())
        table.add_row(*map(Text, cells))
    console.print(table)
    for noun, names in kinds.items():
        console.print(f"{noun}: {', '.join(names)}", soft_wrap=True)
