"""Joining a recipe, its results and the published numbers into a table."""

from collections.abc import Iterable, Sequence
from typing import cast

from rmem_cli.published.store import find_table, load_paper
from rmem_cli.recipe import Recipe
from rmem_cli.recipe.resolve import PAPER, Row
from rmem_cli.report.chance import chance_lines
from rmem_cli.report.citations import Citation, cite, cite_table
from rmem_cli.report.footnotes import Footnotes
from rmem_cli.report.joined import Joined, join
from rmem_cli.report.measured import compare, measure
from rmem_cli.report.places import Place, entries_at, find_places, place_x
from rmem_cli.report.selection import Entry
from rmem_cli.report.table import Comparison, Line, Ours, Section, Table
from rmem_cli.report.verdict import Outcome, Verdict
from rmem_cli.results.metrics import metric
from rmem_cli.results.row import ResultRow
from rmem_cli.tasks.config import TaskSettings

_FOLDS = (
    "each seed goes through {folds} folds, and its value is their mean, weighted by their examples; every "
    "example is tested once, by a model that was not trained on its fold"
)
_BOUNDS = (
    "[a, b] is Wilson's 95 % interval of the mean, taken as the share of right answers among all {examples} "
    "examples: seeds answer the same ones, so that more seeds do not narrow it; what other training data "
    "would change is not in it"
)
_UNVERIFIED = "unverified: the paper's number was not found in any source, so none is shown"


def build_table(recipe: Recipe, rows: Sequence[ResultRow], scale: str | None = None) -> Table:
    """The table of an experiment.

    Args:
        recipe: The experiment; all its rows are listed, whether they have results or not.
        rows: Results of the experiment; those that the recipe would not give now are counted and left out.
        scale: Show this scale only; None for `paper` and every other one with results.

    Raises:
        UsageError: The recipe has no such scale.
    """
    return _Builder(recipe, join(recipe, rows, scale)).table()


