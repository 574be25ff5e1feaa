"""Tables for a terminal, or for a text file."""

import textwrap
from collections.abc import Iterator, Sequence
from io import StringIO
from typing import IO

from rich import box
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from rmem_cli.report.marks import marked, numbered
from rmem_cli.report.page import Cell, Column, Grid, Page
from rmem_cli.report.verdict import Outcome

_NAME_WIDTH = 24
_MANY = 8  # columns; more of them stand in several parts where they do not fit
_GAP = 2  # characters between columns
WIDTH = 110  # of text that no terminal limits
_STYLES = {
    Outcome.REPRODUCED: "green",
    Outcome.BETTER: "yellow",
    Outcome.WORSE: "red",
    Outcome.NOT_RUN: "dim",
}


def write(pages: Sequence[Page], file: IO[str]) -> None:
    """Write pages as wide as the terminal, or 110 columns wide and without colours where there is none.

    Args:
        pages: What is to be written.
        file: An open text file or stream.
    """
    if file.isatty():
        _print(pages, Console(file=file, highlight=False))
        return
    plain = Console(file=StringIO(), width=WIDTH, force_terminal=False, color_system=None, highlight=False)
    with plain.capture() as captured:
        _print(pages, plain)
    file.writelines(f"{line.rstrip()}\n" for line in captured.get().splitlines())


def _print(pages: Sequence[Page], console: Console) -> None:
    for index, page in enumerate(pages):
        if index:
            console.print()
        console.print(Text.assemble((page.title, "bold"), "   ", page.status))
        for line in page.lines:
            console.print(Text(line, style="dim"))
        for grid in page.grids:
            console.print()
            _print_grid(grid, console)
        console.print()
        for note in [*numbered(page.footnotes), *page.remarks]:
            console.print(Text(note, style="dim"))


def _print_grid(grid: Grid, console: Console) -> None:
    console.print(Text(grid.caption))
    for number, part in enumerate(_parts(grid, console.width)):
        if number:
            console.print()
        console.print(_rich(part, console.width))
    if grid.below:
        console.print(Text(grid.below, style="dim"))


def _parts(grid: Grid, width: int) -> Iterator[Grid]:
    """A grid of many columns in parts that fit, each with the first column; one of few, which is wrapped."""
    if len(grid.columns) <= _MANY:
        yield grid
        return
    first, *others = grid.columns
    part: list[Column] = []
    used = _width(first)
    for column in others:
        if part and used + _GAP + _width(column) > width:
            yield Grid(grid.caption, [first, *part])
            part, used = [], _width(first)
        part.append(column)
        used += _GAP + _width(column)
    yield Grid(grid.caption, [first, *part])


def _width(column: Column) -> int:
    """Characters of the longest line."""
    cells = (column.heading, *column.cells)
    return max(len(line) for cell in cells for line in _lines(cell))


def _rich(grid: Grid, width: int) -> RichTable:
    table = RichTable(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1))
    table.collapse_padding = True
    for index, column in enumerate(grid.columns):
        # Names are wrapped here: a line can be told by its first words, whatever rich does to fit the others.
        heading = Text("\n".join(_lines(column.heading)))
        table.add_column(heading, no_wrap=index == 0, justify="right" if column.is_number else "left")
    free = width - sum(_GAP + _width(column) for column in grid.columns[1:])
    for name, *cells in grid.rows:
        table.add_row(Text(_wrapped(marked(name), max(free, _NAME_WIDTH))), *map(_text, cells))
    return table


def _lines(cell: Cell) -> list[str]:
    best = " *" if cell.is_best else ""
    return [*f"{marked(cell)}{best}".split("\n"), *cell.more]


def _text(cell: Cell) -> Text:
    style = "" if cell.outcome is None else _STYLES.get(cell.outcome, "")
    return Text("\n".join(_lines(cell)), style="bold" if cell.is_best else style)


def _wrapped(name: str, width: int) -> str:
    return "\n".join(textwrap.wrap(name, width, break_long_words=False))
