"""`rmem report`: tables of results beside the published numbers."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rmem_cli.commands import completion
from rmem_cli.commands.options import named_path, refuse_choices
from rmem_cli.commands.outputs import is_folder, unwritable
from rmem_cli.errors import OutOfToleranceError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import IO

    from rmem_cli.recipe import RunSpec
    from rmem_cli.report.experiments import Experiments
    from rmem_cli.report.formats import Format
    from rmem_cli.report.table import Section, Table


class FormatName(StrEnum):
    """The values of --format."""

    TERMINAL = "terminal"
    MARKDOWN = "markdown"
    LATEX = "latex"
    HTML = "html"
    CSV = "csv"
    JSON = "json"


_TABLES = {
    "names": "the names",
    "scale": "--scale",
    "everything": "--all",
    "explain": "--explain",
    "grid": "--grid",
    "strict": "--strict",
}
"""What chooses among the tables of experiments, and what is told of them."""


@contextmanager
def _with_little_collected() -> Iterator[None]:
    """Meanwhile, Python seldom looks for circles of objects: many are made here, and hardly any is in one."""
    before = gc.get_threshold()
    gc.set_threshold(50_000, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


@_with_little_collected()
def report(
    context: typer.Context,
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME...]",
            help="Recipes, by name or path; the scoreboard of all published tables if none is named.",
            autocompletion=completion.recipe_names,
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
            help="Write a file (.txt, .md, .tex, .csv, .json), or a folder of them, or of pages.",
        ),
    ] = None,
    scale: Annotated[
        str | None,
        typer.Option(
            "--scale",
            metavar="NAME",
            help="Show this scale only.",
            autocompletion=completion.scale_names,
        ),
    ] = None,
    everything: Annotated[
        bool,
        typer.Option("--all", help="Rows that were not run, each protocol in full, notes and costs, too."),
    ] = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="The rule and the numbers behind each verdict, too.")
    ] = False,
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
    compare: Annotated[
        tuple[str, str] | None,
        typer.Option(
            "--compare",
            metavar="A B",
            help="Two sets of results: folders of results, commits, experiments, or EXPERIMENT/ROW.",
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

    Without names, it is the scoreboard of all published tables. The tables of all recipes with results come
    with --all or --explain, of one --scale, as csv, json or html, or as files of a folder (--out).

    A result is out of tolerance when its whole 95 % interval is: a better one than was published is as little
    reproduced as a worse one, and an inconclusive one is not refused.
    """
    from rmem_cli.paths import results_root
    from rmem_cli.report.experiments import Experiments
    from rmem_cli.report.readings import readings_of
    from rmem_cli.runs.timings import known_costs

    experiments = Experiments(results_root(), readings_of(results_root(), published))
    if compare is not None:
        refuse_choices(context, _TABLES, "--compare shows two sets of results")
        _compare(experiments, compare, _format(format_name, out), out)
        return
    if grid and explain:
        raise UsageError("--explain is about verdicts, and --grid has none; leave one of them out")
    if grid and (strict or format_name is FormatName.HTML):
        other = "--strict judges" if strict else "--format html shows"
        raise UsageError(f"{other} the tables of experiments, not --grid; leave one of them out")
    if grid:
        chosen = _format(format_name, out)
        cores = experiments.core_grid(_names_with(experiments, names, scale), scale)
        _tell_missing_results()
        _write({"grid": partial(chosen.write_core_grid, cores, everything)}, chosen, out)
        return
    found = list(dict.fromkeys(names or _measured(experiments, scale)))
    tables = [experiments.table(name, scale) for name in found]
    _tell_missing_results()
    if format_name is FormatName.HTML or (out is not None and out.suffix.lower() == ".html"):
        _write_site(experiments, found, tables, out)
    else:
        chosen = _format(format_name, out)
        alone = names is None and scale is None
        write = partial(chosen.write, everything=everything, explains=explain)
        documents = {table.experiment: partial(write, [table]) for table in tables}
        if alone and chosen.write_scoreboard is not None:
            # A file is the same wherever it is made, what runs take here is not.
            board = experiments.scoreboard(tables, known_costs() if out is None else _unknown_cost)
            shown = documents if everything or explain or is_folder(out) else {}
            documents = {"scoreboard": partial(chosen.write_scoreboard, board, everything), **shown}
        elif out is None and alone and chosen.write_all is not None:
            documents = {"": partial(chosen.write_all, tables, experiments.scoreboard(tables, known_costs()))}
        elif out is None:
            documents = {"": partial(write, tables)}
        _write(documents, chosen, out)
    if strict:
        _refuse_out_of_tolerance(tables)


def _compare(experiments: "Experiments", names: tuple[str, str], chosen: "Format", out: Path | None) -> None:
    """Write what two sets of results have in common."""
    from rmem_cli.report.contrast import contrasts, side
    from rmem_cli.report.contrast_layout import page

    if chosen.write_pages is None:
        raise UsageError(
            "--compare is written as terminal, markdown or latex; leave --format out, or name one"
        )
    first, second = (side(name, experiments.store) for name in names)
    shown = page(*names, contrasts(first, second)).finished()
    _write({"compare": partial(chosen.write_pages, [shown])}, chosen, out)


