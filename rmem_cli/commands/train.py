"""`rmem train`: bring the runs of experiments up to date."""

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from rmem_cli.commands import completion
from rmem_cli.commands.options import (
    CHOICES,
    AllowedModules,
    Cells,
    Device,
    Overrides,
    Rows,
    Scale,
    Seeds,
    WhichAgain,
    refuse_choices,
)

if TYPE_CHECKING:
    from rmem_cli.recipe import Recipe, RunSpec
    from rmem_cli.report.citations import Readings
    from rmem_cli.runs.experiment import Failure, Rerun
    from rmem_cli.runs.machine import Machine


_CHOICES = {**CHOICES, "rerun": "--rerun", "overrides": "--set"}


def train(
    context: typer.Context,
    recipes: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RECIPE...",
            help="Recipes: names as in `rmem list`, or YAML files.",
            autocompletion=completion.recipe_names,
        ),
    ] = None,
    row: Rows = None,
    cell: Cells = None,
    seed: Seeds = None,
    scale: Scale = "paper",
    device: Device = "cpu",
    overrides: Overrides = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Print what would be trained and what it would take; needs no data."),
    ] = False,
    measure: Annotated[
        bool, typer.Option("--measure", help="With --dry-run: time a few steps of each row before.")
    ] = False,
    rerun: WhichAgain = "missing",
    from_run: Annotated[
        str | None,
        typer.Option(
            "--from-run",
            metavar="RUN",
            help="The run behind results once more, named as by `rmem show`: its row, cell, scale and seed. "
            "RECIPE is its recipe's file, if that is not found by its name.",
            autocompletion=completion.result_names,
        ),
    ] = None,
    jobs: Annotated[
        int, typer.Option("--jobs", "-j", min=1, help="Runs at a time, each in its process.")
    ] = 1,
    nproc: Annotated[
        int,
        typer.Option(
            "--nproc",
            min=1,
            help="Processes that train each run together, each on its share of a batch, like torchrun's.",
        ),
    ] = 1,
    compile_core: Annotated[
        bool, typer.Option("--compile", help="Let torch.compile translate the core; for GPUs.")
    ] = False,
    deterministic: Annotated[
        Literal["off", "warn", "error"],
        typer.Option(help="Operations whose bits vary: allowed, told of on GPUs, or an error."),
    ] = "warn",
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Keep learning curves for TensorBoard, too.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the plan, or the tables, on stdout as JSON.")
    ] = False,
    allow_module: AllowedModules = None,  # noqa: ARG001  its callback takes note of it
) -> None:
    """Train every row and seed of a recipe that has no result yet, and print its table.

    Where the recipe searches values of its matrix, those that each row's validation chooses are trained after
    the candidates with the other seeds, unless --seed says with which, --cell takes some of the candidates
    alone, or --set makes runs custom.

    Stop it at any time and give the same command again: it goes on from the last checkpoints. As long as some
    of the runs have failed, now or before, the exit code says so.

    With --nproc N, or started by torchrun, N processes train each run together: on the batches that one would
    train on, each on some of the rows.

    With --dry-run, data that is not here is planned for in its known size. Runs that cannot be planned,
    because a pretrained model is not here, are named with the reason, and the others are planned; if there
    are no others, the command fails. Nothing is trained: times are those of steps that were timed on this
    machine, by --measure or by a run, or estimates.

    With --json, the tables as `rmem report --format json` has them. With --dry-run and --json, an object of
    device, threads, seconds (of all runs), rows, a list of objects with experiment, row, cell, scale, seeds,
    parameters, steps, batch_size, memory_mb, seconds_per_step, seconds (of a run), decoding_seconds and
    basis (measured or estimated), and refused, a list of objects with rows and reason.
    """
    from rmem_cli.errors import UsageError
    from rmem_cli.recipe import load_recipe

    if os.environ.get("RANK", "0") != "0":
        from rmem_cli.runs.together import follow

        follow(device, compile=compile_core, deterministic=deterministic)
        return
    if jobs > 1 and (nproc > 1 or "WORLD_SIZE" in os.environ):
        raise UsageError("--jobs is for runs side by side, --nproc and torchrun for one run; leave one out")
    if measure and not dry_run:
        raise UsageError("--measure times steps for a plan; give --dry-run, too")
    if from_run is not None:
        refuse_choices(context, _CHOICES, "--from-run is one run, the same again")
        _refuse_no_run(from_run)
        recipes, rerun = recipes or [from_run.split("/")[0]], "all"
    elif not recipes:
        context.fail("Missing argument: name a recipe (`rmem list` shows them), or a run with --from-run")
    loaded = [load_recipe(name) for name in dict.fromkeys(recipes)]
    if from_run is None:
        specs = [
            one for recipe in loaded for one in recipe.runs(scale, row, seed, overrides or [], cell or [])
        ]
    else:
        from rmem_cli.runs.again import run_again

        specs = [run_again(from_run, recipe) for recipe in loaded]

    from rmem_cli.runs.machine import choose_machine
    from rmem_cli.runs.together import local_processes, own_device

    processes = max(nproc, local_processes())
    own = own_device(device, 0) if processes > 1 else device
    machine = choose_machine(own, jobs * processes, compile=compile_core, deterministic=deterministic)
    searching = loaded if seed is None and from_run is None else []
    if dry_run:
        _print_plan(specs, searching, rerun, machine, measure=measure, as_json=as_json)
    else:
        machine = replace(machine, tensorboard=tensorboard)
        _bring_up_to_date(loaded, specs, searching, rerun, machine, jobs=jobs, nproc=nproc, as_json=as_json)


