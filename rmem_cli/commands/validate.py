"""`rmem validate`: find everything that is wrong with recipes, without data and without training."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rmem_cli.commands import completion
from rmem_cli.commands.options import AllowedModules

if TYPE_CHECKING:
    from rmem_cli.errors import UsageError
    from rmem_cli.recipe import Recipe, RunSpec


def validate(
    recipes: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RECIPE]...",
            help="Names or paths; without any, every recipe there is.",
            autocompletion=completion.recipe_names,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome on stdout as JSON.")] = False,
    allow_module: AllowedModules = None,
) -> None:
    """Check recipes: every row at every scale, offline; all problems at once.

    The options of a core of one's own are checked where --allow-module lets its module be imported.

    With --json: a list, for each recipe an object with recipe, valid, rows and scales (lists of names), and
    problems, a list of objects with file, line, column, path (of the field) and message; line and column are
    null where the file as a whole is meant.
    """
    from rich.console import Console

    from rmem_cli.errors import UsageError
    from rmem_cli.json_text import json_text
    from rmem_cli.recipe import list_recipes, load_recipe
    from rmem_cli.visible import say

    console = Console(stderr=True)
    problems, outcomes = [], []
    for name in recipes or list_recipes():
        try:
            recipe = load_recipe(name)
            if allow_module:
                from rmem_cli.models.own_core import check_own_cores

                check_own_cores(_all_runs(recipe))
        except UsageError as error:
            problems.append(str(error))
            outcomes.append(_outcome(name, problems=_problems(error)))
        else:
            scales = ", ".join(recipe.scales)
            say(
                console,
                f"{name} is valid: {len(recipe.rows)} row{'s' * (len(recipe.rows) != 1)}; scales {scales}",
            )
            outcomes.append(_outcome(name, [row.id for row in recipe.rows], list(recipe.scales)))
    if as_json:
        typer.echo(json_text(outcomes))
    if problems:
        raise UsageError("\n".join(problems))


def _all_runs(recipe: "Recipe") -> Iterator["RunSpec"]:
    for scale in recipe.scales:
        yield from recipe.runs(scale, [row.id for row in recipe.rows_at(scale)])


def _outcome(
    name: str,
    rows: list[str] | None = None,
    scales: list[str] | None = None,
    problems: list[dict[str, Any]] | None = None,
) -> dict[str, Any]:
    return {
        "recipe": name,
        "valid": not problems,
        "rows": rows or [],
        "scales": scales or [],
        "problems": problems or [],
    }


def _problems(error: "UsageError") -> list[dict[str, Any]]:
    from rmem_cli.recipe.problems import RecipeError

    if not isinstance(error, RecipeError):
        return [{"file": None, "line": None, "column": None, "path": "", "message": str(error)}]
    return [
        {
            "file": each.place.source,
            "line": each.place.line,
            "column": each.place.column,
            "path": each.path,
            "message": each.message,
        }
        for each in error.problems
    ]
