"""What `rmem show RUN` says of a run: its results, where they came from, and how to make them again."""

from dataclasses import fields
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from rmem_cli.results.row import ResultRow

_OF_THE_VALUE = {"protocol", "split", "part", "metric", "value", "unit", "examples", "eval_hash", "time"}


def show_run(name: str, *, as_json: bool) -> None:
    """Print a run that has results.

    Args:
        name: As `rmem runs list` has it (EXPERIMENT/ROW[/CELL]/SCALE-seedK-HASH), or its beginning up to a
            slash.
        as_json: Whether to print JSON.

    Raises:
        UsageError: There is no result of such a run, or there are several such runs.
    """
    from rmem_cli.json_text import json_text
    from rmem_cli.paths import results_root, runs_root
    from rmem_cli.results.named import results_of
    from rmem_cli.results.run_names import run_name
    from rmem_cli.results.store import ResultStore
    from rmem_cli.results.withdrawn import Withdrawals
    from rmem_cli.visible import one_line

    store = ResultStore(results_root())
    rows = results_of(name, store)
    name = run_name(rows[0])
    withdrawn = Withdrawals(store.folder).of(rows[0])
    folder = runs_root() / name
    facts = {
        "run": name,
        **{one.name: getattr(rows[0], one.name) for one in fields(rows[0]) if one.name not in _OF_THE_VALUE},
        "command": _command(rows[0]),
        "withdrawn": None if withdrawn is None else withdrawn.reason,
        "folder": str(folder) if folder.is_dir() else None,
    }
    if as_json:
        values = [{one: getattr(row, one) for one in sorted(_OF_THE_VALUE)} for row in rows]
        typer.echo(json_text({**facts, "results": values}))
    else:
        for key, value in facts.items():
            if value not in (None, ""):
                typer.echo(one_line(f"{key}: {value}"))
        for row in rows:
            where = ", ".join(filter(None, (row.protocol, row.split, row.part)))
            typer.echo(one_line(f"{row.metric} ({where}): {row.value} {row.unit}, {row.time}"))
    if not folder.is_dir():
        gone = f"its folder is gone, with its checkpoints; `rmem train --from-run {name}` makes it again"
        typer.echo(one_line(gone), err=True)


def _command(row: "ResultRow") -> str:
    from rmem_cli.recipe.commands import train_command

    return train_command(row.experiment, row.row, row.cell, "--scale", row.scale, "--seed", str(row.seed))
