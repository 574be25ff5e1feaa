"""Published numbers as lines of text."""

import textwrap
from collections.abc import Iterator

from rmem_cli.published.schema import Fact, PublishedRow, PublishedTable
from rmem_cli.published.selection import Counts, Tables, papers_of
from rmem_cli.published.store import curve_points, load_paper


def overview(tables: Tables, width: int | None) -> Iterator[str]:
    """A line for each paper and for each of its tables, with the counts of its rows.

    Args:
        tables: Tables by their ids.
        width: Characters after which a line is broken; None for never.
    """
    for paper in papers_of(tables):
        about = load_paper(paper)
        yield from _wrapped(
            f"{paper}: {about.title} ({about.venue} {about.year}; arXiv:{about.arxiv})", width, indent=0
        )
        for name, table in tables.items():
            if name.startswith(f"{paper}."):
                yield from _wrapped(
                    f"{name}: {table.title}; {_counted(Counts.of({name: table}))}", width, indent=2
                )
    yield from _wrapped(f"all: {len(tables)} tables; {_counted(Counts.of(tables))}", width, indent=0)


def rows_in_full(tables: Tables, width: int | None) -> Iterator[str]:
    """Each table with what it says of itself, and each row with its value, source and notes.

    Args:
        tables: Tables by their ids.
        width: Characters after which a line is broken; None for never.
    """
    for number, (name, table) in enumerate(tables.items()):
        if number:
            yield ""
        yield from _wrapped(f"{name}: {table.title}", width, indent=0)
        for line in _about(table):
            yield from _wrapped(line, width, indent=2)
        for row, published in table.rows.items():
            yield from _wrapped(f"{row}: {published.model}", width, indent=2)
            for line in _facts(f"{name}.{row}", table, published):
                yield from _wrapped(line, width, indent=4)


def value_text(table: PublishedTable, row: PublishedRow) -> str:
    """The value of a row in words: its number and deviation, one for each x or column, text, or none."""
    if row.value is None:
        return "no number"
    if isinstance(row.value, str):
        return row.value if row.claim is None else f"{row.value} ({row.claim})"
    if isinstance(row.value, float):
        return _number(row.value, row.std)
    labels = table.columns or tuple(f"{x:.10g}" for x in table.x or ())
    stds = row.std if isinstance(row.std, tuple) else (None,) * len(row.value)
    parts = zip(labels, row.value, stds, strict=True)
    return "; ".join(f"{label}: {_number(value, std)}" for label, value, std in parts)


def _number(value: float | None, std: float | tuple[float | None, ...] | None) -> str:
    if value is None:
        return "-"
    return f"{value:.10g} ± {std:.10g}" if isinstance(std, float) else f"{value:.10g}"


def _about(table: PublishedTable) -> Iterator[str]:
    yield f"{table.where}; {table.dataset}"
    better = "" if table.direction == "none" else f"; {table.direction} is better"
    over = f"; over {table.x_name}" if table.x_name else ""
    unit = "" if table.unit in (table.metric, "none") else f", in {table.unit}"
    yield f"{table.metric}{unit}{better}{over}; {table.kind.replace('_', ' ')}"
    if table.notes:
        yield f"notes: {table.notes}"
    if table.not_run:
        yield f"not run: {table.not_run}"


def _facts(name: str, table: PublishedTable, row: PublishedRow) -> Iterator[str]:
    yield value_text(table, row) + (f" (n = {row.n})" if row.n else "")
    points = len(curve_points(name))
    if points:
        yield f"{points} digitized points"
    if row.params:
        yield f"{row.params} parameters"
    origin = [word for word, holds in (("quoted", row.quoted), ("secondary", row.secondary)) if holds]
    yield f"source{' (' + ', '.join(origin) + ')' if origin else ''}: {row.source}"
    if row.notes:
        yield f"notes: {row.notes}"
    if row.facts:
        yield "known: " + "; ".join(f"{key} {_fact(value)}" for key, value in row.facts.items())
    if row.not_run:
        yield f"not run: {row.not_run}"


def _fact(fact: Fact) -> str:
    return ", ".join(map(str, fact)) if isinstance(fact, tuple) else str(fact)


def _counted(counts: Counts) -> str:
    parts = {
        "with numbers": counts.numbers,
        "in words": counts.words,
        "blank": counts.blank,
        "quoted": counts.quoted,
        "secondary": counts.secondary,
        "digitized": counts.curves,
    }
    words = [f"{count} {word}" for word, count in parts.items() if count]
    if counts.points:
        words.append(f"{counts.points} points")
    return f"{counts.rows} row{'s' if counts.rows != 1 else ''}: {', '.join(words)}"


def _wrapped(text: str, width: int | None, indent: int) -> list[str]:
    """A line of text, and its indented rest where it is longer than the width."""
    before, text = " " * indent, " ".join(text.split())
    if width is None:
        return [before + text]
    rest = " " * (indent + 2)
    return textwrap.wrap(
        text, max(width, 20), initial_indent=before, subsequent_indent=rest, break_on_hyphens=False
    )
