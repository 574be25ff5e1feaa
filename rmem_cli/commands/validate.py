"""`rmem validate`: find everything that is wrong with recipes, without data and without training."""

from typing import Annotated

import typer


def validate(
    recipes: Annotated[
        list[str] | None,
        typer.Argument(metavar="[RECIPE]...", help="Names or paths; without any, every recipe there is."),
    ] = None,
) -> None:
    """Check recipes: every row at every scale, offline; all problems at once."""
    from rich.console import Console

    from rmem_cli.errors import UsageError
    from rmem_cli.recipe import list_recipes, load_recipe

    people = Console(stderr=True, markup=False, highlight=False, soft_wrap=True)
    problems = []
    for name in recipes or list_recipes():
        try:
            recipe = load_recipe(name)
        except UsageError as error:
            problems.append(str(error))
        else:
            scales = ", ".join(recipe.scales)
            people.print(f"{name} is valid: {len(recipe.rows)} rows; scales {scales}")
    if problems:
        raise UsageError("\n".join(problems))
