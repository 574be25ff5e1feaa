"""Options that several subcommands share."""

from pathlib import Path
from typing import Annotated

import typer

from rmem_cli.commands import completion


def named_path(text: str) -> Path:
    """The path that an option names.

    Raises:
        typer.BadParameter: It names none: an empty text would be the working folder.
    """
    if not text.strip():
        raise typer.BadParameter("it is empty; name a file or a folder.")
    return Path(text)


def _allow_modules(names: list[str] | None) -> list[str] | None:
    """Take note of the modules that may be imported, before anything is read."""
    if names:
        from rmem_cli.recipe.own_core import allow_modules

        allow_modules(names)
    return names


Recipes = Annotated[
    list[str],
    typer.Argument(
        metavar="RECIPE...",
        help="Recipes: names as in `rmem list`, or YAML files.",
        autocompletion=completion.recipe_names,
    ),
]
Rows = Annotated[
    list[str] | None,
    typer.Option(
        "--row",
        help="Only this row; may be given several times.",
        show_default=False,
        autocompletion=completion.row_ids,
    ),
]
Cells = Annotated[
    list[str] | None,
    typer.Option(
        "--cell",
        metavar="NAME=VALUE",
        help="Only this value of a matrix, as the tables name it; may be given several times.",
        show_default=False,
        autocompletion=completion.cell_labels,
    ),
]
Seeds = Annotated[
    list[int] | None,
    typer.Option(
        "--seed",
        help="Only this seed, also one that the recipe does not have; may be given several times.",
        show_default=False,
        autocompletion=completion.seeds,
    ),
]
Scale = Annotated[
    str,
    typer.Option(
        "--scale",
        help="Size of the experiment: paper, cpu, smoke.",
        autocompletion=completion.scale_names,
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="PATH=VALUE",
        help="Change one field, as in --set train.steps=2000.",
        show_default=False,
        autocompletion=completion.settings,
    ),
]
AllowedModules = Annotated[
    list[str] | None,
    typer.Option(
        "--allow-module",
        metavar="MODULE",
        help="Import this module for a core of your own (kind: MODULE:Class); may be given several times.",
        show_default=False,
        callback=_allow_modules,
    ),
]
Device = Annotated[str, typer.Option("--device", help="Where to compute: cpu, cuda, cuda:1, mps.")]
