"""Choosing papers, tables and rows of published numbers by name, and counting what they hold."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Self

from rmem_cli.published.schema import PublishedRow, PublishedTable
from rmem_cli.published.store import curve_points, find, find_table, load_paper, papers

Tables = dict[str, PublishedTable]


def select(names: Sequence[str]) -> Tables:
    """The tables that are named, by their ids, with the rows that are named.

    Args:
        names: Papers ("rum2017"), tables ("rum2017.recall") and rows ("rum2017.recall.lstm"); none for all.

    Raises:
        UsageError: There is nothing of a name; the message names the closest one.
    """
    chosen: Tables = {}
    for name in names or papers():
        for table, found in _named(name).items():
            rows = {**(chosen[table].rows if table in chosen else {}), **found.rows}
            chosen[table] = found.model_copy(update={"rows": rows})
    return chosen


def with_rows(tables: Tables, wanted: Callable[[str, PublishedTable, PublishedRow], bool]) -> Tables:
    """The tables with only the rows that are wanted; tables left without rows are left out.

    Args:
        tables: Tables by their ids.
        wanted: Tells from the id of a row, its table and the row whether it stays.
    """
    kept = {}
    for name, table in tables.items():
        rows = {key: row for key, row in table.rows.items() if wanted(f"{name}.{key}", table, row)}
        if rows:
            kept[name] = table.model_copy(update={"rows": rows})
    return kept


def papers_of(tables: Iterable[str]) -> list[str]:
    """The papers of tables, in the order of the tables."""
    return list(dict.fromkeys(table.partition(".")[0] for table in tables))


def as_records(tables: Tables) -> list[dict[str, Any]]:
    """Papers with their tables and rows as plain data; a row has the points of its curve as well."""
    records = []
    for paper in papers_of(tables):
        about = load_paper(paper).model_dump(mode="json", exclude={"tables"})
        own = {name: table for name, table in tables.items() if name.startswith(f"{paper}.")}
        about["tables"] = {name.partition(".")[2]: _table_record(name, table) for name, table in own.items()}
        records.append(about)
    return records


@dataclass(frozen=True)
class Counts:
    """What tables hold.

    Attributes:
        rows: Rows, with or without a number.
        numbers: Rows with a number, or several.
        words: Rows that say something in words.
        blank: Rows whose value was not found in a source.
        quoted: Rows that the paper quotes from others.
        secondary: Rows known from texts that quote the paper.
        curves: Rows digitized from a figure.
        points: Points that were digitized beside their values.
    """

    rows: int = 0
    numbers: int = 0
    words: int = 0
    blank: int = 0
    quoted: int = 0
    secondary: int = 0
    curves: int = 0
    points: int = 0

    @classmethod
    def of(cls, tables: Tables) -> Self:
        """Count the rows of tables."""
        rows = [row for table in tables.values() for row in table.rows.values()]
        ids = [f"{name}.{row}" for name, table in tables.items() for row in table.rows]
        digitized = [table for table in tables.values() if table.kind == "figure_digitized"]
        return cls(
            rows=len(rows),
            numbers=sum(isinstance(row.value, float | tuple) for row in rows),
            words=sum(isinstance(row.value, str) for row in rows),
            blank=sum(row.value is None for row in rows),
            quoted=sum(row.quoted for row in rows),
            secondary=sum(row.secondary for row in rows),
            curves=sum(len(table.rows) for table in digitized),
            points=sum(len(curve_points(row)) for row in ids),
        )


def _named(name: str) -> Tables:
    levels = name.count(".")
    if levels == 0:
        return {f"{name}.{table}": found for table, found in load_paper(name).tables.items()}
    if levels == 1:
        return {name: find_table(name)}
    row, table = find(name), name.rpartition(".")[0]
    return {table: find_table(table).model_copy(update={"rows": {name.rpartition(".")[2]: row}})}


def _table_record(name: str, table: PublishedTable) -> dict[str, Any]:
    record = table.model_dump(mode="json")
    for row, fields in record["rows"].items():
        fields["points"] = curve_points(f"{name}.{row}")
    return record
