"""Published numbers as the table shows them, in the units of our metrics."""

from dataclasses import dataclass

from rmem_cli.published.schema import PublishedRow, PublishedTable
from rmem_cli.published.store import find, find_table, load_paper
from rmem_cli.report.footnotes import Footnotes
from rmem_cli.report.table import Published

_METRICS = {
    "bits per character": "bpc",
    "nats per symbol": "loss",
    "perplexity": "perplexity",
    "squared error": "mse",
}


@dataclass(frozen=True)
class Citation:
    """A row of a published table, with what is needed to compare it.

    Attributes:
        id: Such as "rum2019.ptb_char.fs_rum_2".
        table: The table it is from.
        row: The row.
    """

    id: str
    table: PublishedTable
    row: PublishedRow

    @property
    def table_id(self) -> str:
        """Id of the table."""
        return self.id.rpartition(".")[0]

    @property
    def metric(self) -> str | None:
        """Our metric that measures the same thing; None if we have none."""
        if self.table.unit in ("percent", "fraction"):
            measured = self.table.metric.lower()
            if measured.startswith("f1"):
                return "f1"
            if "acc" not in measured:
                return None
            return "exact_match" if "answer" in measured else "accuracy"
        return _METRICS.get(self.table.unit)

    @property
    def tolerance(self) -> float | None:
        """The tolerance of its table, in the unit of our metric."""
        return None if self.table.tolerance is None else self.table.tolerance * self._factor

    def published(self, footnotes: Footnotes) -> Published:
        """The table's cell, in the unit of our metric."""
        row, value = self.row, self.row.value
        key = load_paper(self.id.partition(".")[0]).bibtex
        source = f"{' '.join(row.source.split())} [{key}]"
        notes = []
        if row.verified:
            notes.append(footnotes.add(f"published: {source}" + (f"; {row.notes}" if row.notes else "")))
        curve = tuple(point for point in value if point is not None) if isinstance(value, tuple) else None
        if curve is not None:
            notes.append(footnotes.add(f"published as {self.table.x_name} → value"))
        return Published(
            id=self.id,
            verified=row.verified,
            value=self._scaled(value) if isinstance(value, float) else None,
            sd=self._scaled(row.std) if isinstance(row.std, float) else None,
            n=row.n,
            text=value if isinstance(value, str) else None,
            x_name=None if curve is None else self.table.x_name,
            x=None if curve is None else self.table.x,
            curve=None if curve is None else tuple(self._scaled(point) for point in curve),
            parameters=row.params,
            source=source,
            notes=tuple(notes),
        )

    @property
    def _factor(self) -> float:
        return 0.01 if self.metric is not None and self.table.unit == "percent" else 1.0

    def _scaled(self, value: float) -> float:
        # Rounded, so that 73.2 % is 0.732 and not 0.7320000000000001.
        return value if self._factor == 1 else round(value * self._factor, 12)


def cite(published_id: str) -> Citation:
    """The published row of an id.

    Raises:
        UsageError: There is none.
    """
    return Citation(published_id, find_table(published_id.rpartition(".")[0]), find(published_id))


def cite_table(table_id: str) -> list[Citation]:
    """All rows of a published table.

    Raises:
        UsageError: There is none of this id.
    """
    return [cite(f"{table_id}.{row}") for row in find_table(table_id).rows]
