"""From the grid of cores to words."""

from rmem_cli.report import wording
from rmem_cli.report.core_grid import CoreGrid, GridLine
from rmem_cli.report.footnotes import Footnotes
from rmem_cli.report.page import Cell, Column, Grid, Page, text_column

_LEGEND = (
    "a (n) is mean and number of seeds of that core's row with the best mean, which the footnote names; a "
    "line is an experiment at one scale, of which `rmem report NAME` shows all rows"
)
_HOLES = (
    "not run: the recipe has a row of that core, which `rmem train NAME --scale SCALE` runs; -: it has none, "
    "and `--set model.core.kind=CORE` beside it runs one"
)
_TRANSFORMER_XL = "a row of the core rmt without memory tokens counts as transformer_xl"
_GATED = "gated cores with the standard gate count as lstm and gru; UR-LSTM and other gates stand apart"


def page(grid: CoreGrid, *, everything: bool = False) -> Page:
    """What is written about a grid: what has results, or all of it."""
    names = Footnotes()
    tried = [line for line in grid.lines if line.best]
    lines = grid.lines if everything or not tried else tried
    cores = [
        core for core in grid.cores if everything or not tried or any(core in line.best for line in tried)
    ]
    columns = [text_column("Experiment", [_name(line) for line in lines])]
    cells = [[_cell(line, core, names) for core in cores] for line in lines]
    for index, core in enumerate(cores):
        columns.append(Column(Cell(core.replace("_", "\n")), [row[index] for row in cells], is_number=True))
    count = f"{len(tried)} of {len(grid.lines)} lines have results"
    left = len(grid.lines) - len(lines)
    below = f"{left} lines and {len(grid.cores) - len(cores)} cores without results: `--all` lists them"
    return Page(
        "grid",
        "Every core on every task",
        count,
        [],
        [Grid("best result of each core", columns, below if left else "")],
        names.texts,
        [_TRANSFORMER_XL, _GATED, _LEGEND, _HOLES],
    )


def _name(line: GridLine) -> str:
    """The experiment, how it is measured, and where."""
    better = "↑" if line.higher_is_better else "↓"
    number = "" if line.x is None else f"{line.x_name}={line.x:g}"
    where = ", ".join(filter(None, (line.cell, line.part, number)))
    return "\n".join(filter(None, (line.experiment, f"{line.metric} {better}, {line.scale}", where)))


def _cell(line: GridLine, core: str, names: Footnotes) -> Cell:
    best = line.best.get(core)
    if best is None:
        return Cell("not run" if core in line.rows else wording.NOTHING)
    mean = wording.NOTHING if best.ours.mean is None else wording.number(best.ours.mean, line.digits)
    text = f"{mean}\n({wording.seeds(best.ours)})"
    return Cell(text, (names.add(best.title),), tuple(best.ours.caveats))
