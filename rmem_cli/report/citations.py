"""Published numbers as the table shows them, in the units of our metrics."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rmem_cli.published.schema import PublishedRow, PublishedTable
from rmem_cli.published.store import find, find_table, load_paper
from rmem_cli.recipe.search import is_chosen
from rmem_cli.report.footnotes import Footnotes
from rmem_cli.report.parts import MEAN, mean_of_tasks
from rmem_cli.report.places import Place
from rmem_cli.report.table import Basis, Published
from rmem_cli.results.metrics import METRICS

Readings = Mapping[str, PublishedRow]  # id of a published row to what a reader filled in

STEPS = "training steps"
_METRICS = {
    "bits per character": "bpc",
    "nats per symbol": "loss",
    "perplexity": "perplexity",
    "squared error": "mse",
}


@dataclass(frozen=True)
class Citation:
    """A row of a published table, or one column of it, with what is needed to compare it.

    Attributes:
        id: Such as "rum2019.ptb_char.fs_rum_2".
        table: The table it is from.
        row: The row.
        column: Which of the table's columns; None if it has none.
        cell: The matrix cell that the recipe names it for, if it names one.
        is_reading: Whether a reader filled in the number.
    """

    id: str
    table: PublishedTable
    row: PublishedRow
    column: int | None = None
    cell: str | None = None
    is_reading: bool = False

    @property
    def table_id(self) -> str:
        """Id of the table."""
        return self.id.rpartition(".")[0]

    @property
    def key(self) -> tuple[str, int | None]:
        """The row, and the column of it: what is cited, wherever it is named."""
        return self.id, self.column

    @property
    def title(self) -> str:
        """The model in the paper's words, and the column."""
        return ", ".join(filter(None, (self.row.model, self._column_name or "")))

    @property
    def value(self) -> float | tuple[float | None, ...] | str | None:
        """What stands in the row, or in its column."""
        value = self.row.value
        return value[self.column] if self.column is not None and isinstance(value, tuple) else value

    @property
    def is_learning_curve(self) -> bool:
        """Whether it says how something went while it was trained."""
        return self.table.steps_per_x is not None

    @property
    def metric(self) -> str | None:
        """Our metric that measures the same thing; None if we have none."""
        if self._column_metric is not None:
            return self._column_metric
        if self._unit in ("percent", "fraction"):
            measured = self.table.metric.lower()
            if measured.startswith("f1"):
                return "f1"
            if "acc" not in measured:
                return None
            return "exact_match" if "answer" in measured else "accuracy"
        return _METRICS.get(self._unit)

    @property
    def tolerance(self) -> float | None:
        """The tolerance of its table, in the unit of our metric."""
        return None if self.table.tolerance is None else self.table.tolerance * self._factor

    @property
    def basis(self) -> Basis:
        """How the number came to be known."""
        if self.is_reading:
            return "reading"
        if self.row.secondary or self.table.kind == "secondary_listing":
            return "quoted"
        if self.table.kind == "figure_digitized":
            return "digitized"
        return "raw runs" if self.table.kind == "recomputed_from_raw_runs" else "printed"

    def is_for(self, place: Place) -> bool:
        """Whether it was measured in the matrix cell, or on the part of the test, that a place is.

        A value for no cell in particular is for none of those that a matrix has, but for what a search of all
        of them chose.
        """
        column = None if self._column_metric else self._column_at(place)
        labels = [label for label in (self.cell, self.table.cell, column) if label is not None]
        if not labels:
            is_whole = not place.cell or ("," not in place.cell and is_chosen(place.cell))
            return is_whole and not place.part
        here = {place.cell, *place.cell.split(","), place.part}
        return all(label in here for label in labels) and (not place.part or place.part in labels)

    def _column_at(self, place: Place) -> str | None:
        """What the column is called as a part, or as a matrix cell, where `mean` is that of all others."""
        if self._column_name == MEAN and self.table.columns is not None and not place.part:
            return mean_of_tasks(len(self.table.columns) - 1)
        return self._column_name

    def published(self, footnotes: Footnotes) -> Published:
        """The table's cell, in the unit of our metric."""
        row, value = self.row, self.value
        key = load_paper(self.id.partition(".")[0]).bibtex
        source = f"{' '.join(row.source.split())} [{key}]"
        notes = []
        if row.verified:
            notes.append(footnotes.add(f"published: {source}" + (f"; {row.notes}" if row.notes else "")))
        x, curve = self._curve()
        if curve is not None:
            notes.append(footnotes.add(f"published as {self._x_name} → value"))
        return Published(
            id=self.id,
            verified=row.verified,
            basis=self.basis,
            value=self._scaled(value) if isinstance(value, float) else None,
            sd=self._sd(),
            n=row.n,
            text=value if isinstance(value, str) else None,
            x_name=None if curve is None else self._x_name,
            x=x,
            curve=curve,
            claim=row.claim,
            parameters=row.params,
            source=source,
            notes=tuple(notes),
        )

    @property
    def _column_name(self) -> str | None:
        columns = self.table.columns
        return None if columns is None or self.column is None else columns[self.column]

    @property
    def _column_metric(self) -> str | None:
        """The metric that the column is of; None where it is of a cell or a part."""
        name = (self._column_name or "").replace("-", "_")
        return name if name in METRICS else None

    @property
    def _x_name(self) -> str | None:
        return STEPS if self.is_learning_curve else self.table.x_name

    def _curve(self) -> tuple[tuple[float, ...] | None, tuple[float, ...] | None]:
        """Where a curve was measured and its values there, without what is missing."""
        if not isinstance(self.value, tuple) or self.table.x is None:
            return None, None
        points = [(x, y) for x, y in zip(self.table.x, self.value, strict=True) if y is not None]
        steps = self.table.steps_per_x or 1.0
        return tuple(x * steps for x, _ in points), tuple(self._scaled(y) for _, y in points)

    def _sd(self) -> float | None:
        sd = self.row.std
        if isinstance(sd, tuple):
            sd = None if self.column is None else sd[self.column]
        return None if sd is None else self._scaled(sd)

    @property
    def _unit(self) -> str:
        return self.row.unit or self.table.unit

    @property
    def _factor(self) -> float:
        return 0.01 if self.metric is not None and self._unit == "percent" else 1.0

    def _scaled(self, value: float) -> float:
        # Rounded, so that 73.2 % is 0.732 and not 0.7320000000000001.
        return value if self._factor == 1 else round(value * self._factor, 12)


def cite(published_id: str, cell: str | None = None, readings: Readings | None = None) -> list[Citation]:
    """The published row of an id: one citation, or one for each column that has a number.

    Args:
        published_id: Such as "rum2017.recall.lstm".
        cell: The matrix cell that it is named for; None for no certain one.
        readings: What a reader filled in.

    Raises:
        UsageError: There is no such row.
    """
    table, row = find_table(published_id.rpartition(".")[0]), find(published_id)
    is_reading = readings is not None and published_id in readings
    if readings is not None and is_reading:
        row = readings[published_id]
    columns: Sequence[int | None] = [None]
    if table.columns is not None and isinstance(row.value, tuple):
        columns = [index for index, value in enumerate(row.value) if value is not None]
    return [Citation(published_id, table, row, column, cell, is_reading) for column in columns]


def cite_table(table_id: str, readings: Readings | None = None) -> list[Citation]:
    """All rows of a published table.

    Raises:
        UsageError: There is none of this id.
    """
    rows = find_table(table_id).rows
    return [citation for row in rows for citation in cite(f"{table_id}.{row}", readings=readings)]
