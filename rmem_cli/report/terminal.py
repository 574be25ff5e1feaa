"""The table for a terminal, or for a text file."""

from collections.abc import Sequence
from io import StringIO
from typing import IO

from rich import box
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from rmem_cli.report.layout import Grid, footnotes, grids, heading
from rmem_cli.report.table import Table
from rmem_cli.report.verdict import Outcome

_NAME_WIDTH = 24
WIDTH = 110  # of text that no terminal limits
_STYLES = {
    Outcome.REPRODUCED: "green",
    Outcome.BETTER: "yellow",
    Outcome.WORSE: "red",
    Outcome.NOT_RUN: "dim",
}


def write(tables: Sequence[Table], file: IO[str]) -> None:
    """Write tables as wide as the terminal, or 110 columns wide and without colours where there is none.

    Args:
        tables: One for each experiment.
        file: An open text file or stream.
    """
    if file.isatty():
        _print(tables, Console(file=file, highlight=False))
        return
    plain = Console(file=StringIO(), width=WIDTH, force_terminal=False, color_system=None, highlight=False)
    with plain.capture() as captured:
        _print(tables, plain)
    file.writelines(f"{line.rstrip()}\n" for line in captured.get().splitlines())


def _print(tables: Sequence[Table], console: Console) -> None:
    for index, table in enumerate(tables):
        if index:
            console.print()
        title, *lines = heading(table)
        console.print(Text(title, style="bold"))
        for line in lines:
            console.print(Text(line, style="dim"))
        for grid in grids(table):
            console.print()
            console.print(Text(grid.caption))
            console.print(_rich(grid))
        console.print()
        for note in footnotes(table):
            console.print(Text(note, style="dim"))


def _rich(grid: Grid) -> RichTable:
    table = RichTable(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1))
    for index, column in enumerate(grid.columns):
        # Names are the last to be wrapped, so that a line can be told by its first word.
        longest = max(map(len, column.cells))
        table.add_column(Text(column.heading), min_width=min(longest, _NAME_WIDTH) if index == 0 else None)
    for row in grid.rows:
        table.add_row(*(Text(cell, style=_style(cell)) for cell in row))
    return table


def _style(cell: str) -> str:
    return next((style for outcome, style in _STYLES.items() if cell == outcome), "")
