"""Tables for a terminal, or for a text file."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
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
_GAP = 2  # characters between columns
WIDTH = 110  # of text that no terminal limits
_STYLES = {
    Outcome.REPRODUCED: "green",
    Outcome.BETTER: "yellow",
    Outcome.WORSE: "red",
    Outcome.NOT_RUN: "dim",
}


def write(pages: Sequence[Page], file: IO[str]) -> None:
    """Write pages as wide as the terminal; where there is none, without colours, COLUMNS wide or 110 columns.

    Args:
        pages: What is to be written.
        file: An open text file or stream.
    """
    if file.isatty():
        _print(pages, Console(file=file, highlight=False))
        return
    columns = os.environ.get("COLUMNS", "")
    width = int(columns) if columns.isdecimal() and int(columns) else WIDTH
    plain = Console(file=StringIO(), width=width, force_terminal=False, color_system=None, highlight=False)
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
    """A grid in parts that fit without a word being cut, each with the first column."""
    first, *others = grid.columns
    part: list[Column] = []
    used = _least(first, is_name=True)
    for column in others:
        if part and used + _GAP + _least(column) > width:
            yield replace(grid, columns=[first, *part])
            part, used = [], _least(first, is_name=True)
        part.append(column)
        used += _GAP + _least(column)
    yield replace(grid, columns=[first, *part])


def _width(column: Column) -> int:
    """Characters of the longest line."""
    return max(len(line) for line in _all_lines(column))


def _least(column: Column, *, is_name: bool = False) -> int:
    """Characters of the longest word; names take more, as long as they have it."""
    words = max((len(word) for line in _all_lines(column) for word in line.split()), default=1)
    return max(words, min(_width(column), _NAME_WIDTH)) if is_name else words


def _all_lines(column: Column) -> Iterator[str]:
    for cell in (column.heading, *column.cells):
        yield from _lines(cell)


def _widths(columns: Sequence[Column], width: int) -> list[int]:
    """What each column gets: its longest word, then as much as is left of what its longest line takes."""
    found = [_least(column, is_name=index == 0) for index, column in enumerate(columns)]
    wanted = [_width(column) for column in columns]
    left = width - sum(found) - _GAP * (len(columns) - 1)
    while left > 0 and found != wanted:
        for index in sorted(range(len(columns)), key=lambda index: wanted[index] - found[index]):
            if found[index] < wanted[index] and left > 0:
                found[index] += 1
                left -= 1
    return found


def _rich(grid: Grid, width: int) -> RichTable:
    table = RichTable(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1))
    table.collapse_padding = True
    for column, its_width in zip(grid.columns, _widths(grid.columns, width), strict=True):
        heading = Text("\n".join(_lines(column.heading)))
        table.add_column(heading, width=its_width, justify="right" if column.is_number else "left")
    for name, *cells in grid.rows:
        table.add_row(Text(marked(name)), *map(_text, cells))
    return table


def _lines(cell: Cell) -> list[str]:
    best = " *" if cell.is_best else ""
    return [*f"{marked(cell)}{best}".split("\n"), *cell.more]


def _text(cell: Cell) -> Text:
    style = "" if cell.outcome is None else _STYLES.get(cell.outcome, "")
    return Text("\n".join(_lines(cell)), style="bold" if cell.is_best else style)
