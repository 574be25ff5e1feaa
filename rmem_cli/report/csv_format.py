"""Tables as CSV, for scripts: one record for each line and scale, numbers with every digit."""

import csv
from collections.abc import Iterable, Iterator, Sequence
from typing import IO

from rmem_cli.recipe.resolve import PAPER
from rmem_cli.report.core_grid import CoreGrid
from rmem_cli.report.table import Line, Ours, Published, Section, Table
from rmem_cli.visible import visible

COLUMNS = (
    "experiment",
    "cell",
    "protocol",
    "split",
    "part",
    "x_name",
    "x",
    "metric",
    "unit",
    "kind",
    "id",
    "title",
    "published_id",
    "published_verified",
    "published_basis",
    "published",
    "published_sd",
    "published_n",
    "published_text",
    "published_curve",
    "published_claim",
    "published_parameters",
    "published_source",
    "scale",
    "mean",
    "sd",
    "seeds",
    "planned_seeds",
    "failed",
    "steps",
    "solved",
    "solve_rate_low",
    "solve_rate_high",
    "steps_to_solve",
    "steps_budget",
    "steps_resolution",
    "mean_low",
    "mean_high",
    "caveats",
    "difference",
    "difference_low",
    "difference_high",
    "tolerance",
    "verdict",
    "reason",
    "parameters",
    "wall_seconds",
    "peak_memory_mb",
)

_LINE = (
    "experiment",
    "title",
    "task",
    "data",
    "scale",
    "cell",
    "protocol",
    "split",
    "part",
    "x_name",
    "x",
    "metric",
    "unit",
)
_OURS = (
    "mean",
    "sd",
    "seeds",
    "planned_seeds",
    "failed",
    "steps",
    "caveats",
    "parameters",
    "wall_seconds",
    "peak_memory_mb",
)
GRID_COLUMNS = (*_LINE, "core", "row", "row_title", "rows", *_OURS)


def write(tables: Sequence[Table], file: IO[str]) -> None:
    """Write the lines of all tables under one header.

    Where several numbers were published of one row, each has a record, with its own difference and verdict.

    Args:
        tables: One for each experiment.
        file: An open text file or stream.
    """
    writer = csv.DictWriter(file, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for table in tables:
        for section, line in [*_lines(table.sections), *_other_citations(table)]:
            writer.writerows(map(_visible, _records(table, section, line)))


def write_core_grid(grid: CoreGrid, file: IO[str]) -> None:
    """Write one record for each experiment and core; those without results have no values.

    Args:
        grid: The grid.
        file: An open text file or stream.
    """
    writer = csv.DictWriter(file, GRID_COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for line in grid.lines:
        common = {name: getattr(line, name) for name in _LINE}
        for core in grid.cores:
            record = {**common, "core": core}
            if best := line.best.get(core):
                record |= {"row": best.row, "row_title": best.title, "rows": best.rows, **_ours(best.ours)}
            writer.writerow(_visible(record))


def _lines(sections: Iterable[Section]) -> Iterator[tuple[Section, Line]]:
    return ((section, line) for section in sections for line in section.lines)


def _other_citations(table: Table) -> Iterator[tuple[Section, Line]]:
    """The cells of published tables that stand in no section: what else was published of a row."""
    told = [line.published for _, line in _lines(table.sections)]
    for section, line in _lines(column for paper in table.papers for column in paper.columns):
        if line.published is not None and not any(_is_same(line.published, one) for one in told):
            yield section, line


def _is_same(published: Published, other: Published | None) -> bool:
    return other is not None and (published.id, published.value, published.curve) == (
        other.id, other.value, other.curve,
    )  # fmt: skip


def _visible(record: dict[str, object]) -> dict[str, object]:
    return {name: visible(value) if isinstance(value, str) else value for name, value in record.items()}


def _records(table: Table, section: Section, line: Line) -> Iterator[dict[str, object]]:
    common = {"experiment": table.experiment, **_place(section), **_line(line), **_published(line)}
    for scale in section.scales:
        ours = line.ours.get(scale)
        # A line that was never run stays visible, once.
        if ours is not None or scale == section.scales[0]:
            compared = _comparison(line) if scale == PAPER else {}
            yield {**common, "scale": scale, **_ours(ours), **compared}


def _place(section: Section) -> dict[str, object]:
    names = ("cell", "protocol", "split", "part", "x_name", "x", "metric", "unit")
    return {name: getattr(section, name) for name in names}


def _line(line: Line) -> dict[str, object]:
    return {name: getattr(line, name) for name in ("kind", "id", "title")}


def _published(line: Line) -> dict[str, object]:
    published = line.published
    if published is None:
        return {}
    curve = zip(published.x or (), published.curve or (), strict=True)
    return {
        "published_id": published.id,
        "published_verified": str(published.verified).lower(),
        "published_basis": published.basis,
        "published": published.value,
        "published_sd": published.sd,
        "published_n": published.n,
        "published_text": published.text,
        "published_curve": ";".join(f"{x!r}={value!r}" for x, value in curve),
        "published_claim": published.claim,
        "published_parameters": published.parameters,
        "published_source": published.source,
    }


def _ours(ours: Ours | None) -> dict[str, object]:
    if ours is None:
        return {}
    found: dict[str, object] = {
        "mean": ours.mean,
        "sd": ours.sd,
        "seeds": ours.n,
        "planned_seeds": ours.planned,
        "failed": ";".join(f"{status}={count}" for status, count in sorted(ours.failed.items())),
        "steps": ours.steps,
        "caveats": ";".join(ours.caveats),
        "parameters": ours.parameters,
        "wall_seconds": ours.wall_seconds,
        "peak_memory_mb": ours.peak_memory_mb,
    }
    if ours.solve_rate is not None:
        rate = ours.solve_rate
        found |= {"solved": rate.solved, "solve_rate_low": rate.low, "solve_rate_high": rate.high}
    if ours.steps_to_solve is not None:
        solve = ours.steps_to_solve
        found |= {
            "steps_to_solve": ";".join("" if step is None else str(step) for step in solve.steps),
            "steps_budget": solve.budget,
            "steps_resolution": solve.resolution,
        }
    if ours.bounds is not None:
        found |= {"mean_low": ours.bounds.low, "mean_high": ours.bounds.high}
    return found


def _comparison(line: Line) -> dict[str, object]:
    comparison = line.comparison
    if comparison is None:
        return {}
    return {
        "difference": comparison.difference,
        "difference_low": comparison.low,
        "difference_high": comparison.high,
        "tolerance": comparison.tolerance,
        "verdict": str(comparison.verdict.outcome),
        "reason": comparison.verdict.reason,
    }
