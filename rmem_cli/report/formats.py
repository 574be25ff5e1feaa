"""The formats a table can be written in."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import IO

from rmem_cli.report import core_grid_layout, csv_format, json_format, layout, markdown, terminal
from rmem_cli.report.core_grid import CoreGrid
from rmem_cli.report.page import Page
from rmem_cli.report.table import Table


@dataclass(frozen=True)
class Format:
    """A way of writing, and the suffix of its files.

    Attributes:
        suffix: With its dot.
        write: Writes tables.
        write_core_grid: Writes the grid of cores.
    """

    suffix: str
    write: Callable[[Sequence[Table], IO[str]], None]
    write_core_grid: Callable[[CoreGrid, IO[str]], None]


def _for_people(suffix: str, write_pages: Callable[[Sequence[Page], IO[str]], None]) -> Format:
    return Format(
        suffix,
        lambda tables, file: write_pages([layout.page(table).finished() for table in tables], file),
        lambda grid, file: write_pages([core_grid_layout.page(grid).finished()], file),
    )


FORMATS: dict[str, Format] = {
    "terminal": _for_people(".txt", terminal.write),
    "markdown": _for_people(".md", markdown.write),
    "csv": Format(".csv", csv_format.write, csv_format.write_core_grid),
    "json": Format(".json", json_format.write, json_format.write_core_grid),
}
