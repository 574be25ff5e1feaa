"""`rmem export`: a trained model as a folder of its own."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from rmem_cli.commands import completion
from rmem_cli.commands.options import AllowedModules, named_path

if TYPE_CHECKING:
    from rmem_cli.recipe import Recipe
    from rmem_cli.records.listing import FoundRun
    from rmem_cli.results.row import ResultRow
    from rmem_cli.runs.export import Exportable


def export(
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN",
            help="A run, named as in `rmem runs list`, or its beginning up to a slash, if that is one run.",
            autocompletion=completion.run_names,
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            metavar="FOLDER",
            parser=named_path,
            help="Where to; a new folder, or an empty one.",
            show_default=False,
        ),
    ],
    checkpoint: Annotated[
        Literal["best", "last"] | None,
        typer.Option(help="Which checkpoint.", show_default="the one that the run's first evaluation takes"),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            "--recipe",
            metavar="FILE",
            help="The recipe's file, if it is not found by its name: for titles and published numbers.",
            show_default=False,
        ),
    ] = None,
    allow_module: AllowedModules = None,  # noqa: ARG001  its callback takes note of it
) -> None:
    """Write a trained model as a folder of its own, with settings, tokenizer and a model card.

    It needs neither the run nor the recipe any more: `rmem sample FOLDER` and `rmem eval FOLDER` use it, the
    latter with the data; and `from rmem_cli import load` in a program of your own.

    For example: rmem export rum_ptb_char/rum_1000 --out rum_1000
    """
    from rmem_cli.paths import results_root
    from rmem_cli.records.exported import check_free, write_exported
    from rmem_cli.results.store import ResultStore
    from rmem_cli.runs.export import exportable, run_named, spec_of
    from rmem_cli.visible import one_line

    check_free(out)
    found = run_named(run)
    known = _recipe(recipe, found)
    made = exportable(found, spec_of(found, known), checkpoint)
    rows = ResultStore(results_root()).read(made.spec.experiment)
    write_exported(
        out, made.description, made.spec, made.tokenizer, made.weights, _card(out, made, known, found, rows)
    )
    typer.echo(one_line(f"exported {found.name} ({made.description.checkpoint}) to {out}"), err=True)


def _recipe(name: str | None, run: "FoundRun") -> "Recipe | None":
    """The recipe that a run is of: that which was named, or that of the run's experiment, if it is here."""
    from rmem_cli.recipe import load_recipe
    from rmem_cli.recipe.library import list_recipes

    experiment = run.name.split("/")[0]
    return load_recipe(name or experiment) if name or experiment in list_recipes() else None


def _card(
    folder: Path, made: "Exportable", recipe: "Recipe | None", run: "FoundRun", rows: "list[ResultRow]"
) -> str:
    from rmem_cli.data.prepared import read_prepared
    from rmem_cli.report.card import About, model_card
    from rmem_cli.results.run_names import run_name
    from rmem_cli.visible import visible

    description = made.description
    prepared = [read_prepared(*each).meta for each in made.spec.settings.task.data_sets()]
    data = [(each["name"], each["licence"], each["citation"]) for each in prepared]
    about = About(
        spec=made.spec,
        folder=visible(folder.absolute().name),
        checkpoint=description.checkpoint,
        step=description.step,
        parameters=made.parameters,
        has_text=made.tokenizer is not None,
        modules=made.modules,
        data=list(dict.fromkeys(data)),  # each once, however many forms of it are read
        rmem_version=description.rmem_version,
        torch_version=description.environment.torch_version,
    )
    own = [row for row in rows if run_name(row) == run.name and row.checkpoint == description.checkpoint]
    return model_card(about, [row for row in own if row.value is not None], recipe, rows)