def _bring_up_to_date(
    recipes: "list[Recipe]",
    specs: "list[RunSpec]",
    searching: "list[Recipe]",
    rerun: "Rerun",
    machine: "Machine",
    *,
    jobs: int,
    nproc: int,
    as_json: bool,
) -> None:
    """Do the runs that have to be done, and those that the searches of some recipes choose; print the tables.

    Raises:
        RmemError: A run failed.
        typer.Exit: One has failed before.
    """
    from rich.console import Console

    from rmem_cli.commands.searched import chosen_in
    from rmem_cli.errors import RunsFailedError
    from rmem_cli.models.own_core import check_own_cores
    from rmem_cli.paths import results_root
    from rmem_cli.report.readings import readings_of
    from rmem_cli.runs.experiment import due_runs, failed_runs, train_runs
    from rmem_cli.runs.together import together

    console = Console(stderr=True)
    todo, equal = due_runs(specs, rerun)
    chosen, _ = chosen_in(searching, specs, pending=todo)
    due, also_equal = due_runs(chosen, rerun)
    specs, todo, equal = [*specs, *chosen], [*todo, *due], [*equal, *also_equal]
    check_own_cores(todo)
    if equal:
        console.print(f"taken over from equal runs in other tables: {len(equal)}", highlight=False)
    console.print(f"runs to do: {len(todo)} of {len(specs)}", highlight=False)
    failed_before = len(failed_runs(specs)) if rerun == "missing" else 0
    if failed_before:
        console.print(f"failed before: {failed_before}; --rerun failed repeats them", highlight=False)
    readings = readings_of(results_root())  # before, as a wrong one is refused
    done = list(todo)

    def chosen_now() -> "list[RunSpec]":
        chosen = [spec for spec in chosen_in(searching, specs)[0] if spec not in specs]
        further, _ = due_runs(chosen, rerun)
        if further:
            console.print(f"runs to do of what the searches chose: {len(further)}", highlight=False)
        done.extend(further)
        return further

    with together(machine, nproc) as machine:
        failures = train_runs(
            todo, machine, console, jobs=jobs, repeat=rerun != "missing", further=chosen_now
        )
    failed = [failure.spec for failure in failures]
    _print_tables(recipes, specs, failed, readings, "json" if as_json else "terminal")
    _raise_for(failures, len(done))
    if failed_before:
        raise typer.Exit(RunsFailedError.exit_code)


