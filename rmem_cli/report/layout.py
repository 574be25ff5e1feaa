"""From a table's values to grids of cells, which every format for people shares."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from rmem_cli.recipe.resolve import PAPER
from rmem_cli.report import wording
from rmem_cli.report.across import across_grids
from rmem_cli.report.curves import curve_grids, find_curves
from rmem_cli.report.explained import explanations
from rmem_cli.report.page import Cell, Column, Grid, Page, text_column
from rmem_cli.report.significance import best_line
from rmem_cli.report.table import Line, Ours, PaperTable, Section, Table, shared_notes
from rmem_cli.report.verdict import MIN_SEEDS

Key = tuple[str, str, str]  # of a line

_SIDE_BY_SIDE = 3  # columns of a published table; of more, each is a line
_COUNTS = ("verdicts on", "left out", "withdrawn", "samples of")  # how remarks begin that are always told


@dataclass(frozen=True)
class View:
    """How much is shown of a table.

    Attributes:
        everything: Rows that were not run, each protocol in a grid of its own, and what the runs cost.
        is_brief: Without the notes of the experiment, and without how surely and when a task was solved.
        more: Where the rest can be found.
        explains: Whether the rule and the numbers behind each verdict are told.
    """

    everything: bool = False
    is_brief: bool = False
    more: str = "`--all` lists them"
    explains: bool = False


def page(table: Table, view: View) -> Page:
    """What is written about an experiment."""
    tasks = list(across_grids(table))
    grids = [*tasks, *(_all_grids(table, view) if view.everything else _first_grids(table, view, tasks))]
    notes = _told_briefly(table, view) if view.is_brief else table.remarks
    legend = _legend(table, grids, is_brief=view.is_brief)
    title = f"{table.experiment}: {table.title}"
    remarks = [*notes, legend, *(explanations(table) if view.explains else [])]
    return Page(table.experiment, title, status(table), _lines(table), grids, table.footnotes, remarks)


def _lines(table: Table) -> list[str]:
    """The paper, and what the recipe says of its results, which need not be those that are shown."""
    summary = f"The recipe says: {table.summary}" if table.summary else ""
    return [line for line in (table.reference, summary) if line]


def status(table: Table) -> str:
    """How many rows there are, and how many of them were run at each scale."""
    run = [f"{count} at {scale} size" for scale, count in table.rows_run.items() if count or scale == PAPER]
    return ", ".join([_count(table.rows, "row"), *run])


def _told_briefly(table: Table, view: View) -> list[str]:
    """The counts among the remarks, and how many others there are."""
    counts = [text for text in table.remarks if text.startswith(_COUNTS)]
    others = len(table.remarks) - len(counts)
    folded = [f"{_count(others, 'note')} on the experiment: {view.more}"] if others else []
    return ["; ".join([*counts, *folded])] if counts or folded else []


def _first_grids(table: Table, view: View, tasks: Sequence[Grid]) -> list[Grid]:
    """The published tables with what was run, and what else was measured of that.

    Args:
        table: The values.
        view: How much is shown of them.
        tasks: The grids of all tasks, which are shown before.
    """
    has_run = any(line.has_run for section in table.sections for line in section.lines)
    curves, singles = _curves_and_singles(table.sections)
    on_curves = [section for group in curves for section in group]
    papers = _papers_beside(on_curves, table)
    ran = [paper for paper in papers if paper.has_run]
    shown = ran or papers
    spares = view.is_brief and bool(tasks)
    grids = [_paper_grid(paper, view, fold=bool(ran), spares=spares) for paper in shown]
    told = [section for paper in papers for section in paper.columns if section.protocol]
    main = table.sections[table.main]
    if not told and not _same(main, on_curves):
        told = [main]
        grids.append(_section_grid(_that_ran(main) if has_run else main, view))
    chosen = [one for one in _chosen(singles) if not _same(one, told) and _shows([one])]
    grids += [_section_grid(_that_ran(one), view) for one in chosen]
    told += chosen
    grids += [grid for group in curves if _shows(group) for grid in curve_grids(group, only_run=has_run)]
    others = [one for one in singles if one.protocol and not _same(one, told) and _shows([one])]
    grids += [_others_grid(others)] if others else []
    told_of = {paper.id for paper in shown}
    left = [paper for paper in papers if paper.id not in told_of]
    if left and grids:
        names = ", ".join(dict.fromkeys(paper.id for paper in left))
        grids[-1] = replace(
            grids[-1],
            below="; ".join(filter(None, [grids[-1].below, f"nothing was run of {names}: {view.more}"])),
        )
    return grids


def _all_grids(table: Table, view: View) -> list[Grid]:
    """The published tables in full, all sections, and what the runs cost."""
    curves, singles = _curves_and_singles(table.sections)
    papers = _papers_beside([section for group in curves for section in group], table)
    told = [section for paper in papers for section in paper.columns]
    found = [_paper_grid(paper, view, fold=False) for paper in papers]
    found += [grid for group in curves for grid in curve_grids(group)]
    found += [_section_grid(one, view) for one in singles if one.protocol and not _same(one, told)]
    costs = _cost_grid(table)
    return [*found, costs] if costs.columns else found


def _chosen(sections: Sequence[Section]) -> list[Section]:
    """The first test of what each search chose."""
    found: dict[str, Section] = {}
    for one in sections:
        if one.is_chosen and one.split == "test":
            found.setdefault(one.cell, one)
    return list(found.values())


def _papers_beside(on_curves: Sequence[Section], table: Table) -> list[PaperTable]:
    """The published tables, but for those all of whose numbers stand beside ours in a curve over lengths."""
    told = {line.published.id for section in on_curves for line in section.lines if line.published}

    def stands_there(paper: PaperTable) -> bool:
        lines = [line for column in paper.columns for line in column.lines]
        is_measured = any(_same(column, on_curves) for column in paper.columns)
        return is_measured and all(line.published is None or line.published.id in told for line in lines)

    return [paper for paper in table.papers if not stands_there(paper)]


def _curves_and_singles(sections: Sequence[Section]) -> tuple[list[list[Section]], list[Section]]:
    groups = find_curves(sections)
    return [group for group in groups if len(group) > 1], [group[0] for group in groups if len(group) == 1]


def _same(section: Section, others: Sequence[Section]) -> bool:
    """Whether a section is measured as one of others is."""
    return section.protocol != "" and any(section.where == other.where for other in others)


def _shows(sections: Sequence[Section]) -> bool:
    return any(line.has_run for section in sections for line in section.lines)


def _that_ran(section: Section) -> Section:
    """A section without rows that were not run."""
    return replace(section, lines=[line for line in section.lines if line.has_run or line.kind == "chance"])


def _legend(table: Table, grids: Sequence[Grid], *, is_brief: bool) -> str:
    words = ["a ± b (n): mean, standard deviation, seeds"]
    every = [ours for section in table.sections for line in section.lines for ours in line.ours.values()]
    if table.scales != [PAPER]:
        words.append("verdicts need paper size")
    if any(0 < ours.n < MIN_SEEDS for ours in every):
        words.append(f"fewer than {MIN_SEEDS} seeds show no order")
    if any(cell.is_best for grid in grids for cell in grid.cells()):
        words.append("the best of a column is marked where it is surely better than each other row")
    solved = [ours.steps_to_solve for ours in every if ours.steps_to_solve is not None]
    if not is_brief:
        words.append("[a, b]: 95 % interval")
    if not is_brief and solved:
        resolution = max(one.resolution for one in solved)
        words.append(
            "solved at: the steps at which the first and the last seed first met the rule in validation, to "
            f"within {resolution:,}; >: not within the steps that all rows had"
        )
    return "; ".join(words)


def _paper_grid(paper: PaperTable, view: View, *, fold: bool, spares: bool = False) -> Grid:
    """A published table; its columns side by side, or, where there are many, one below the other.

    Args:
        paper: The table.
        view: How much is shown.
        fold: Whether rows that were not run are counted instead.
        spares: Whether, of many columns, what is in the grid of all tasks alone is left to that: rows that
            the paper does not have, and other scales than the paper's.
    """
    lines = _across(paper.columns)
    folded = [cells for cells in lines.values() if fold and not any(map(_is_shown, cells))]
    lines = {key: cells for key, cells in lines.items() if cells not in folded}
    aligned = [
        replace(section, lines=[cells[index] for cells in lines.values()])
        for index, section in enumerate(paper.columns)
    ]
    is_long = len(aligned) > _SIDE_BY_SIDE
    aligned = _as_printed(aligned) if is_long and spares else aligned
    caption = f"{paper.id}, {paper.where}: {_caption(aligned[0] if len(aligned) == 1 else _joined(aligned))}"
    if is_long:
        return Grid(caption, _columns_as_lines(paper.names, aligned, view), _folded(folded, view))
    columns = [_models(aligned)]
    for name, section in zip(paper.names, _without_shared_notes(aligned), strict=True):
        columns += _value_columns(section, f"{name}\n" if name else "", view)
    return Grid(caption, _without_empty(columns), _folded(folded, view))


def _as_printed(sections: Sequence[Section]) -> list[Section]:
    """The columns of a published table with its own rows, at the paper's scale."""
    kept = [
        index
        for index in range(len(sections[0].lines))
        if any(section.lines[index].published is not None for section in sections)
    ]
    return [
        replace(section, scales=[PAPER], lines=[section.lines[index] for index in kept])
        for section in sections
    ]


