"""Tables as JSON, for scripts: the fields of `rmem_cli.report.table` by their names."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import IO

from rmem_cli.json_text import json_text
from rmem_cli.report.core_grid import CoreGrid
from rmem_cli.report.table import Table

SCHEMA = 1  # goes up when a field is renamed or removed, not when one is added


def write(tables: Sequence[Table], file: IO[str]) -> None:
    """Write `{"schema": 1, "tables": [...]}`.

    Args:
        tables: One for each experiment.
        file: An open text file or stream.
    """
    _dump({"schema": SCHEMA, "tables": [asdict(table) for table in tables]}, file)


def write_core_grid(grid: CoreGrid, file: IO[str]) -> None:
    """Write `{"schema": 1, "grid": ...}` with the fields of `rmem_cli.report.core_grid` by their names.

    Args:
        grid: The grid.
        file: An open text file or stream.
    """
    _dump({"schema": SCHEMA, "grid": asdict(grid)}, file)


def _dump(document: dict[str, object], file: IO[str]) -> None:
    file.write(json_text(document) + "\n")
