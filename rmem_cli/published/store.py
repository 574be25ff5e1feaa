"""Finding papers, tables and rows of published numbers by their ids."""

import csv
from collections.abc import Iterable
from functools import cache
from importlib.resources import files

import yaml

from rmem_cli.errors import UsageError, closest
from rmem_cli.published.schema import Paper, PublishedRow, PublishedTable


@cache
def papers() -> tuple[str, ...]:
    """Ids of all papers, sorted."""
    names = (entry.name for entry in files("rmem_cli.published").iterdir())
    return tuple(sorted(name.removesuffix(".yaml") for name in names if name.endswith(".yaml")))


@cache
def load_paper(paper: str) -> Paper:
    """The tables of a paper.

    Args:
        paper: Its id, such as "rum2019".

    Raises:
        UsageError: There is no such paper; the message names the closest one.
    """
    if paper not in papers():
        raise _unknown("paper", paper, papers())
    return parse_paper(files("rmem_cli.published").joinpath(f"{paper}.yaml").read_text(encoding="utf-8"))


def parse_paper(text: str) -> Paper:
    """Read the text of a file of published numbers.

    Raises:
        pydantic.ValidationError: The text does not follow the schema.
    """
    loader = getattr(
        yaml, "CSafeLoader", yaml.SafeLoader
    )  # the C one, where PyYAML has it, is ten times faster
    return Paper.model_validate(yaml.load(text, loader))  # noqa: S506 - both loaders are safe


def find_table(table: str) -> PublishedTable:
    """The table of an id such as "rum2019.ptb_char".

    Raises:
        UsageError: There is no such table; the message names the closest one.
    """
    paper, _, name = table.partition(".")
    tables = load_paper(paper).tables
    if name not in tables:
        raise _unknown("table", table, (f"{paper}.{known}" for known in tables))
    return tables[name]


def find(row: str) -> PublishedRow:
    """The row of an id such as "rum2019.ptb_char.fs_rum_2".

    Raises:
        UsageError: There is no such row; the message names the closest one.
    """
    table, _, name = row.rpartition(".")
    rows = find_table(table).rows
    if name not in rows:
        raise _unknown("row", row, (f"{table}.{known}" for known in rows))
    return rows[name]


def curve_points(row: str) -> list[tuple[float, float]]:
    """Every point that was digitized of the curve of a row; none if it is no digitized curve.

    Args:
        row: Its id, such as "rum2017.copying_t200.lstm".

    Raises:
        UsageError: There is no such row; the message names the closest one.
    """
    find(row)
    return list(_curves(row.partition(".")[0]).get(row, ()))


@cache
def _curves(paper: str) -> dict[str, list[tuple[float, float]]]:
    """Points by the ids of their rows, in the order of the file beside the paper's tables."""
    file = files("rmem_cli.published").joinpath(f"{paper}.curves.csv")
    points: dict[str, list[tuple[float, float]]] = {}
    if file.is_file():
        for line in csv.DictReader(file.read_text(encoding="utf-8").splitlines()):
            row = f"{paper}.{line['table']}.{line['row']}"
            points.setdefault(row, []).append((float(line["x"]), float(line["y"])))
    return points


def _unknown(noun: str, name: str, known: Iterable[str]) -> UsageError:
    return UsageError(f"unknown published {noun} {name!r}; {closest(name, known)}")