def _refuse_no_run(name: str) -> None:
    """What names no run is refused before a recipe is looked for by it.

    Raises:
        UsageError: It does not.
    """
    from rmem_cli.errors import UsageError
    from rmem_cli.results.run_names import may_begin_run_name

    if not may_begin_run_name(name):
        raise UsageError(
            f"--from-run {name}: this names no run; `rmem runs list` and reports have names such as "
            "rum_recall/lstm/length=50/paper-seed1-8d1f2c4af9c5"
        )


def _print_plan(
    specs: "list[RunSpec]",
    searching: "list[Recipe]",
    rerun: "Rerun",
    machine: "Machine",
    *,
    measure: bool,
    as_json: bool,
) -> None:
    """The time of all runs that would be done, then a line for each row: its size, and what it would cost.

    Raises:
        DataError: There are runs to do, and none of them can be planned.
    """
    from rmem_cli.commands.plans import planned_rows, print_json, print_rows, tell_refused, with_data
    from rmem_cli.commands.searched import chosen_in, tell_to_come
    from rmem_cli.data.prepared import opened_instead
    from rmem_cli.data_scripts.dataset import unwritten
    from rmem_cli.runs.experiment import due_runs

    with opened_instead(unwritten):
        there, absent, refused = with_data(specs)
        todo, _ = due_runs(there, rerun, write=False)
        chosen, to_come = chosen_in(searching, specs, pending=[*todo, *absent])
        todo += due_runs(chosen, rerun, write=False)[0]
        typer.echo(f"runs to do: {len(todo) + len(absent)} of {len(specs) + len(chosen)}", err=True)
        tell_to_come(to_come)
        _tell_unprepared(todo)
        rows, refused = planned_rows(todo, machine, refused, measure=measure)
    tell_refused(refused)
    if as_json:
        print_json(rows, refused, machine)
    else:
        print_rows(rows, machine)


def _tell_unprepared(specs: "list[RunSpec]") -> None:
    """Name the data sets that are not here."""
    from rmem_cli.data.prepared import open_prepared
    from rmem_cli.data.unwritten import UNPREPARED

    for name, form in sorted({each for spec in specs for each in spec.settings.task.data_sets()}):
        if open_prepared(name, form).data_hash == UNPREPARED:
            typer.echo(f"{name} ({form}) is not here; its known size will do for a plan", err=True)


def _print_tables(
    recipes: "list[Recipe]",
    specs: "list[RunSpec]",
    failed: "list[RunSpec]",
    readings: "Readings",
    format_name: str,
) -> None:
    """The tables of what was asked for; runs changed by --set have rows in the CSV, but stand in no table."""
    import sys

    from rmem_cli.paths import results_root
    from rmem_cli.report.experiments import Experiments
    from rmem_cli.report.formats import FORMATS
    from rmem_cli.visible import visible

    experiments = Experiments(results_root(), readings)
    scales = {spec.experiment: spec.scale for spec in specs}
    tables = []
    for recipe in recipes:
        if scales[recipe.name] in recipe.scales:
            tables.append(experiments.table_of(recipe, scales[recipe.name]))
        elif any(spec.experiment == recipe.name and spec not in failed for spec in specs):
            rows = results_root() / f"{recipe.name}.csv"
            told = f"Runs changed by --set stand in no table; their rows are in {rows}"
            typer.echo(visible(told), err=True)
    FORMATS[format_name].write(tables, sys.stdout)


def _raise_for(failures: "list[Failure]", runs: int) -> None:
    """End with the exit code of what went wrong.

    Raises:
        RmemError: A run failed.
    """
    from rmem_cli.errors import RunsFailedError

    if failures and runs > 1:
        errors = [str(failure.as_error()) for failure in failures]
        raise RunsFailedError("\n".join([f"{len(failures)} of {runs} runs failed", *errors]))
    if failures:
        raise failures[0].as_error()
