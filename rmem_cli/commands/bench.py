"""`rmem bench`: how fast each form of each operation is here."""

from typing import TYPE_CHECKING, Annotated

import typer

from rmem_cli.commands.options import Device
from rmem_cli.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from rmem_cli.bench.beside import BesideBusy
    from rmem_cli.bench.measure import Timing

_WIDEST = 1000  # columns, of which a table takes what it needs


def bench(
    cases: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[CASE]...", help="Names, or how they begin; without any, a quick one of each."
        ),
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="All cases, which takes half an hour, instead of the quick ones.")
    ] = False,
    repeats: Annotated[int, typer.Option(min=1, help="Timed steps of each form.")] = 20,
    seconds: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="Begin no further round of a case after this long.",
            show_default="60; 10 of the quick ones",
        ),
    ] = None,
    form: Annotated[
        list[str] | None, typer.Option("--form", help="Only this form; may be given several times.")
    ] = None,
    device: Device = "cpu",
    growth: Annotated[
        bool, typer.Option("--growth", help="Also measure twice the time steps and twice the units.")
    ] = False,
    memory: Annotated[bool, typer.Option(help="Measure memory too, in processes of their own.")] = True,
    busy: Annotated[
        int,
        typer.Option(
            "--busy",
            min=0,
            metavar="PROCESSES",
            help="Instead, time steps alone, on one thread, and beside so many busy processes.",
        ),
    ] = 0,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object for each measurement.")
    ] = False,
    list_cases: Annotated[
        bool, typer.Option("--list", help="Print the names of the cases, and stop.")
    ] = False,
) -> None:
    """Time training steps (forward and backward) of each operation: the equations as written, PyTorch, C++.

    Without names, a quick case of each operation is measured, in a minute or two. A case's forms take turns
    in one process, beside products of large matrices: torch's own, and the fastest there is here, which no
    step outruns.
    """
    from rmem_cli.bench.beside import measure_beside
    from rmem_cli.bench.cases import find_cases
    from rmem_cli.bench.measure import measure
    from rmem_cli.json_text import json_text

    if busy and device != "cpu":
        raise UsageError(f"--busy takes cores of the CPU away, and --device is {device}; leave one out")
    quick = not (cases or every or list_cases)
    chosen = find_cases(cases or [], form or [], quick=quick)
    longest = seconds if seconds is not None else 10 if quick else 60
    if list_cases:
        for case in chosen:
            typer.echo(json_text({"name": case.name}, indent=None) if as_json else case.name)
        return
    from rmem_cli.runs.machine import choose_machine

    # What cannot be measured here is refused, and what is to be built is built, before anything is measured.
    device = choose_machine(device, jobs=1).device
    for case in chosen:
        case.forms_here(device)
    chosen = [each for one in chosen for each in ([one, *one.grown()] if growth else [one])]
    for number, case in enumerate(chosen, 1):
        typer.echo(f"measuring {case.name}, {number} of {len(chosen)}", err=True)
        if busy:
            beside = measure_beside(case, busy, repeats, longest)
            _show(beside, _table_beside(case.name, beside), as_json)
        else:
            measurements = measure(case, repeats, longest, memory=memory, device=device)
            _show(measurements, _table(case.name, measurements), as_json)


def _show(measurements: "Sequence[Timing | BesideBusy]", table: "Table", as_json: bool) -> None:
    import dataclasses

    from rich.console import Console

    from rmem_cli.json_text import json_text

    if not as_json:
        # As wide as the table is, wherever it goes to: a name that is broken is not the name of a form.
        Console(width=_WIDEST).print(table)
        return
    for each in measurements:
        typer.echo(json_text(dataclasses.asdict(each), indent=None))


def _empty_table(name: str, *columns: str) -> "Table":
    from rich.table import Table

    table = Table(title=name, title_justify="left", box=None)
    for column in ("form", *columns):
        table.add_column(column, justify="left" if column == "form" else "right")
    return table


def _table(name: str, measurements: "list[Timing]") -> "Table":
    table = _empty_table(
        name, "ms/step", "fastest", "repeats", "speed", "MB", "GF/s", "of torch.mm", "of best"
    )
    slowest = max(each.milliseconds for each in measurements)
    for each in measurements:
        table.add_row(
            each.form,
            f"{each.milliseconds:.1f}",
            f"{each.fastest:.1f}",
            str(each.repeats),
            f"{slowest / each.milliseconds:.2f}x",
            "" if each.memory_mb is None else f"{each.memory_mb:.0f}",
            f"{each.gigaflops:.1f}",
            f"{each.share:.0%}",
            f"{each.share_of_fastest:.0%}",
        )
    return table


def _table_beside(name: str, measurements: "list[BesideBusy]") -> "Table":
    table = _empty_table(name, "ms alone", "one thread", "beside busy", "to alone", "to one thread")
    for each in measurements:
        table.add_row(
            each.form,
            f"{each.milliseconds:.1f}",
            f"{each.one_thread:.1f}",
            f"{each.beside:.1f}",
            f"{each.beside / each.milliseconds:.2f}x",
            f"{each.beside / each.one_thread:.2f}x",
        )
    return table
