"""The formats a table can be written in."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import IO

from rmem_cli.report import csv_format, json_format, markdown, terminal
from rmem_cli.report.table import Table


@dataclass(frozen=True)
class Format:
    """A way of writing tables, and the suffix of its files."""

    suffix: str
    write: Callable[[Sequence[Table], IO[str]], None]


FORMATS: dict[str, Format] = {
    "terminal": Format(".txt", terminal.write),
    "markdown": Format(".md", markdown.write),
    "csv": Format(".csv", csv_format.write),
    "json": Format(".json", json_format.write),
}
