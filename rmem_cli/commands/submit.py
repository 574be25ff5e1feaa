"""`rmem submit`: hand the runs of experiments to a cluster."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from rmem_cli.commands.options import (
    AllowedModules,
    Cells,
    Device,
    Overrides,
    Recipes,
    Rows,
    Scale,
    Seeds,
    WhichAgain,
    named_path,
)


def submit(
    recipes: Recipes,
    cluster: Annotated[
        Literal["slurm", "local"], typer.Option(help="Slurm, or processes of this machine.")
    ] = "slurm",
    profile: Annotated[
        Path | None,
        typer.Option(
            "--profile",
            metavar="FILE",
            parser=named_path,
            help="YAML file of what each job gets: partition, account, minutes, gpus, processes, cores, "
            "memory_gb, at_once, requeues, setup.",
        ),
    ] = None,
    row: Rows = None,
    cell: Cells = None,
    seed: Seeds = None,
    scale: Scale = "paper",
    device: Device = "cpu",
    overrides: Overrides = None,
    rerun: WhichAgain = "missing",
    allow_module: AllowedModules = None,  # noqa: ARG001  its callback takes note of it
) -> None:
    """Hand every row and seed of recipes that has no result yet to a cluster, as one array of jobs.

    Where a recipe searches values of its matrix, submit it again when the candidates have ended: what their
    validations choose is trained then with the other seeds.

    A job whose time is up, or that is pre-empted, goes back into the queue and on from its last checkpoint.
    `rmem status` shows them all; folders of data, runs and results must be those of the machines of the
    cluster. Submit runs again only when their jobs have ended.
    """
    from rmem_cli.commands.searched import chosen_in, tell_to_come
    from rmem_cli.models.own_core import check_own_cores
    from rmem_cli.recipe import load_recipe
    from rmem_cli.runs.cluster import read_profile
    from rmem_cli.runs.cluster import submit as hand_over
    from rmem_cli.runs.equal import each_once
    from rmem_cli.runs.experiment import missing_runs

    asked = read_profile(profile)
    loaded = [load_recipe(name) for name in dict.fromkeys(recipes)]
    specs = [one for recipe in loaded for one in recipe.runs(scale, row, seed, overrides or [], cell or [])]
    missing = missing_runs(specs, rerun)
    chosen, to_come = chosen_in(loaded if seed is None else [], specs, pending=missing)
    specs += chosen
    todo, _ = each_once([*missing, *missing_runs(chosen, rerun)])
    check_own_cores(todo)
    typer.echo(f"runs to do: {len(todo)} of {len(specs)}", err=True)
    tell_to_come(to_come)
    if todo:
        numbers = hand_over(todo, cluster, asked, device, repeat=rerun != "missing")
        for spec, number in zip(todo, numbers, strict=True):
            typer.echo(f"{number}\t{spec.label}")
