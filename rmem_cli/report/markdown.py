"""The table as Markdown, for a repository or an issue."""

import re
from collections.abc import Sequence
from typing import IO

from rmem_cli.report.layout import Grid, footnotes, grids, heading
from rmem_cli.report.table import Table

# Underscores inside words and brackets that begin no link mean themselves.
_SPECIAL = re.compile(r"([\\|*<>`]|(?<!\w)_|_(?!\w)|\](?=[(\[:]))")


def write(tables: Sequence[Table], file: IO[str]) -> None:
    """Write tables, each under a heading of its own.

    Args:
        tables: One for each experiment.
        file: An open text file or stream.
    """
    file.write("\n".join(_document(table) for table in tables))


def _document(table: Table) -> str:
    title, *lines = (_escaped(line) for line in heading(table))
    blocks = [f"## {title}", *lines]
    for grid in grids(table):
        blocks += [f"**{_escaped(grid.caption)}**", _grid(grid)]
    notes = [f"- {_escaped(note)}" for note in footnotes(table)]
    return "\n\n".join(blocks + (["\n".join(notes)] if notes else [])) + "\n"


def _grid(grid: Grid) -> str:
    rows = [[column.heading for column in grid.columns], ["---"] * len(grid.columns)]
    rows += [[_escaped(" ".join(cell.split())) for cell in row] for row in grid.rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _escaped(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", text)
