"""`rmem report`: tables of results beside the published numbers."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rmem_cli.errors import OutOfToleranceError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rmem_cli.report.formats import Format
    from rmem_cli.report.table import Table


class FormatName(StrEnum):
    """The values of --format."""

    TERMINAL = "terminal"
    MARKDOWN = "markdown"
    CSV = "csv"
    JSON = "json"


def report(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME...]", help="Recipes, by name or path; all with results if none is named."
        ),
    ] = None,
    format_name: Annotated[
        FormatName | None,
        typer.Option("--format", help="How to write them; by the suffix of --out, else for a terminal."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="PATH", help="Write a file, or a folder with a file per experiment."),
    ] = None,
    scale: Annotated[
        str | None, typer.Option("--scale", metavar="NAME", help="Show this scale only.")
    ] = None,
    strict: Annotated[
        bool,
        typer.Option(
            "--strict", help="Exit 5 if a full-scale result is better or worse than its tolerance allows."
        ),
    ] = False,
) -> None:
    """Print tables of results beside the published numbers.

    A result is out of tolerance when its whole 95 % interval is: a better one than was published is as little
    reproduced as a worse one, and an inconclusive one is not refused.
    """
    tables = _named(names, scale) if names else _all(scale)
    chosen = _format(format_name, out)
    if out is None:
        chosen.write(tables, sys.stdout)
    else:
        _write(tables, chosen, out)
    if strict:
        _refuse_out_of_tolerance(tables)


def _named(names: "Sequence[str]", scale: str | None) -> "list[Table]":
    from rmem_cli.paths import results_root
    from rmem_cli.recipe import load_recipe
    from rmem_cli.report.build import build_table
    from rmem_cli.results.store import ResultStore

    store = ResultStore(results_root())
    recipes = [load_recipe(name) for name in dict.fromkeys(names)]
    return [build_table(recipe, store.read(recipe.name), scale) for recipe in recipes]


def _all(scale: str | None) -> "list[Table]":
    """The tables of all experiments with results; stderr names those that have no recipe or no such scale."""
    from rmem_cli.paths import results_root
    from rmem_cli.recipe import list_recipes, load_recipe
    from rmem_cli.results.store import ResultStore

    tables = []
    experiments = ResultStore(results_root()).experiments()
    recipes = list_recipes()
    for experiment in experiments:
        if experiment not in recipes:
            _say(f"{experiment} has results but no recipe of this name; give the path of its recipe.")
        elif scale is not None and scale not in load_recipe(experiment).scales:
            _say(f"{experiment} has no scale {scale}.")
        else:
            tables += _named([experiment], scale)
    if not experiments:
        _say(
            f"There are no results in {results_root()} yet; "
            "`rmem report NAME` shows the published numbers of a recipe without them."
        )
    return tables


def _format(name: FormatName | None, out: Path | None) -> "Format":
    """The format asked for, else that of the file's suffix, else the terminal's."""
    from rmem_cli.report.formats import FORMATS

    if name is not None:
        return FORMATS[name.value]
    by_suffix = {one.suffix: one for one in FORMATS.values()}
    return by_suffix.get("" if out is None else out.suffix, FORMATS[FormatName.TERMINAL.value])


def _write(tables: "Sequence[Table]", chosen: "Format", out: Path) -> None:
    """Write one file if `out` has a suffix, else a folder with a file for each experiment."""
    is_folder = out.is_dir() or not out.suffix
    if not is_folder and len(tables) != 1:
        raise UsageError(f"--out {out} is one file, and there are {len(tables)} experiments; name a folder")
    try:
        (out if is_folder else out.parent).mkdir(parents=True, exist_ok=True)
        for table in tables:
            path = out / f"{table.experiment}{chosen.suffix}" if is_folder else out
            with path.open("w", encoding="utf-8", newline="") as file:
                chosen.write([table], file)
            _say(f"wrote {path}")
    except OSError as error:
        raise UsageError(
            f"--out {out} cannot be written ({error.strerror or error}); name another"
        ) from error


def _refuse_out_of_tolerance(tables: "Sequence[Table]") -> None:
    found = [
        f"{table.experiment} {line.title}: {section.metric} is {line.comparison.verdict.outcome}"
        for table in tables
        for section, line in table.out_of_tolerance()
        if line.comparison is not None
    ]
    if found:
        raise OutOfToleranceError("Out of tolerance:\n" + "\n".join(found))


def _say(text: str) -> None:
    typer.echo(text, err=True)
