"""`rmem bench`: how fast each form of each operation is here."""

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rmem_cli.bench.measure import Measurement


def bench(
    cases: Annotated[
        list[str] | None,
        typer.Argument(metavar="[CASE]...", help="Names, or how they begin; without any, all of them."),
    ] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Timed steps of each form.")] = 20,
    seconds: Annotated[
        float, typer.Option(min=0, help="Begin no further round of a case after this long.")
    ] = 60,
    form: Annotated[
        list[str] | None, typer.Option("--form", help="Only this form; may be given several times.")
    ] = None,
    growth: Annotated[
        bool, typer.Option("--growth", help="Also measure twice the time steps and twice the units.")
    ] = False,
    memory: Annotated[bool, typer.Option(help="Measure memory too, in processes of their own.")] = True,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object for each measurement.")
    ] = False,
    list_cases: Annotated[
        bool, typer.Option("--list", help="Print the names of the cases, and stop.")
    ] = False,
) -> None:
    """Time training steps (forward and backward) of each operation: the equations as written, PyTorch, C++.

    A case's forms take turns in one process, beside products of large matrices: torch's own, and the fastest
    there is here, which no step outruns.
    """
    import dataclasses
    import json

    from rich.console import Console

    from rmem_cli.bench.cases import find_cases
    from rmem_cli.bench.measure import measure

    chosen = find_cases(cases or [])
    if list_cases:
        for case in chosen:
            typer.echo(case.name)
        return
    console = Console(soft_wrap=True)
    for case in chosen:
        for variant in [case, *case.grown()] if growth else [case]:
            measurements = measure(variant.only(form or []), repeats, seconds, memory=memory)
            if as_json:
                for each in measurements:
                    typer.echo(json.dumps(dataclasses.asdict(each)))
            else:
                console.print(_table(variant.name, measurements))


def _table(name: str, measurements: "list[Measurement]") -> "object":
    from rich.table import Table

    table = Table(title=name, title_justify="left", box=None)
    for column in ("form", "ms/step", "fastest", "repeats", "speed", "MB", "GF/s", "of torch.mm", "of best"):
        table.add_column(column, justify="left" if column == "form" else "right")
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
