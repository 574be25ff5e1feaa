"""`rmem runs`: the run folders that there are."""

from typing import TYPE_CHECKING, Annotated

import typer

from rmem_cli.commands import completion
from rmem_cli.commands.options import AsJson

if TYPE_CHECKING:
    from rmem_cli.records.listing import FoundRun

runs = typer.Typer(
    help="List and remove the folders of runs, with their checkpoints; results stay.", no_args_is_help=True
)


@runs.command("list")
def list_runs(
    as_json: AsJson = False,
) -> None:
    """List the folders of runs: how each run ended or how far it is, its size and its age.

    With --json: a list of objects with name, path, status (null if it has not begun), step, message, bytes
    and age_seconds.
    """
    from rmem_cli.commands.lists import print_records
    from rmem_cli.json_text import json_text
    from rmem_cli.paths import runs_root
    from rmem_cli.records.listing import found_runs
    from rmem_cli.report.wording import duration

    found = found_runs(runs_root())
    if as_json:
        typer.echo(json_text([_as_json(run) for run in found]))
        return
    print_records(
        {"run": run.name, "status": _status(run), "size": _size(run.size), "age": duration(run.age)}
        for run in found
    )
    typer.echo(f"{_count(found)} in {runs_root()}, {_size(sum(run.size for run in found))}", err=True)


@runs.command("rm")
def remove_runs(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN...",
            help="Names as in `rmem runs list`, or their beginning up to a slash.",
            autocompletion=completion.run_names,
        ),
    ],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete the folders of runs, with their checkpoints; the results stay where they are.

    A run that a process is working on is left alone. What was deleted cannot be evaluated or sampled any more
    without being trained again.
    """
    import sys

    from rmem_cli.errors import UsageError
    from rmem_cli.paths import runs_root
    from rmem_cli.records.folder import RunBusyError
    from rmem_cli.records.listing import found_runs, named_runs, remove_run

    root = runs_root()
    found = found_runs(root)
    for name in names:
        if not named_runs(found, [name]):
            raise UsageError(f"there is no run {name!r} in {root}; `rmem runs list` names all")
    chosen = named_runs(found, names)
    if not yes:
        if not sys.stdin.isatty():
            raise UsageError(f"{_count(chosen)} would be deleted and nobody is here to ask; give --yes")
        for run in chosen:
            typer.echo(f"{run.name} ({_status(run)}, {_size(run.size)})", err=True)
        if not typer.confirm(f"delete {_count(chosen)}?", err=True):
            return
    busy = []
    for run in chosen:
        try:
            remove_run(root, run)
        except RunBusyError as error:
            busy.append(str(error))
    typer.echo(f"deleted {len(chosen) - len(busy)} of {_count(chosen)}", err=True)
    if busy:
        raise UsageError("\n".join(busy))


def _as_json(run: "FoundRun") -> dict[str, object]:
    status = run.status
    return {
        "name": run.name,
        "path": str(run.path),
        "status": None if status is None else status.status,
        "step": None if status is None else status.step,
        "message": None if status is None else status.message,
        "bytes": run.size,
        "age_seconds": round(run.age),
    }


def _status(run: "FoundRun") -> str:
    if run.status is None:
        return "not begun"
    return f"{run.status.status.replace('_', ' ')} at step {run.status.step}"


def _count(runs: "list[FoundRun]") -> str:
    return f"{len(runs)} run{'s' * (len(runs) != 1)}"


def _size(size: float) -> str:
    for unit in ("bytes", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"
