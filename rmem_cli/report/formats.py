"""The formats a table can be written in."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import IO

from rmem_cli.report import (
    core_grid_layout,
    csv_format,
    json_format,
    latex,
    layout,
    markdown,
    scoreboard_layout,
    terminal,
)
from rmem_cli.report.core_grid import CoreGrid
from rmem_cli.report.layout import View
from rmem_cli.report.page import Page
from rmem_cli.report.scoreboard import Scoreboard
from rmem_cli.report.table import Table


@dataclass(frozen=True)
class Format:
    """A way of writing, and the suffix of its files.

    Attributes:
        suffix: With its dot.
        write_tables: Writes tables; for people, all of each or what matters first, with reasons or without.
        write_core_grid: Writes the grid of cores; for people, what has results or all of it.
        write_scoreboard: Writes the scoreboard, with the names of all tables if that is asked for.
        write_all: Writes tables and scoreboard as one document.
        write_pages: Writes any pages, in forms for people.
    """

    suffix: str
    write_tables: Callable[[Sequence[Table], IO[str], bool, bool], None]
    write_core_grid: Callable[[CoreGrid, bool, IO[str]], None]
    write_scoreboard: Callable[[Scoreboard, bool, IO[str]], None] | None = None
    write_all: Callable[[Sequence[Table], Scoreboard, IO[str]], None] | None = None
    write_pages: Callable[[Sequence[Page], IO[str]], None] | None = None

    def write(
        self, tables: Sequence[Table], file: IO[str], *, everything: bool = False, explains: bool = False
    ) -> None:
        """Write tables.

        Args:
            tables: One for each experiment.
            file: An open text file or stream.
            everything: For people, too: rows that were not run, each protocol in full, notes and costs.
            explains: For people, too: the rule and the numbers behind each verdict.
        """
        self.write_tables(tables, file, everything, explains)


def _for_people(
    suffix: str, write_pages: Callable[[Sequence[Page], IO[str]], None], *, is_brief: bool = False
) -> Format:
    def write(tables: Sequence[Table], file: IO[str], everything: bool, explains: bool) -> None:
        view = View(everything, is_brief and not everything, explains=explains)
        write_pages([layout.page(table, view).finished() for table in tables], file)

    def write_board(board: Scoreboard, everything: bool, file: IO[str]) -> None:
        write_pages([scoreboard_layout.page(board, everything=everything).finished()], file)

    def write_grid(grid: CoreGrid, everything: bool, file: IO[str]) -> None:
        write_pages([core_grid_layout.page(grid, everything=everything).finished()], file)

    return Format(suffix, write, write_grid, write_board, write_pages=write_pages)


def _for_scripts(
    suffix: str,
    write: Callable[[Sequence[Table], IO[str]], None],
    write_core_grid: Callable[[CoreGrid, IO[str]], None],
    write_all: Callable[[Sequence[Table], Scoreboard, IO[str]], None] | None = None,
) -> Format:
    """A form that always holds everything."""
    return Format(
        suffix,
        lambda tables, file, _everything, _explains: write(tables, file),
        lambda grid, _everything, file: write_core_grid(grid, file),
        write_all=write_all,
    )


FORMATS: dict[str, Format] = {
    "terminal": _for_people(".txt", terminal.write, is_brief=True),
    "markdown": _for_people(".md", markdown.write),
    "latex": _for_people(".tex", latex.write),
    "csv": _for_scripts(".csv", csv_format.write, csv_format.write_core_grid),
    "json": _for_scripts(".json", json_format.write, json_format.write_core_grid, json_format.write_all),
}
