"""`rmem plot`: pictures of results and of models."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from rmem_cli.commands import completion
from rmem_cli.commands.options import AllowedModules, Cells, Device, Overrides, Rows, Scale, named_path
from rmem_cli.commands.outputs import is_folder, unwritable
from rmem_cli.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rmem_cli.recipe import RunSpec
    from rmem_cli.report.experiments import Experiments
    from rmem_cli.report.figure import Figure, Landscape
    from rmem_cli.report.table import Table

plot = typer.Typer(
    help="Draw results and models: learning curves, sweeps, tasks, costs, angles, landscapes of the loss.",
    no_args_is_help=True,
)


class FormName(StrEnum):
    """The values of --format."""

    PNG = "png"
    SVG = "svg"
    PDF = "pdf"


Names = Annotated[
    list[str],
    typer.Argument(
        metavar="RECIPE...", help="Recipes, by name or path.", autocompletion=completion.recipe_names
    ),
]
Name = Annotated[
    str,
    typer.Argument(
        metavar="RECIPE",
        help="A recipe's name, or the path of its file.",
        autocompletion=completion.recipe_names,
    ),
]
OneScale = Annotated[
    str | None,
    typer.Option(
        "--scale",
        metavar="NAME",
        help="This scale only.",
        show_default="all with results",
        autocompletion=completion.scale_names,
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        metavar="PATH",
        parser=named_path,
        help="A file (.png, .svg, .pdf), or a folder of them.",
        show_default="plots",
    ),
]
Form = Annotated[
    FormName | None,
    typer.Option("--format", help="Form of the pictures.", show_default="by the ending of --out, else png"),
]


@plot.command("curves")
def plot_curves(
    names: Names, scale: OneScale = None, row: Rows = None, out: Out = None, form: Form = None
) -> None:
    """Learning curves: each seed of each row, and the published curve where there is one."""
    from rmem_cli.report.figures import learning_curves

    def curves(experiments: "Experiments", name: str, table: "Table") -> "list[Figure]":
        return learning_curves(table, experiments.joined(name, scale).results, experiments.curves)

    _plot_results("learning curve", curves, names, scale, row, out, form)


@plot.command("sweep")
def plot_sweep(
    names: Names, scale: OneScale = None, row: Rows = None, out: Out = None, form: Form = None
) -> None:
    """Scores over a number that the recipe varies, such as a length or a learning rate."""
    from rmem_cli.report.figures import sweeps

    _plot_results("score at two numbers", lambda _, __, table: sweeps(table), names, scale, row, out, form)


@plot.command("tasks")
def plot_tasks(
    names: Names, scale: OneScale = None, row: Rows = None, out: Out = None, form: Form = None
) -> None:
    """Many tasks, such as the twenty of bAbI, as bars, ours beside the published ones."""
    from rmem_cli.report.figures import tasks

    _plot_results("row with many tasks", lambda _, __, table: tasks(table), names, scale, row, out, form)


@plot.command("costs")
def plot_costs(
    names: Names, scale: OneScale = None, row: Rows = None, out: Out = None, form: Form = None
) -> None:
    """Score against training time, a point for each row."""
    from rmem_cli.report.figures import costs

    _plot_results("score of two rows", lambda _, __, table: costs(table), names, scale, row, out, form)


@plot.command("angles")
def plot_angles(
    recipe: Name,
    row: Rows = None,
    cell: Cells = None,
    seed: Annotated[
        int | None, typer.Option("--seed", help="The run's seed.", show_default="the first of the recipe")
    ] = None,
    scale: Scale = "paper",
    steps: Annotated[int, typer.Option("--steps", min=1, help="How many steps of the batch, at most.")] = 200,
    checkpoint: Annotated[
        Literal["best", "last"] | None,
        typer.Option(help="Which checkpoint.", show_default="best, or last if there is none"),
    ] = None,
    device: Device = "cpu",
    overrides: Overrides = None,
    out: Out = None,
    form: Form = None,
    allow_module: AllowedModules = None,  # noqa: ARG001  its callback takes note of it
) -> None:
    """The angles by which trained rotational units turn their state, over the steps of a test batch."""
    _check_form(out, form)
    from rmem_cli.recipe import load_recipe

    seeds = None if seed is None else [seed]
    specs = _first_seeds(load_recipe(recipe).runs(scale, row, seeds, overrides or [], cell or []))
    chosen = specs if row or cell else _that_turn(specs, ["rum"])

    from rmem_cli.analysis.pictures import angles_over_time
    from rmem_cli.runs.machine import choose_machine

    machine = choose_machine(device, jobs=1)
    _write([angles_over_time(spec, machine, checkpoint, steps) for spec in chosen], out, form)


@plot.command("landscape")
def plot_landscape(
    recipe: Name,
    row: Rows = None,
    cell: Cells = None,
    seed: Annotated[
        int | None,
        typer.Option("--seed", help="Of weights, batch, and places.", show_default="the first of the recipe"),
    ] = None,
    scale: Scale = "paper",
    device: Device = "cpu",
    overrides: Overrides = None,
    out: Out = None,
    form: Form = None,
    allow_module: AllowedModules = None,  # noqa: ARG001  its callback takes note of it
) -> None:
    """The loss of the first batch over the parameters that turn the state, untrained: a line and a plane.

    Of rows whose core is rum, goru or eunn. As in the published code, the places are drawn from -10 to 10.
    """
    _check_form(out, form)
    from rmem_cli.recipe import load_recipe

    seeds = None if seed is None else [seed]
    specs = _first_seeds(load_recipe(recipe).runs(scale, row, seeds, overrides or [], cell or []))
    chosen = specs if row or cell else _that_turn(specs, ["rum", "goru", "eunn"])

    from rmem_cli.analysis.pictures import landscapes
    from rmem_cli.runs.machine import choose_machine

    _write(landscapes(chosen, choose_machine(device, jobs=1)), out, form)


def _plot_results(
    what: str,
    draw: "Callable[[Experiments, str, Table], list[Figure]]",
    names: "Sequence[str]",
    scale: str | None,
    rows: "Sequence[str] | None",
    out: Path | None,
    form: FormName | None,
) -> None:
    """Draw what there is of results, or say that there is nothing."""
    _check_form(out, form)
    from dataclasses import replace

    from rmem_cli.paths import results_root
    from rmem_cli.report.experiments import Experiments

    experiments = Experiments(results_root())
    pictures: list[Figure] = []
    for name in dict.fromkeys(names):
        table = _with_rows(experiments, name, experiments.table(name, scale), rows)
        found = draw(experiments, name, table)
        if not found:
            raise UsageError(_nothing_to_draw(what, name, scale, rows, table))
        pictures += [replace(one, title=f"{table.experiment}: {one.title}") for one in found]
    _write(pictures, out, form)


def _with_rows(
    experiments: "Experiments", name: str, table: "Table", rows: "Sequence[str] | None"
) -> "Table":
    """The table with the results of some rows only."""
    if not rows:
        return table
    recipe = experiments.recipe(name)
    return table.only({recipe.row(row).id for row in rows})


def _nothing_to_draw(
    what: str, name: str, scale: str | None, rows: "Sequence[str] | None", table: "Table"
) -> str:
    from rmem_cli.paths import results_root

    at = f" at scale {scale}" if scale is not None else ""
    of = f" of {', '.join(rows)}" if rows else ""
    options = "".join([f" --scale {scale}" if scale else "", *(f" --row {row}" for row in rows or ())])
    if not any(line.has_run for section in table.sections for line in section.lines):
        return (
            f"{table.experiment} has no results{of}{at} in {results_root()} to draw; "
            f"`rmem train {name}{options}` makes some, and RMEM_RESULTS names another folder"
        )
    there = f"`rmem report {name}` shows what there is"
    return f"{table.experiment} has results{of}{at}, but no {what} to draw; {there}"


def _first_seeds(specs: "Sequence[RunSpec]") -> "list[RunSpec]":
    """The first seed of each row and matrix cell."""
    return list({(spec.row, spec.cell): spec for spec in reversed(specs)}.values())[::-1]


def _that_turn(specs: "Sequence[RunSpec]", kinds: "Sequence[str]") -> "list[RunSpec]":
    """The runs whose core is one of some kinds."""
    cores = [spec.settings.model.core for spec in specs]
    found = [spec for spec, core in zip(specs, cores, strict=True) if core is not None and core.kind in kinds]
    if not found:
        raise UsageError(
            f"no row of {specs[0].experiment} has a core {' or '.join(kinds)} at scale {specs[0].scale}; "
            "name another recipe, or a row with --row whose core has such cells"
        )
    return found


def _check_form(out: Path | None, form: FormName | None) -> None:
    """Whether there is matplotlib, and a form to write in."""
    from importlib.util import find_spec

    if find_spec("matplotlib") is None:
        raise UsageError(
            "rmem plot draws with matplotlib, which is not installed: `pip install 'rmem[plot]'`"
        )
    if out is not None and form is None and not is_folder(out) and _suffix(out) not in list(FormName):
        raise UsageError(
            f"--out {out}: there is no form {out.suffix} of pictures; there are "
            f"{', '.join(f'.{one}' for one in FormName)}, and --format names one for any file"
        )


def _suffix(out: Path) -> str:
    return out.suffix.lower().removeprefix(".")


def _write(pictures: "Sequence[Figure | Landscape]", out: Path | None, form: FormName | None) -> None:
    """Write pictures: one file, or a folder with a file for each."""
    from rmem_cli.files import write_atomically
    from rmem_cli.report.drawing import drawn
    from rmem_cli.visible import visible

    out = Path("plots") if out is None else out
    folder = is_folder(out)
    if not folder and len(pictures) > 1:
        raise UsageError(f"--out {out} is one file, and there are {len(pictures)} pictures; name a folder")
    chosen = form or (FormName.PNG if folder else FormName(_suffix(out)))
    try:
        (out if folder else out.parent).mkdir(parents=True, exist_ok=True)
        for picture in pictures:
            path = out / f"{picture.name}.{chosen}" if folder else out
            write_atomically(path.resolve(), drawn(picture, chosen))  # a link stays one
            typer.echo(visible(f"wrote {path}"), err=True)
    except OSError as error:
        raise unwritable(out, error) from error
