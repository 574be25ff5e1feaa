"""Options that several subcommands share."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Literal

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
    """Take note of the modules that may be imported, before anything is read.

    Raises:
        typer.BadParameter: One is no name of a module.
    """
    if names:
        from rmem_cli.recipe.own_core import allow_modules

        for name in names:
            if not all(part.isidentifier() for part in name.split(".")):
                raise typer.BadParameter(f"{name!r} names no module; write my_cores for my_cores.py.")
        allow_modules(names)
    return names


CHOICES = {name: f"--{name}" for name in ("row", "cell", "seed", "scale")}
"""Parameters that choose among the runs of a recipe, and their options."""


def refuse_choices(context: typer.Context, choices: Mapping[str, str], why: str) -> None:
    """Of what is named as a whole, nothing can be chosen.

    Args:
        context: Of the command.
        choices: Parameters that choose, and their options.
        why: What is named.

    Raises:
        UsageError: One of the options was given.
    """
    from rmem_cli.errors import UsageError

    sources = {option: context.get_parameter_source(name) for name, option in choices.items()}
    given = [option for option, source in sources.items() if source and source.name == "COMMANDLINE"]
    if given:
        raise UsageError(f"{why}; leave out {', '.join(given)}")


def is_exported(name: str) -> bool:
    """Whether a name is that of a folder with an exported model, and not of a recipe."""
    from rmem_cli.files import EXPORT

    with suppress(
        OSError, ValueError
    ):  # a name too long for the system, or with a character it does not take
        return Path(name, EXPORT).is_file()
    return False


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
WhichAgain = Annotated[
    Literal["missing", "failed", "all"],
    typer.Option("--rerun", help="Which runs to do: those without result, those that failed too, or all."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
