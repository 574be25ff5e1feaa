"""Tables as JSON, for scripts: the fields of `rmem_cli.report.table` by their names.

`report.schema.json` beside this module is the JSON Schema of what is written, and the docstrings of
`rmem_cli.report.table`, `core_grid` and `scoreboard` say what each field means.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import IO

from rmem_cli.json_text import json_text
from rmem_cli.report.core_grid import CoreGrid
from rmem_cli.report.scoreboard import Scoreboard
from rmem_cli.report.table import Table

SCHEMA = 1  # goes up when a field is renamed or removed, not when one is added


@dataclass(frozen=True)
class Document:
    """What a report writes as JSON.

    Attributes:
        schema: Version of the schema.
        tables: The tables of experiments; null where the grid or the scoreboard was asked for.
        grid: Every core on every task; null but for `--grid`.
        scoreboard: All published tables; null but for a report of all experiments.
    """

    schema: int
    tables: list[Table] | None = None
    grid: CoreGrid | None = None
    scoreboard: Scoreboard | None = None


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


def write_all(tables: Sequence[Table], scoreboard: Scoreboard, file: IO[str]) -> None:
    """Write `{"schema": 1, "scoreboard": ..., "tables": [...]}`.

    Args:
        tables: One for each experiment.
        scoreboard: All published tables.
        file: An open text file or stream.
    """
    document = {"scoreboard": asdict(scoreboard), "tables": [asdict(table) for table in tables]}
    _dump({"schema": SCHEMA, **document}, file)


def _dump(document: dict[str, object], file: IO[str]) -> None:
    file.write(json_text(document) + "\n")
