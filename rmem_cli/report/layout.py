"""From a table's values to grids of words, which every format for people shares."""

from collections.abc import Callable

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
    found = []
    for sections in find_curves(table.sections):
        found += [_section_grid(sections[0])] if len(sections) == 1 else curve_grids(sections)
    costs = _cost_grid(table)
    return [*found, costs] if costs.columns else found


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


def _section_grid(section: Section) -> Grid:
    digits = section.digits
    columns = [
        _column("Model", section, lambda line: Cell(line.title, line.notes)),
        _column(
            "Published",
            section,
            lambda line: Cell() if line.kind == "chance" else wording.published(line.published, digits),
        ),
    ]
    for scale in section.scales:
        if section.protocol:
            with_steps = len(_steps(section, scale)) > 1
            columns.append(_column(f"Ours, {scale}", section, _ours(scale, digits, with_steps)))
            columns.append(_column(f"Solved, {scale}", section, _solved(scale)))
        if scale == PAPER:
            columns.append(_column("Difference", section, _difference(digits)))
            columns.append(_column("Verdict", section, lambda line: wording.verdict(line.comparison)))
    return Grid(_caption(section), _without_empty(columns))


def _without_empty(columns: list[Column]) -> list[Column]:
    return [column for column in columns if not all(cell.is_empty for cell in column.cells)]


def _column(heading: str, section: Section, text: Callable[[Line], Cell]) -> Column:
    return Column(Cell(heading), [text(line) for line in section.lines])


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
