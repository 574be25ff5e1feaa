"""What `rmem train --dry-run` says: the time of all runs, then a line for each row."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from rmem_cli.recipe import RunSpec
    from rmem_cli.runs.machine import Machine
    from rmem_cli.runs.opened import Run
    from rmem_cli.runs.plan import Plan


@dataclass(frozen=True)
class PlannedRow:
    """Runs that differ in their seed alone.

    Attributes:
        spec: The first of them.
        seeds: Of all.
        plan: Of each.
    """

    spec: "RunSpec"
    seeds: list[int]
    plan: "Plan"

    @property
    def seconds(self) -> float:
        """Time of all seeds, one after the other."""
        return len(self.seeds) * (self.plan.seconds + self.plan.decoding_seconds)


Refused = dict[str, dict[str, None]]  # why some rows cannot be planned, to their names


def with_data(specs: "Sequence[RunSpec]") -> "tuple[list[RunSpec], list[RunSpec], Refused]":
    """The runs whose data is here or of a known size, the others, and why these cannot be planned."""
    from rmem_cli.errors import DataError
    from rmem_cli.runs.identity import identity_of

    there, absent, refused = [], [], defaultdict[str, dict[str, None]](dict)
    for spec in specs:
        try:
            identity_of(spec)
            there.append(spec)
        except DataError as error:
            absent.append(spec)
            refused[str(error)][_named(spec)] = None
    return there, absent, dict(refused)


def planned_rows(
    specs: "Sequence[RunSpec]", machine: "Machine", refused_before: Refused, *, measure: bool
) -> tuple[list[PlannedRow], Refused]:
    """The plan of each row, and the rows that cannot be planned.

    Args:
        specs: Runs.
        machine: Where they would be computed.
        refused_before: What is known already to be among the latter.
        measure: Whether to time a few steps of each before.

    Raises:
        DataError: There are runs, and none of them can be planned.
        OutOfMemoryError: The same, for memory.
    """
    import torch

    from rmem_cli.errors import DataError, RmemError
    from rmem_cli.runs.opened import Tasks, open_run
    from rmem_cli.runs.peak_memory import OutOfMemoryError
    from rmem_cli.runs.plan import plan_of
    from rmem_cli.runs.timings import keep_cost

    torch.set_num_threads(machine.threads)
    device = torch.device(machine.device)
    kind: type[RmemError] = DataError
    planned: dict[int, PlannedRow] = {}
    refused = defaultdict[str, dict[str, None]](dict, refused_before)
    rows = _rows(specs)
    for places in _by_task(rows):
        tasks = Tasks()
        for place in places:
            runs = rows[place]
            try:
                run = open_run(runs[0], tasks)
                if measure:
                    _measure(run, device)
                plan = plan_of(run, device)
                keep_cost(run.spec, plan.seconds + plan.decoding_seconds)
                planned[place] = PlannedRow(run.spec, [each.seed for each in runs], plan)
            except (DataError, OutOfMemoryError) as error:
                kind = type(error)
                refused[str(error)][_named(runs[0])] = None
    if refused and not planned:
        raise kind("\n".join(_reasons(refused)))
    return [planned[place] for place in sorted(planned)], dict(refused)


def _rows(specs: "Sequence[RunSpec]") -> "list[list[RunSpec]]":
    """Runs, those together that differ in their seed alone."""
    rows: dict[tuple[str, str, str, str], list[RunSpec]] = defaultdict(list)
    for spec in specs:
        rows[spec.experiment, spec.row, spec.cell, spec.scale].append(spec)
    return list(rows.values())


def _by_task(rows: "Sequence[Sequence[RunSpec]]") -> list[list[int]]:
    """The places of rows of the same task, which is opened once for all of them."""
    places: dict[str, list[int]] = defaultdict(list)
    for place, runs in enumerate(rows):
        places[runs[0].settings.task.model_dump_json()].append(place)
    return list(places.values())


def _measure(run: "Run", device: object) -> None:
    from rmem_cli.runs.plan import measure_steps

    typer.echo(f"timing steps of {run.spec.row_label}", err=True)
    if not measure_steps(run, device):  # type: ignore[arg-type]
        typer.echo(f"{run.spec.row_label}: a step takes too long to be timed, or its steps differ", err=True)


def tell_refused(refused: Refused) -> None:
    """Say which rows cannot be planned, and why."""
    from rmem_cli.visible import visible

    for line in _reasons(refused):
        typer.echo(visible(line), err=True)


def _named(spec: "RunSpec") -> str:
    return f"{spec.experiment} {spec.row}"


def _reasons(refused: Refused) -> list[str]:
    return [f"cannot plan {', '.join(rows)}: {reason}" for reason, rows in refused.items()]


def print_rows(rows: Sequence[PlannedRow], machine: "Machine") -> None:
    """The time of all, then a line for each row."""
    from rmem_cli.report.wording import duration

    if not rows:
        return
    runs = sum(len(row.seeds) for row in rows)
    total = duration(sum(row.seconds for row in rows))
    typer.echo(
        f"{runs} run{'s' * (runs > 1)}, one after the other: about {total} on {machine.device}, "
        f"{machine.threads} thread{'s' * (machine.threads > 1)}"
    )
    for row in rows:
        plan, seeds = row.plan, len(row.seeds)
        each = f" each, {duration(row.seconds)} in all" if seeds > 1 else ""
        typer.echo(
            f"{row.spec.row_label}: {seeds} seed{'s' * (seeds > 1)}, {plan.parameters:,} parameters, "
            f"{_up_to(row.spec)}{plan.steps:,} steps of {plan.batch_size}, about {plan.memory_mb:,.0f} MB, "
            f"{duration(plan.seconds)}{_decoding(plan)}{each} ({_basis(plan)})"
        )
    typer.echo(
        "estimated: from the operations of a step, at the pace of small steps of its kind of core here; "
        "measured: steps like these were timed here (--measure times a few). Other evaluations come on top; "
        "memory is that of the numbers that a step keeps: at its peak it held 1.0 to 2.4 times as much where "
        "that was tried, beside some 400 MB of any process",
        err=True,
    )


def _up_to(spec: "RunSpec") -> str:
    """That a run may end before its last step."""
    train = spec.settings.train
    return "up to " if train.early_stopping is not None or train.stop_when_solved is not None else ""


def print_json(rows: Sequence[PlannedRow], refused: Refused, machine: "Machine") -> None:
    """The same as one document; `rmem train --help` lists its fields."""
    from rmem_cli.json_text import json_text

    found = [
        {
            "experiment": row.spec.experiment,
            "row": row.spec.row,
            "cell": row.spec.cell,
            "scale": row.spec.scale,
            "seeds": row.seeds,
            "parameters": row.plan.parameters,
            "steps": row.plan.steps,
            "batch_size": row.plan.batch_size,
            "memory_mb": row.plan.memory_mb,
            "seconds_per_step": row.plan.seconds_per_step,
            "seconds": row.plan.seconds,
            "decoding_seconds": row.plan.decoding_seconds,
            "basis": _basis(row.plan),
        }
        for row in rows
    ]
    document = {
        "device": machine.device,
        "threads": machine.threads,
        "seconds": sum(row.seconds for row in rows),
        "rows": found,
        "refused": [{"rows": list(names), "reason": reason} for reason, names in refused.items()],
    }
    typer.echo(json_text(document))


def _decoding(plan: "Plan") -> str:
    from rmem_cli.report.wording import duration

    return f" and up to {duration(plan.decoding_seconds)} of decoding" if plan.decoding_seconds else ""


def _basis(plan: "Plan") -> str:
    return "measured" if plan.is_measured else "estimated"