def _folded(rows: Sequence[Sequence[Line]], view: View) -> str:
    """What is said of rows that are not shown: how many, and of how many no result could get a verdict."""
    if not rows:
        return ""
    cited = [[line.published for line in cells if line.published is not None] for cells in rows]
    wide = sum(any(one.is_too_wide for one in found) for found in cited)
    more = f", {wide} of them with a published spread too wide for the tolerance" if wide else ""
    return f"{_count(len(rows), 'more row')} of it, not run{more}: {view.more}"


def _across(columns: Sequence[Section]) -> dict[Key, list[Line]]:
    """The lines of a published table, one of each column; an empty one where a column has none.

    A published row is on the line of the row of ours that stands for it in another column.
    """
    stands_for = {
        line.published.id: line.key
        for section in columns
        for line in section.lines
        if line.kind == "row" and line.published is not None
    }
    found = [{_key(line, stands_for): line for line in section.lines} for section in columns]
    keys = dict.fromkeys(key for column in found for key in column)
    return {key: [column.get(key, Line("published", key[1], "")) for column in found] for key in keys}


def _key(line: Line, stands_for: Mapping[str, Key]) -> Key:
    cited = line.published.id if line.kind == "published" and line.published is not None else ""
    return stands_for.get(cited, line.key)


def _is_shown(line: Line) -> bool:
    return line.has_run or line.kind == "chance"


