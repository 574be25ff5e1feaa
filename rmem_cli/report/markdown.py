"""Tables as Markdown, for a repository or an issue."""

import re
from collections.abc import Sequence
from typing import IO

from rmem_cli.report.page import Grid, Page

# Underscores inside words, brackets that begin no link and most ampersands mean themselves.
_SPECIAL = re.compile(r"([\\|*<>`]|&(?=#?\w+;)|(?<!\w)_|_(?!\w)|\](?=[(\[:]))")


def write(pages: Sequence[Page], file: IO[str]) -> None:
    """Write pages, each under a heading of its own.

    Args:
        pages: What is to be written.
        file: An open text file or stream.
    """
    file.write("\n".join(_document(page) for page in pages))


def _document(page: Page) -> str:
    title, *lines = (_escaped(line) for line in page.heading)
    blocks = [f"## {title}", *lines]
    for grid in page.grids:
        blocks += [f"**{_escaped(grid.caption)}**", _grid(grid)]
    notes = [f"- {_escaped(note)}" for note in page.notes]
    return "\n\n".join(blocks + (["\n".join(notes)] if notes else [])) + "\n"


def _grid(grid: Grid) -> str:
    rows = [[_cell(column.heading) for column in grid.columns], ["---"] * len(grid.columns)]
    rows += [[_cell(cell) for cell in row] for row in grid.rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _cell(text: str) -> str:
    return _escaped(" ".join(text.split()))


def _escaped(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", text)
