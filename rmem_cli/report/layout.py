"""From a table's values to grids of words, which every format for people shares."""

from collections.abc import Callable, Iterator, Sequence

from rmem_cli.recipe.resolve import PAPER
from rmem_cli.report import wording
from rmem_cli.report.curves import curve_grids, find_curves
from rmem_cli.report.page import Cell, Column, Grid, Page, text_column
from rmem_cli.report.table import Line, Ours, Section, Table
from rmem_cli.report.verdict import MIN_SEEDS


def page(table: Table) -> Page:
    """What is written about an experiment."""
    title = f"{table.experiment}: {table.title}"
    remarks = [*table.remarks, _legend(table)]
    return Page(table.experiment, title, _lines(table), _grids(table), table.footnotes, remarks)


def _lines(table: Table) -> list[str]:
    where = f"Published numbers: {table.where}" if table.where else ""
    return [line for line in (table.reference, table.summary, where) if line]


def _grids(table: Table) -> list[Grid]:
    """The table's sections, those that are points of a curve in one, and what the runs cost."""
    found: list[Grid] = []
    alone: list[Section] = []
    for sections in find_curves(table.sections):
        if len(sections) > 1:
            found += [*_section_grids(alone), *curve_grids(sections)]
            alone = []
        else:
            alone += sections
    found += _section_grids(alone)
    costs = _cost_grid(table)
    return [*found, costs] if costs.columns else found


def _section_grids(sections: Sequence[Section]) -> Iterator[Grid]:
    """A grid for each section, in which those of its parts follow it."""
    together: list[Section] = []
    for section in sections:
        if together and not (section.part and _where(section) == _where(together[0])):
            yield _section_grid(together)
            together = []
        together.append(section)
    if together:
        yield _section_grid(together)


def _where(section: Section) -> tuple[str, ...]:
    """Where a section is measured, whatever part of it."""
    return (section.cell, section.protocol, section.split, section.metric)


def _legend(table: Table) -> str:
    words = ["a ± b (n) is mean, standard deviation and number of seeds, [a, b] a 95 % interval"]
    if table.scales != [PAPER]:
        words.append("only full-scale results (paper) get a verdict")
    every = [ours for section in table.sections for line in section.lines for ours in line.ours.values()]
    if any(0 < ours.n < MIN_SEEDS for ours in every):
        words.append(f"rows of fewer than {MIN_SEEDS} seeds show no order")
    solved = [ours.steps_to_solve for ours in every if ours.steps_to_solve is not None]
    if solved:
        resolution = max(one.resolution for one in solved)
        words.append(
            "solved at: the steps at which the first and the last seed first met the rule in validation, to "
            f"within {resolution:,}; > means not within the steps that all rows had"
        )
    return "; ".join(words)


def _section_grid(sections: Sequence[Section]) -> Grid:
    """A section with its parts, if it has any, below."""
    whole = sections[0]
    digits = whole.digits
    names = [(line, section.part) for section in sections for line in section.lines]
    columns = [
        Column(Cell("Model"), [_name(line, part) for line, part in names]),
        _column(
            "Published",
            sections,
            lambda line: Cell() if line.kind == "chance" else wording.published(line.published, digits),
        ),
    ]
    for scale in whole.scales:
        if whole.protocol:
            with_steps = len(_steps(whole, scale)) > 1
            columns.append(_column(f"Ours, {scale}", sections, _ours(scale, digits, with_steps)))
            columns.append(_column(f"Solved, {scale}", sections, _solved(scale)))
        if scale == PAPER:
            columns.append(_column("Difference", sections, _difference(digits)))
            columns.append(_column("Verdict", sections, lambda line: wording.verdict(line.comparison)))
    return Grid(_caption(whole), _without_empty(columns))


def _name(line: Line, part: str) -> Cell:
    return Cell(f"{line.title}, {part}" if part else line.title, line.notes)


def _without_empty(columns: list[Column]) -> list[Column]:
    return [column for column in columns if not all(cell.is_empty for cell in column.cells)]


def _column(heading: str, sections: Sequence[Section], text: Callable[[Line], Cell]) -> Column:
    return Column(Cell(heading), [text(line) for section in sections for line in section.lines])


def _difference(digits: int | None) -> Callable[[Line], Cell]:
    return lambda line: wording.difference(line.comparison, digits)


def _ours(scale: str, digits: int | None, with_steps: bool) -> Callable[[Line], Cell]:
    return lambda line: wording.ours(line.ours.get(scale), digits, with_steps=with_steps)


def _steps(section: Section, scale: str) -> set[int]:
    """How long the rows of a section were trained."""
    found = (line.ours[scale].steps for line in section.lines if scale in line.ours)
    return {steps for steps in found if steps is not None}


def _solved(scale: str) -> Callable[[Line], Cell]:
    return lambda line: wording.solved(line.ours.get(scale))


def _caption(section: Section) -> str:
    measured = wording.measured(section)
    words = [measured if section.protocol else f"published {measured}"]
    found = (line.comparison.tolerance for line in section.lines if line.comparison is not None)
    tolerances = {tolerance for tolerance in found if tolerance is not None}
    words += [f"tolerance {tolerance:g}" for tolerance in sorted(tolerances)]
    for scale in section.scales:
        trained = _steps(section, scale)
        words += [f"{scale}: {wording.steps(*trained)}"] if len(trained) == 1 else []
    split = "" if section.protocol == section.split else f"{section.split} split"
    where = ", ".join(filter(None, (section.cell, section.protocol, split, section.part)))
    return ": ".join(filter(None, (where, ", ".join(words))))


def _cost_grid(table: Table) -> Grid:
    titles = {line.id: line.title for section in table.sections for line in section.lines}
    runs: dict[tuple[str, str, str], Ours] = {}
    for section in table.sections:
        for line in (line for line in section.lines if line.kind == "row"):
            for scale, ours in line.ours.items():
                runs.setdefault((line.id, section.cell, scale), ours)
    columns = [
        text_column("Model", [titles[row] for row, _, _ in runs]),
        text_column("Cell", [cell for _, cell, _ in runs]),
        text_column("Scale", [scale for _, _, scale in runs]),
        text_column("Parameters", [wording.parameters(ours.parameters) for ours in runs.values()]),
        text_column("Time per seed", [wording.duration(ours.wall_seconds) for ours in runs.values()]),
        text_column("Peak memory", [wording.memory(ours.peak_memory_mb) for ours in runs.values()]),
    ]
    return Grid("cost: median training time of a seed, largest memory", _without_empty(columns))