def _models(sections: Sequence[Section]) -> Column:
    """The names of lines, each from the first column that has it."""
    rows = list(zip(*(section.lines for section in sections), strict=True))
    named = [next((line for line in row if line.title), row[0]) for row in rows]
    return Column(
        Cell("Model"),
        [
            Cell(line.title, shared_notes(row), about=line.id if line.has_run else "")
            for line, row in zip(named, rows, strict=True)
        ],
    )


def _without_shared_notes(sections: Sequence[Section]) -> list[Section]:
    """The columns of a table whose lines have those footnotes that do not stand at their names."""
    rows = zip(*(section.lines for section in sections), strict=True)
    kept = [[_less(line, shared_notes(row)) for line in row] for row in rows]
    return [replace(section, lines=[row[index] for row in kept]) for index, section in enumerate(sections)]


def _less(line: Line, notes: Sequence[int]) -> Line:
    return replace(line, notes=tuple(note for note in line.notes if note not in notes))


def _columns_as_lines(names: Sequence[str], sections: Sequence[Section], view: View) -> list[Column]:
    """One line for each column of the published table, and columns of ours for each of its lines."""
    columns = [text_column("Column", names)]
    measured = _measured(sections)
    for index, first in enumerate(sections[0].lines):
        title = next(
            (section.lines[index].title for section in sections if section.lines[index].title), first.id
        )
        across = replace(measured, lines=[section.lines[index] for section in sections])
        verdicts = {wording.verdict(line.comparison).text for line in across.lines} - {""}
        if len(verdicts) == 1 and not any(line.has_run for line in across.lines):
            heading = f"{title}\nPublished,\n{verdicts.pop()}"
            columns.append(_column(heading, across, partial(_published, across.digits, view)))
        else:
            notes = shared_notes(across.lines)
            across = replace(across, lines=[_less(line, notes) for line in across.lines])
            columns += _value_columns(across, f"{title}\n", view, notes, marks_best=False)
    return _without_empty(columns)


