"""Tables as Markdown, for a repository or an issue."""

import re
from collections.abc import Sequence
from typing import IO

from rmem_cli.report.marks import marked, numbered
from rmem_cli.report.page import Cell, Grid, Page

# Underscores inside words, brackets that begin no link and most ampersands mean themselves; where Markdown is
# read as on GitHub, tildes strike text out, and dollars begin formulas.
_SPECIAL = re.compile(r"([\\|*<>`~$]|&(?=#?\w+;)|(?<!\w)_|_(?!\w)|\](?=[(\[:]))")


def write(pages: Sequence[Page], file: IO[str]) -> None:
    """Write pages, each under a heading of its own.

    Args:
        pages: What is to be written.
        file: An open text file or stream.
    """
    file.write("\n".join(_document(page) for page in pages))


def _document(page: Page) -> str:
    blocks = [f"## {escaped(page.title)}", *map(escaped, filter(None, [page.status, *page.lines]))]
    for grid in page.grids:
        blocks += [f"**{escaped(grid.caption)}**", _grid(grid), *filter(None, [escaped(grid.below)])]
    notes = [f"- {escaped(note)}" for note in [*numbered(page.footnotes), *page.remarks]]
    return "\n\n".join(blocks + (["\n".join(notes)] if notes else [])) + "\n"


def _grid(grid: Grid) -> str:
    rows = [[_cell(column.heading) for column in grid.columns]]
    rows.append(["---:" if column.is_number else "---" for column in grid.columns])
    rows += [[_cell(cell) for cell in row] for row in grid.rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _cell(cell: Cell) -> str:
    text = escaped(" ".join(marked(cell).split()))
    return " ".join([f"**{text}**" if cell.is_best else text, *map(escaped, cell.more)])


def escaped(text: str) -> str:
    """A text that means itself in Markdown."""
    return _SPECIAL.sub(r"\\\1", text)
