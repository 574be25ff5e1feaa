"""`rmem report`: tables of results beside the published numbers."""

import sys
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rmem_cli.commands.options import named_path
from rmem_cli.errors import OutOfToleranceError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import IO

    from rmem_cli.recipe import Recipe
    from rmem_cli.report.citations import Readings
    from rmem_cli.report.core_grid import CoreGrid
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
        typer.Option("--format", help="How to write them; by the ending of --out, else for a terminal."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="PATH",
            parser=named_path,
            help="Write a file (.txt, .md, .csv or .json), or a folder with a file per experiment.",
        ),
    ] = None,
    scale: Annotated[
        str | None, typer.Option("--scale", metavar="NAME", help="Show this scale only.")
    ] = None,
    grid: Annotated[
        bool,
        typer.Option(
            "--grid", help="One table of every core in every experiment: the best result of each core."
        ),
    ] = False,
    published: Annotated[
        Path | None,
        typer.Option(
            "--published",
            metavar="FILE",
            parser=named_path,
            help="Published numbers that you have read in the papers; published.yaml beside the results, if "
            "it is there.",
        ),
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
    chosen = _format(format_name, out)
    if grid:
        if strict:
            raise UsageError("--strict judges the tables of experiments, not --grid; leave one of them out")
        cores = _core_grid(names, scale)
        _tell_missing_results()
        if out is None:
            chosen.write_core_grid(cores, sys.stdout)
        else:
            _write({"grid": partial(chosen.write_core_grid, cores)}, chosen, out)
        return
    readings = readings_of(published)
    tables = _named(names, scale, readings) if names else _all(scale, readings)
    _tell_missing_results()
    if out is None:
        chosen.write(tables, sys.stdout)
    else:
        _write({table.experiment: partial(chosen.write, [table]) for table in tables}, chosen, out)
    if strict:
        _refuse_out_of_tolerance(tables)


def _tell_missing_results() -> None:
    """Say that the folder of results is not there, if it is not."""
    from rmem_cli.paths import results_root

    folder = results_root()
    if not folder.exists():
        _say(
            f"There is no folder {folder}, and so there are no results; if they are elsewhere, "
            "name that folder in RMEM_RESULTS."
        )


def _core_grid(names: "Sequence[str] | None", scale: str | None) -> "CoreGrid":
    """The grid of the experiments named, or of all there are that have the scale."""
    from rmem_cli.paths import results_root
    from rmem_cli.recipe import list_recipes, load_recipe
    from rmem_cli.report.core_grid import build_core_grid
    from rmem_cli.results.store import ResultStore

    recipes = [load_recipe(name) for name in dict.fromkeys(names or list_recipes())]
    if not names:
        recipes = [recipe for recipe in recipes if scale is None or scale in recipe.scales]
    store = ResultStore(results_root())
    return build_core_grid([(recipe, store.read(recipe.name)) for recipe in recipes], scale)


def _named(names: "Sequence[str]", scale: str | None, readings: "Readings") -> "list[Table]":
    from rmem_cli.recipe import load_recipe

    return [table_of(load_recipe(name), scale, readings) for name in dict.fromkeys(names)]


def table_of(recipe: "Recipe", scale: str | None, readings: "Readings") -> "Table":
    """The table of a recipe with the results that there are.

    Args:
        recipe: The recipe.
        scale: Which of its scales; None: all.
        readings: What a reader filled in.
    """
    from rmem_cli.paths import results_root
    from rmem_cli.report.build import build_table
    from rmem_cli.results.curves import read_curve
    from rmem_cli.results.store import ResultStore

    root = results_root()
    rows = ResultStore(root).read(recipe.name)
    return build_table(recipe, rows, scale, curves=partial(read_curve, root), readings=readings)


def _all(scale: str | None, readings: "Readings") -> "list[Table]":
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
            tables += _named([experiment], scale, readings)
    if results_root().is_dir() and not experiments:
        _say(
            f"There are no results in {results_root()} yet; "
            "`rmem report NAME` shows the published numbers of a recipe without them."
        )
    return tables


def readings_of(path: Path | None) -> "Readings":
    """What a reader filled in: in the file named, else beside the results."""
    from rmem_cli.paths import results_root

    beside = results_root() / "published.yaml"
    if path is None and not beside.is_file():
        return {}
    from rmem_cli.report.readings import load_readings

    return load_readings(beside if path is None else path)


def _format(name: FormatName | None, out: Path | None) -> "Format":
    """The format asked for, else that of the file's ending, else the terminal's."""
    from rmem_cli.report.formats import FORMATS

    if name is not None:
        return FORMATS[name.value]
    if out is None or _is_folder(out):
        return FORMATS[FormatName.TERMINAL.value]
    by_suffix = {one.suffix: one for one in FORMATS.values()}
    if out.suffix.lower() not in by_suffix:
        raise UsageError(
            f"--out {out}: there is no form {out.suffix} yet; there are {', '.join(by_suffix)}, "
            "and --format names one for any file"
        )
    return by_suffix[out.suffix.lower()]


def _is_folder(out: Path) -> bool:
    return out.is_dir() or not out.suffix


def _write(documents: "Mapping[str, Callable[[IO[str]], None]]", chosen: "Format", out: Path) -> None:
    """Write one file if `out` has a suffix, else a folder with a file for each document by its name."""
    is_folder = _is_folder(out)
    if not is_folder and len(documents) != 1:
        raise UsageError(
            f"--out {out} is one file, and there are {len(documents)} experiments; name a folder"
        )
    paths = {name: out / f"{name}{chosen.suffix}" if is_folder else out for name in documents}
    _refuse_results(paths.values())
    try:
        (out if is_folder else out.parent).mkdir(parents=True, exist_ok=True)
        for name, write in documents.items():
            path = paths[name]
            with path.open("w", encoding="utf-8", newline="") as file:
                write(file)
            _say(f"wrote {path}")
    except OSError as error:
        raise UsageError(
            f"--out {out} cannot be written ({error.strerror or error}); name another"
        ) from error


def _refuse_results(paths: "Iterable[Path]") -> None:
    """What is a CSV file in the folder of results is the results themselves, or would be taken for some."""
    from rmem_cli.paths import results_root

    for path in paths:
        if path.suffix == ".csv" and path.parent.resolve() == results_root().resolve():
            raise UsageError(f"--out: {path} would stand among the results themselves; name another folder")


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
    from rmem_cli.visible import visible

    typer.echo(visible(text), err=True)
