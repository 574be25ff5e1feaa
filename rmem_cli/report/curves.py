"""Sections that differ in one number, such as a length or a learning rate, as curves over it."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from rmem_cli.report import wording
from rmem_cli.report.page import Cell, Column, Grid, text_column
from rmem_cli.report.table import Line, Ours, Section, shared_notes

FEWEST = 3  # points of a curve
_WIDEST = 7  # curves side by side


def find_curves(
    sections: Sequence[Section], fewest: int = FEWEST, *, with_numbers: bool = False
) -> list[list[Section]]:
    """The sections by the curve they are points of; one that is no point of a curve is alone.

    Points of one curve share all of the cell but the number, split, part and metric, and the protocol where
    the number is the cell's; each has a number of its own. A section with a published number is none, since
    that number is compared; a published curve stands beside ours.

    Args:
        sections: Of one table.
        fewest: Points of a curve.
        with_numbers: Whether sections with published numbers are points, too.
    """
    groups: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for index, section in enumerate(sections):
        protocol = section.protocol if section.x_is_cell else ""
        where = (
            section.cell_without_x,
            section.split,
            section.part,
            section.metric,
            section.x_name,
            protocol,
        )
        is_point = section.x is not None if with_numbers else _is_point(section)
        groups[where if is_point else (str(index),)].append(index)
    found = []
    for group in groups.values():
        is_curve = len({sections[index].x for index in group}) == len(group) >= fewest
        found += [group] if is_curve else [[index] for index in group]
    return [[sections[index] for index in group] for group in sorted(found)]


def curve_grids(points: Sequence[Section], *, only_run: bool = False) -> list[Grid]:
    """One line for each number, one column for each curve; several grids if there are many curves.

    Args:
        points: Sections of one curve.
        only_run: Leave out models without results, and numbers at which none has any.
    """
    lines = _lines(points)
    shown = [line for line in lines if line.has_run or line.first.kind == "chance" or not only_run]
    curves = [curve for line in shown for curve in line.curves(points[0].digits)]
    measured = {x for line in shown if line.has_run for x, each in line.at.items() if each.ours}
    everywhere = {x for curve in curves for x in curve.cells} | {x for line in lines for x in line.at}
    xs = sorted(measured if only_run and measured else everywhere)
    numbers = text_column(points[0].x_name, [f"{x:g}" for x in xs], is_number=True)
    nothing = Cell(wording.NOTHING)
    columns = [
        Column(curve.heading, [curve.cells.get(x, nothing) for x in xs], is_number=True) for curve in curves
    ]
    return [
        Grid(_caption(points[0], lines) if start == 0 else "continued", [numbers, *part])
        for start in range(0, max(len(columns), 1), _WIDEST)
        if (part := columns[start : start + _WIDEST]) or not start
    ]


def place_of_curve(section: Section) -> list[str]:
    """Where the points of a curve are measured, in words.

    Args:
        section: Any of them.
    """
    protocol = section.protocol if section.x_is_cell and section.protocol != section.split else ""
    return [*filter(None, (section.cell_without_x, protocol, f"{section.split} split", section.part))]


@dataclass(frozen=True)
class _Curve:
    """A heading, and the cell at each number."""

    heading: Cell
    cells: dict[float, Cell]


@dataclass(frozen=True)
class _Lines:
    """The lines of one model in all sections of a curve.

    Attributes:
        at: Number to line.
        scales: All scales of the sections.
    """

    at: dict[float, Line]
    scales: list[str]

    @property
    def first(self) -> Line:
        """The line that carries what is the same in all of them."""
        return next(iter(self.at.values()))

    @property
    def has_run(self) -> bool:
        """Whether it is a row with results at any number."""
        return any(line.has_run for line in self.at.values())

    def ours(self, scale: str) -> dict[float, Ours]:
        """Number to what was measured."""
        return {x: line.ours[scale] for x, line in self.at.items() if scale in line.ours}

    @property
    def constant(self) -> float | None:
        """The value of all lines at all scales, if it was computed and is always the same."""
        values = {ours.mean for line in self.at.values() for ours in line.ours.values()}
        return values.pop() if self.first.kind == "chance" and len(values) == 1 else None

    def curves(self, digits: int | None) -> Iterator[_Curve]:
        """What was published, and what was measured at each scale, where there is anything."""
        if self.constant is not None:
            return
        title, notes = self.first.title, shared_notes(self.at.values())
        for published in (line.published for line in self.at.values() if line.published is not None):
            points = zip(published.x or (), published.curve or (), strict=True)
            heading = Cell(f"{title}, published", (*notes, *published.notes))
            yield _Curve(heading, {x: Cell(wording.as_published(value, digits)) for x, value in points})
        for scale in self.scales:
            if measured := self.ours(scale):
                own = {x: [note for note in line.notes if note not in notes] for x, line in self.at.items()}
                cells = {
                    x: replace(wording.ours(ours, digits), notes=tuple(own[x]))
                    for x, ours in measured.items()
                }
                yield _Curve(Cell(f"{title}, {scale}", notes), cells)


def _is_point(section: Section) -> bool:
    published = [line.published for line in section.lines if line.published is not None]
    return section.x is not None and all(
        one.curve is not None and section.x_name in (one.x_name or "") for one in published
    )


def _lines(points: Sequence[Section]) -> list[_Lines]:
    scales = list(dict.fromkeys(scale for section in points for scale in section.scales))
    found: dict[tuple[str, str], dict[float, Line]] = defaultdict(dict)
    for section in points:
        for line in section.lines:
            if section.x is not None:  # as it is in all points
                found[line.kind, line.id][section.x] = line
    return [_Lines(at, scales) for at in found.values()]


def _caption(section: Section, lines: Sequence[_Lines]) -> str:
    """Where and what, and what has no curve: chance, which is one number, and models without results."""
    where = ", ".join(place_of_curve(section))
    words = [f"{where}: {wording.measured(section)}, by {section.x_name}"]
    constants = [(line.first.title, line.constant) for line in lines]
    words += [f"{title} {wording.number(value, section.digits)}" for title, value in constants if value]
    rows = [line for line in lines if line.first.kind == "row"]
    for scale in dict.fromkeys(scale for line in rows for scale in line.scales):
        without = [line.first.title for line in rows if not line.ours(scale)]
        names = f": {', '.join(without)}" if len(without) < len(rows) else ""
        words += [f"no result at {scale}{names}"] * bool(without)
    return "; ".join(words)
