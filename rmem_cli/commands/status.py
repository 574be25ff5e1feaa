"""`rmem status`: how far runs are, wherever they run."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from rmem_cli.commands import completion
from rmem_cli.commands.options import AsJson

if TYPE_CHECKING:
    from rmem_cli.records.listing import FoundRun


def status(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RUN]...",
            help="Only these, named as in `rmem runs list`, or by their beginning up to a slash.",
            autocompletion=completion.run_names,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show how far every run is, on whatever machine that writes to the same folder of runs.

    A run that is being trained says so every few seconds; one that has not for a minute, or ten steps, is
    silent: its process was killed, or evaluates.

    With --json: a list of objects with name, state, step, total, seconds_per_step, seconds_left, metric,
    host, silent_seconds and message; null where nothing is known.
    """
    from rmem_cli.commands.lists import print_records
    from rmem_cli.errors import UsageError
    from rmem_cli.json_text import json_text
    from rmem_cli.paths import runs_root
    from rmem_cli.records.listing import found_runs, named_runs

    found = found_runs(runs_root())
    wanted = [name.rstrip("/") for name in names or []]
    for name in wanted:
        if not named_runs(found, [name]):
            raise UsageError(f"there is no run {name!r} in {runs_root()}; `rmem runs list` names all")
    told = [_told(run) for run in (named_runs(found, wanted) if wanted else found)]
    if as_json:
        typer.echo(json_text(told))
        return
    print_records(_in_words(run) for run in told)
    states = [run["state"] for run in told]
    counts = (f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    typer.echo(", ".join(counts) or f"no run is in {runs_root()}", err=True)


def _told(run: "FoundRun") -> dict[str, Any]:
    """What is known of a run."""
    from rmem_cli.records.pulse import read_pulse

    pulse, status = read_pulse(run.path), run.status
    going = pulse if status is not None and status.status == "running" else None
    state = "not begun" if status is None else status.status.replace("_", " ")
    return {
        "name": run.name,
        "state": "silent" if going is not None and going.is_silent else state,
        "step": going.step if going else None if status is None else status.step,
        "total": None if pulse is None else pulse.total,
        "seconds_per_step": None if pulse is None else pulse.seconds_per_step,
        "seconds_left": None if going is None else going.seconds_left,
        "metric": None if pulse is None else pulse.metric,
        "host": None if pulse is None else pulse.host,
        "silent_seconds": None if going is None else round(going.age),
        "message": None if status is None else status.message,
    }


def _in_words(told: dict[str, Any]) -> dict[str, str]:
    from rmem_cli.report.wording import duration

    total, rate = told["total"], told["seconds_per_step"]
    silent = f"silent for {duration(told['silent_seconds'])}; the same command goes on"
    return {
        "run": told["name"],
        "state": told["state"],
        "step": "" if told["step"] is None else f"{told['step']}{f'/{total}' if total else ''}",
        "speed": f"{1 / rate:.3g} steps/s" if rate else "",
        "left": duration(told["seconds_left"]),
        "metric": told["metric"] or "",
        "host": told["host"] or "",
        "last word": told["message"] or (silent if told["state"] == "silent" else ""),
    }