class _Builder:
    """Builds one table, footnotes and all.

    Args:
        recipe: The experiment.
        joined: What it runs, with results.
    """

    def __init__(self, recipe: Recipe, joined: Joined) -> None:
        self.recipe = recipe
        self.plan = joined.plan
        self.results = joined.results
        self.left_out = joined.left_out
        self.footnotes = Footnotes()
        self.citations = {row.id: cite(row.published[0].id) for row in recipe.rows if row.published}
        self.cited: set[str] = set()
        self.places = find_places(self.plan, self.results)

    def table(self) -> Table:
        recipe = self.recipe
        paper = load_paper(recipe.paper)
        sections = {place: self.section(place) for place in self.places}
        apart = self.add_published_lines(sections)
        return Table(
            experiment=recipe.name,
            title=recipe.title,
            reference=f"{paper.title} ({paper.venue}, {paper.year}) [{paper.bibtex}]",
            where="; ".join(find_table(table).where for table in recipe.published_tables),
            scales=list(self.plan),
            sections=[*sections.values(), *apart],
            footnotes=self.footnotes.texts,
            remarks=self.remarks([*sections.values(), *apart]),
        )

    def section(self, place: Place) -> Section:
        """The rows of the recipe that are measured at a place, with chance beside them."""
        kind = metric(place.metric)
        at_place = entries_at(place, self.plan)
        x_name, x = place_x(place, at_place) or ("", None)
        return Section(
            cell=place.cell,
            protocol=place.protocol,
            split=place.split,
            part=place.part,
            metric=kind.name,
            unit=kind.unit,
            higher_is_better=kind.higher_is_better,
            digits=kind.digits,
            scales=[scale for scale in self.plan if any(scale in at for at in at_place.values())],
            lines=[
                *(
                    self.row_line(place, row, at_place[row.id])
                    for row in self.recipe.rows
                    if row.id in at_place
                ),
                *chance_lines(self.recipe, place, at_place),
            ],
            x_name=x_name,
            x=x,
        )

    def row_line(self, place: Place, row: Row, at_scale: dict[str, Entry]) -> Line:
        """The line of a row of the recipe."""
        ours = {}
        for scale, entry in at_scale.items():
            if results := self.results.get(place.key(scale, row.id)):
                ours[scale] = measure(
                    results,
                    len(entry.seeds),
                    has_solve_rate=_is_solvable(place, entry),
                    has_bounds=entry.folds > 1 and place.metric == "accuracy",
                )
        texts = [*row.notes, *_notes_on_folds(at_scale.values(), ours.values())]
        notes = tuple(self.footnotes.add(text) for text in texts)
        citation = self.citation(place, row)
        published = None if citation is None else citation.published(self.footnotes)
        comparison = None
        if PAPER in at_scale:
            tolerance = None if citation is None else self.tolerance(citation)
            comparison = compare(ours.get(PAPER), published, tolerance, metric(place.metric), self.footnotes)
        return Line("row", row.id, row.title, published, ours, comparison, notes)

    def citation(self, place: Place, row: Row) -> Citation | None:
        """The published number that belongs to a row, if it is for this place."""
        citation = self.citations.get(row.id)
        if citation is None or self.home(citation) != place:
            return None
        self.cited.add(citation.id)
        return citation

    def tolerance(self, citation: Citation) -> float | None:
        """The recipe's tolerance, else that of the published table, in the unit of our metric."""
        return citation.tolerance if self.recipe.tolerance is None else self.recipe.tolerance

    def home(self, citation: Citation) -> Place | None:
        """Where a published value stands: the first protocol of its metric on the test split, else the first.

        It is nowhere if the recipe has matrix cells, since the value is for none of them alone.
        """
        places = [
            place
            for place in self.places
            if place.metric == citation.metric and not place.part and not place.cell
        ]
        return next((place for place in places if place.split == "test"), places[0] if places else None)

    def add_published_lines(self, sections: dict[Place, Section]) -> list[Section]:
        """List the published rows that stand beside no row of ours where their metric is measured.

        Returns:
            Sections of their own for those whose metric is not measured, or in matrix cells only.
        """
        tables = self.recipe.published_tables
        listed = [*self.citations.values(), *(one for table in tables for one in cite_table(table))]
        apart: dict[str, Section] = {}
        for citation in {citation.id: citation for citation in listed}.values():
            if citation.id in self.cited:
                continue
            home = self.home(citation)
            if home is None:
                section = apart.setdefault(citation.table_id, _apart(citation, list(self.plan)))
            else:
                section = sections[home]
            section.lines.append(self.published_line(citation))
        return list(apart.values())

    def published_line(self, citation: Citation) -> Line:
        """A line for a published row: not run, or run by rows that cannot be compared with it."""
        comparison = None
        if PAPER in self.plan:
            rows = {row for row, own in self.citations.items() if own.id == citation.id}
            metrics = {key[5] for key in self.results if key[0] == PAPER and key[1] in rows}
            if not metrics:
                verdict = Verdict(Outcome.NOT_RUN)
            elif not citation.row.verified:
                verdict = Verdict(Outcome.NO_PUBLISHED_NUMBER)
            else:
                reason = "measured in cells" if citation.metric in metrics else "another metric measured"
                verdict = Verdict(Outcome.NO_VERDICT, reason)
            comparison = Comparison(None, None, None, None, verdict)
        published = citation.published(self.footnotes)
        return Line("published", citation.id, citation.row.model, published, comparison=comparison)

    def remarks(self, sections: Iterable[Section]) -> list[str]:
        """The recipe's notes, those of its published table, and what was left out."""
        remarks = list(self.recipe.notes)
        for table in self.recipe.published_tables:
            notes = find_table(table).notes
            remarks += [f"published table: {' '.join(notes.split())}"] if notes else []
        published = [line.published for section in sections for line in section.lines if line.published]
        if any(not one.verified for one in published):
            remarks.append(_UNVERIFIED)
        remarks += [
            f"left out: {count} result{'s' * (count > 1)} {why}"
            for why, count in self.left_out.items()
            if count
        ]
        return remarks


def _is_solvable(place: Place, entry: Entry) -> bool:
    """Whether seeds solve the task or do not: the accuracies of generated tasks."""
    task = cast(TaskSettings, entry.spec.settings.task)  # which all kinds of tasks derive from
    return metric(place.metric).unit == "fraction" and task.generated


def _notes_on_folds(entries: Iterable[Entry], ours: Iterable[Ours]) -> list[str]:
    """How folds make one value, and what is known of it."""
    notes = [_FOLDS.format(folds=folds) for folds in {entry.folds for entry in entries if entry.folds > 1}]
    counts = {one.bounds.examples for one in ours if one.bounds is not None}
    return notes + [_BOUNDS.format(examples=count) for count in counts]


def _apart(citation: Citation, scales: list[str]) -> Section:
    """An empty section for published values that stand beside no result."""
    table = citation.table
    if citation.metric is not None:
        kind = metric(citation.metric)
        unit, higher, digits = kind.unit, kind.higher_is_better, kind.digits
        return Section("", "", "", "", kind.name, unit, higher, digits, scales, [])
    direction = None if table.direction == "none" else table.direction == "higher"
    return Section("", "", "", "", table.metric, table.unit, direction, None, scales, [])