def _write_site(
    experiments: "Experiments", names: "Sequence[str]", tables: "list[Table]", out: Path | None
) -> None:
    """Write HTML pages for the experiments named, and the scoreboard of all."""
    if not is_folder(out) or out is None:
        raise UsageError("HTML is a folder of pages; name one, as in --format html --out site")
    shown = {table.experiment for table in tables}
    others = [name for name in experiments.with_results()[0] if name not in shown]
    board = experiments.scoreboard([*tables, *map(experiments.table, others)], _unknown_cost)
    try:
        out.mkdir(parents=True, exist_ok=True)
        written = experiments.site(out, list(names), tables, board)
    except OSError as error:
        raise unwritable(out, error) from error
    _say(f"wrote {len(written)} files; open {out / 'index.html'}")


def _names_with(experiments: "Experiments", names: "Sequence[str] | None", scale: str | None) -> list[str]:
    """The recipes named, or all there are, that have the scale.

    Raises:
        UsageError: None of them has it.
    """
    from rmem_cli.recipe import list_recipes

    asked = list(dict.fromkeys(names or list_recipes()))
    found = [name for name in asked if scale is None or scale in experiments.recipe(name).scales]
    if scale is not None and not found:
        _refuse_unknown_scale(experiments, asked, scale)
    return found


def _measured(experiments: "Experiments", scale: str | None) -> list[str]:
    """All experiments with results; stderr names those that have no recipe or no such scale.

    Raises:
        UsageError: Neither one of them nor a recipe of rmem has the scale.
    """
    from rmem_cli.recipe import list_recipes

    measured, unknown = experiments.with_results()
    for name in unknown:
        _say(f"{name} has results but no recipe of this name; give the path of its recipe.")
    without = [
        name for name in measured if scale is not None and scale not in experiments.recipe(name).scales
    ]
    if scale is not None and len(without) == len(measured):
        _refuse_unknown_scale(experiments, list_recipes(), scale)
    for name in without:
        _say(f"{name} has no scale {scale}.")
    folder = experiments.store.folder
    if folder.is_dir() and not measured and not unknown:
        _say(
            f"There are no results in {folder} yet; "
            "`rmem report NAME` shows the published numbers of a recipe without them."
        )
    return [name for name in measured if name not in without]


def _refuse_unknown_scale(experiments: "Experiments", names: "Sequence[str]", scale: str) -> None:
    """A scale that none of some recipes has is a slip.

    Raises:
        UsageError: It is one.
    """
    from rmem_cli.errors import closest

    known = {each: None for name in names for each in experiments.recipe(name).scales}
    if scale not in known:
        raise UsageError(f"no recipe has a scale {scale!r}; {closest(scale, known)}")


def _unknown_cost(spec: "RunSpec") -> None:
    del spec


def _tell_missing_results() -> None:
    """Say that the folder of results is not there, if it is not."""
    from rmem_cli.paths import results_root

    folder = results_root()
    if not folder.exists():
        _say(
            f"There is no folder {folder}, and so there are no results; if they are elsewhere, "
            "name that folder in RMEM_RESULTS."
        )


def _format(name: FormatName | None, out: Path | None) -> "Format":
    """The format asked for, else that of the file's ending, else the terminal's."""
    from rmem_cli.report.formats import FORMATS

    if name is not None:
        return FORMATS[name.value]
    if out is None or is_folder(out):
        return FORMATS[FormatName.TERMINAL.value]
    by_suffix = {one.suffix: one for one in FORMATS.values()}
    if out.suffix.lower() not in by_suffix:
        raise UsageError(
            f"--out {out}: there is no form {out.suffix} yet; there are {', '.join(by_suffix)}, "
            "and --format names one for any file"
        )
    return by_suffix[out.suffix.lower()]


def _write(documents: "Mapping[str, Callable[[IO[str]], None]]", chosen: "Format", out: Path | None) -> None:
    """Print documents, or write them: one file if `out` has a suffix, else a folder with a file for each."""
    if out is None:
        for index, write in enumerate(documents.values()):
            sys.stdout.write("\n" * (index > 0))
            write(sys.stdout)
        return
    folder = is_folder(out)
    if not folder and len(documents) != 1:
        raise UsageError(f"--out {out} is one file, and there are {len(documents)} reports; name a folder")
    paths = {name: out / f"{name}{chosen.suffix}" if folder else out for name in documents}
    _refuse_results(paths.values())
    try:
        (out if folder else out.parent).mkdir(parents=True, exist_ok=True)
        for name, write in documents.items():
            path = paths[name]
            with path.open("w", encoding="utf-8", newline="") as file:
                write(file)
            _say(f"wrote {path}")
    except OSError as error:
        raise unwritable(out, error) from error


def _refuse_results(paths: "Iterable[Path]") -> None:
    """What is a CSV file in the folder of results is the results themselves, or would be taken for some."""
    from rmem_cli.paths import results_root

    for path in paths:
        if path.suffix == ".csv" and path.parent.resolve() == results_root().resolve():
            raise UsageError(f"--out: {path} would stand among the results themselves; name another folder")


def _refuse_out_of_tolerance(tables: "Sequence[Table]") -> None:
    found = [
        f"{table.experiment} {line.title}: {_measured_where(section)} is {line.comparison.verdict.outcome}"
        for table in tables
        for section, line in table.out_of_tolerance()
        if line.comparison is not None
    ]
    if found:
        raise OutOfToleranceError("Out of tolerance:\n" + "\n".join(found))


def _measured_where(section: "Section") -> str:
    return " ".join(filter(None, (section.cell, section.part, section.metric)))


def _say(text: str) -> None:
    from rmem_cli.visible import visible

    typer.echo(visible(text), err=True)
