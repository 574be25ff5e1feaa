"""`rmem eval`: evaluate trained runs again, or by another protocol."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from rmem_cli.commands import completion
from rmem_cli.commands.options import (
    CHOICES,
    AllowedModules,
    AsJson,
    Cells,
    Device,
    Overrides,
    Rows,
    Scale,
    Seeds,
    is_exported,
    refuse_choices,
)

if TYPE_CHECKING:
    from rmem_cli.recipe import Recipe, RunSpec
    from rmem_cli.results.row import ResultRow


def evaluate(
    context: typer.Context,
    recipes: Annotated[
        list[str],
        typer.Argument(
            metavar="RECIPE...",
            help="Recipes: names as in `rmem list`, or YAML files; or folders that `rmem export` wrote.",
            autocompletion=completion.recipe_names,
        ),
    ],
    row: Rows = None,
    cell: Cells = None,
    seed: Seeds = None,
    scale: Scale = "paper",
    device: Device = "cpu",
    overrides: Overrides = None,
    checkpoint: Annotated[
        Literal["best", "last"] | None,
        typer.Option(help="Which checkpoint, whatever the recipe says.", show_default=False),
    ] = None,
    as_json: AsJson = False,
    allow_module: AllowedModules = None,  # noqa: ARG001  its callback takes note of it
) -> None:
    """Evaluate the checkpoints of trained runs and write the result rows.

    What the searches of a recipe have chosen is evaluated with all its seeds, unless --seed names others.

    Evaluations can be changed: --set eval.test.examples=100000, --set eval.test.task.length=400.

    Results of exported models are printed and not written: tables have what was trained here.

    With --json: an object of results, a list of objects with the columns of the result files by their names,
    and failures, a list of objects with run and message. If the only run fails, there is no output.
    """
    import dataclasses
    from functools import partial

    from rich.console import Console

    from rmem_cli.errors import RmemError, RunsFailedError
    from rmem_cli.json_text import json_text
    from rmem_cli.recipe import load_recipe
    from rmem_cli.visible import say

    console = Console(stderr=True)
    exported = [name for name in recipes if is_exported(name)]
    if exported:
        refuse_choices(context, CHOICES, f"{exported[0]} is one trained model")
    specs: list[RunSpec] = []
    for name in recipes:
        if name not in exported:
            specs += _runs(load_recipe(name), row, cell, seed, scale, overrides, checkpoint)

    from rmem_cli.records.exported import read_exported
    from rmem_cli.runs.experiment import progress_of
    from rmem_cli.runs.exported import evaluate_exported
    from rmem_cli.runs.machine import choose_machine
    from rmem_cli.runs.run import evaluate_run
    from rmem_cli.runs.signals import stop_requested

    machine = choose_machine(device, jobs=1)
    models = [read_exported(Path(name), overrides or []) for name in exported]
    for model in models:
        model.check_checkpoint(checkpoint)
    asked = [
        *((model.spec, partial(evaluate_exported, model)) for model in models),
        *((spec, partial(evaluate_run, spec)) for spec in specs),
    ]
    failures, results = [], []
    with stop_requested() as stop:
        for spec, evaluate_it in asked:
            try:
                rows = evaluate_it(machine, progress_of(spec, console), stop)
            except RmemError as error:
                if len(asked) == 1 or stop():
                    raise
                failures.append({"run": spec.label, "message": str(error)})
                continue
            results += [dataclasses.asdict(each) for each in rows]
            if not as_json:
                _print(spec, rows)
    if as_json:
        typer.echo(json_text({"results": results, "failures": failures}))
    for failure in failures:
        say(console, "{run}: {message}".format(**failure))
    if failures:
        raise RunsFailedError(f"{len(failures)} of {len(asked)} evaluations failed")


def _runs(
    recipe: "Recipe",
    row: list[str] | None,
    cell: list[str] | None,
    seed: list[int] | None,
    scale: str,
    overrides: list[str] | None,
    checkpoint: str | None,
) -> "list[RunSpec]":
    """The runs of a recipe that are asked for, and what its searches have chosen."""
    from rmem_cli.commands.searched import chosen_in

    sets = list(overrides or [])
    if checkpoint is not None:
        protocols = dict.fromkeys(p.name for spec in recipe.runs(scale) for p in spec.settings.eval)
        sets += [f"eval.{protocol}.checkpoint={checkpoint}" for protocol in protocols]
    runs = recipe.runs(scale, row, seed, sets, cell or [])
    return runs if seed else [*runs, *chosen_in([recipe], runs)[0]]


def _print(spec: "RunSpec", rows: "list[ResultRow]") -> None:
    from rmem_cli.visible import one_line

    for each in rows:
        value = "none" if each.value is None else f"{each.value:.6g}"
        what = " ".join(filter(None, (each.protocol, each.part, each.metric)))
        typer.echo(one_line(f"{spec.label}: {what} {value} {each.unit}"))