def _measured(sections: Sequence[Section]) -> Section:
    """The first of a published table's columns that was measured, else that a recipe measures, else any."""
    asked = [section for section in sections if section.protocol] or list(sections)
    return next((one for one in asked if any(line.has_run for line in one.lines)), asked[0])


def _joined(sections: Sequence[Section]) -> Section:
    """All columns of a published table as one section, of which only a caption is made."""
    lines = [line for section in sections for line in section.lines]
    return replace(_measured(sections), cell="", part="", lines=lines)


def _value_columns(
    section: Section, name: str, view: View, notes: tuple[int, ...] = (), *, marks_best: bool = True
) -> list[Column]:
    """What was published, what was measured at each scale, and what follows; notes are of all that was."""
    digits = section.digits
    is_paper_run = any(PAPER in line.ours for line in section.lines if line.kind == "row")
    nothing_run = not any(line.has_run for line in section.lines)
    is_cited = any(line.published is not None for line in section.lines)
    published = _column(f"{name}Published", section, partial(_published, digits, view))
    columns = [published] if is_cited or nothing_run or not name else []
    for scale in section.scales:
        if scale == PAPER and not (is_paper_run or nothing_run):
            continue
        if section.protocol and not nothing_run:
            heading = Cell(f"{name}Ours, {scale}", notes)
            columns += _ours_columns(section, scale, name, heading, view, marks_best=marks_best)
        if scale == PAPER and (is_cited or nothing_run):
            differences = [wording.difference(line.comparison, digits) for line in section.lines]
            if not (view.is_brief and name):
                columns.append(Column(Cell(f"{name}Difference"), differences, is_number=True))
            verdicts = [wording.verdict(line.comparison) for line in section.lines]
            columns.append(Column(Cell(f"{name}Verdict"), verdicts))
    return columns


def _ours_columns(
    section: Section, scale: str, name: str, heading: Cell, view: View, *, marks_best: bool
) -> list[Column]:
    """What was measured at a scale, after how many steps, and who solved the task."""
    digits = section.digits
    best = best_line(section, scale) if marks_best else None
    cells = [
        replace(
            wording.ours(line.ours.get(scale), digits),
            notes=line.notes if scale in line.ours else (),
            is_best=line is best,
        )
        for line in section.lines
    ]
    ours = [Column(heading, cells, is_number=True)]
    if len(_steps(section, scale)) > 1:
        ours.append(_column("Steps", section, lambda line: _steps_of(line.ours.get(scale))))
    solved = [wording.solved(line.ours.get(scale)) for line in section.lines]
    if view.is_brief and name:
        return ours
    if view.is_brief:
        solved = [replace(cell, more=()) for cell in solved]
    return [*ours, Column(Cell(f"{name}Solved, {scale}"), solved, is_number=True)]


def _steps_of(ours: Ours | None) -> Cell:
    return Cell() if ours is None or ours.steps is None else Cell(f"{ours.steps:,}")


def _published(digits: int | None, view: View, line: Line) -> Cell:
    """A published value; nothing beside chance, and where a table has no such cell."""
    is_blank = line.kind == "chance" or (line.published is None and not line.title)
    return Cell() if is_blank else wording.published(line.published, digits, whole=view.everything)


