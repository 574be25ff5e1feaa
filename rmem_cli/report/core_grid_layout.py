"""From the grid of cores to words."""

from rmem_cli.report import wording
from rmem_cli.report.core_grid import Best, CoreGrid, GridLine
from rmem_cli.report.footnotes import Footnotes
from rmem_cli.report.page import Cell, Column, Grid, Page, text_column

_LEGEND = (
    "a (n) is mean and number of seeds of that core's row with the best mean, which the footnote names; - "
    "was not run, or is not in the recipe; a line is an experiment at one scale, of which "
    "`rmem report NAME` shows all rows"
)
_TRANSFORMER_XL = "a row of the core rmt without memory tokens counts as transformer_xl"


def page(grid: CoreGrid) -> Page:
    """What is written about a grid."""
    names = Footnotes()
    columns = [text_column("Experiment", [_name(line) for line in grid.lines])]
    cells = [[_cell(line, line.best.get(core), names) for core in grid.cores] for line in grid.lines]
    for index, core in enumerate(grid.cores):
        columns.append(Column(Cell(core.replace("_", "\n")), [row[index] for row in cells]))
    tried = [line for line in grid.lines if line.best]
    count = f"{len(tried)} of {len(grid.lines)} lines have results"
    return Page(
        "grid",
        "Every core on every task",
        count,
        [],
        [Grid("best result of each core", columns)],
        names.texts,
        [_TRANSFORMER_XL, _LEGEND],
    )


def _name(line: GridLine) -> str:
    """The experiment, how it is measured, and where."""
    better = "↑" if line.higher_is_better else "↓"
    number = "" if line.x is None else f"{line.x_name}={line.x:g}"
    where = ", ".join(filter(None, (line.cell, line.part, number)))
    return "\n".join(filter(None, (line.experiment, f"{line.metric} {better}, {line.scale}", where)))


def _cell(line: GridLine, best: Best | None, names: Footnotes) -> Cell:
    if best is None:
        return Cell(wording.NOTHING)
    mean = wording.NOTHING if best.ours.mean is None else wording.number(best.ours.mean, line.digits)
    text = f"{mean}\n({wording.seeds(best.ours)})"
    return Cell(text, (names.add(best.title),), tuple(best.ours.caveats))