def _section_grid(section: Section, view: View) -> Grid:
    columns = [_models([section]), *_value_columns(_without_shared_notes([section])[0], "", view)]
    if all(cell.text == wording.NOTHING or cell.is_empty for cell in columns[1].cells):
        del columns[1]
    return Grid(_caption(section), _without_empty(columns))


def _others_grid(sections: Sequence[Section]) -> Grid:
    """What else was measured of the rows that ran: a column for each way of measuring, and scale."""
    keys = dict.fromkeys(line.key[:2] for one in sections for line in one.lines if line.has_run)
    lines = {line.key[:2]: line for one in reversed(sections) for line in one.lines}
    found: dict[tuple[str, str, str, str, str, str], list[Cell]] = {}
    for section in sections:
        at = {line.key[:2]: line.ours for line in section.lines}
        for scale in section.scales:
            cells = [wording.spread(at.get(key, {}).get(scale), section.digits) for key in keys]
            if any(cell.text != wording.NOTHING for cell in cells):
                protocol = "" if section.protocol == section.split else section.protocol
                about = (section.cell, protocol, section.part, section.metric, section.split, scale)
                found[about] = cells
    same = [len({about[index] for about in found}) == 1 for index in range(6)]
    columns = [Column(Cell("Model"), [Cell(lines[key].title) for key in keys])]
    for measured, cells in found.items():
        words = [word for index, word in enumerate(measured) if word and not (index > 3 and same[index])]
        columns.append(Column(Cell("\n".join(words)), cells, is_number=True))
    common = [
        f"{next(iter(found))[index]} {noun}" for index, noun in ((4, "split"), (5, "scale")) if same[index]
    ]
    return Grid(", ".join(["also measured of the rows that were run", *common]), columns)


def _without_empty(columns: list[Column]) -> list[Column]:
    return [column for column in columns if not all(cell.is_empty for cell in column.cells)]


def _column(heading: str, section: Section, text: Callable[[Line], Cell]) -> Column:
    return Column(Cell(heading), [text(line) for line in section.lines], is_number=True)


def _steps(section: Section, scale: str) -> set[int]:
    """How long the rows of a section were trained."""
    found = (line.ours[scale].steps for line in section.lines if scale in line.ours)
    return {steps for steps in found if steps is not None}


def _caption(section: Section) -> str:
    measured = wording.measured(section)
    words = [measured if section.protocol else f"published {measured}"]
    found = (line.comparison.tolerance for line in section.lines if line.comparison is not None)
    tolerances = {tolerance for tolerance in found if tolerance is not None}
    words += [f"tolerance {tolerance:g}" for tolerance in sorted(tolerances)]
    for scale in section.scales:
        trained = _steps(section, scale)
        words += [f"{scale}: {wording.steps(*trained)}"] if len(trained) == 1 else []
    return ": ".join(filter(None, (_where(section), ", ".join(words))))


def _where(section: Section) -> str:
    split = "" if section.protocol == section.split else f"{section.split} split"
    return ", ".join(filter(None, (section.cell, section.protocol, split, section.part)))


def _cost_grid(table: Table) -> Grid:
    titles = {line.id: line.title for section in table.sections for line in section.lines}
    runs: dict[tuple[str, str, str], Ours] = {}
    for section in (one for one in table.sections if not one.is_chosen):
        for line in (line for line in section.lines if line.kind == "row"):
            for scale, ours in line.ours.items():
                runs.setdefault((line.id, section.cell, scale), ours)
    columns = [
        text_column("Model", [titles[row] for row, _, _ in runs]),
        text_column("Cell", [cell for _, cell, _ in runs]),
        text_column("Scale", [scale for _, _, scale in runs]),
        *(
            text_column(heading, map(text, runs.values()), is_number=True)
            for heading, text in (
                ("Parameters", lambda ours: wording.parameters(ours.parameters)),
                ("Time per seed", lambda ours: wording.duration(ours.wall_seconds)),
                ("Peak memory", lambda ours: wording.memory(ours.peak_memory_mb)),
            )
        ),
    ]
    return Grid("cost: median training time of a seed, largest memory", _without_empty(columns))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"
