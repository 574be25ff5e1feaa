"""Joining a recipe, its results and the published numbers into a table."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import cast

from rmem_cli.published.store import find_table, load_paper
from rmem_cli.recipe import Recipe, RunSpec
from rmem_cli.recipe.resolve import PAPER
from rmem_cli.recipe.schema import EvalProtocol
from rmem_cli.report.citations import Citation, cite, cite_table
from rmem_cli.report.footnotes import Footnotes
from rmem_cli.report.measured import compare, measure
from rmem_cli.report.selection import Entry, entries, select
from rmem_cli.report.table import Comparison, Line, Ours, Section, Table
from rmem_cli.report.verdict import Outcome, Verdict
from rmem_cli.results.metrics import metric
from rmem_cli.results.row import ResultRow
from rmem_cli.tasks.config import TaskSettings

_UNVERIFIED = "unverified: the paper's number was not found in any source, so none is shown"


@dataclass(frozen=True)
class _Place:
    """What the lines of a section have in common."""

    cell: str
    protocol: str
    split: str
    part: str
    metric: str


def build_table(recipe: Recipe, rows: Sequence[ResultRow], scale: str | None = None) -> Table:
    """The table of an experiment.

    Args:
        recipe: The experiment; all its rows are listed, whether they have results or not.
        rows: Results of the experiment; those that the recipe would not give now are counted and left out.
        scale: Show this scale only; None for `paper` and every other one with results.

    Raises:
        UsageError: The recipe has no such scale.
    """
    scales = [scale] if scale is not None else list(recipe.scales)
    return _Builder(recipe, {name: entries(recipe.runs(name)) for name in scales}, rows).table()


class _Builder:
    """Builds one table, footnotes and all.

    Args:
        recipe: The experiment.
        plan: Scale to what the recipe runs there.
        rows: Results.
    """

    def __init__(self, recipe: Recipe, plan: dict[str, list[Entry]], rows: Sequence[ResultRow]) -> None:
        self.recipe = recipe
        self.selection = select(plan, rows)
        with_results = {key[0] for key in self.selection.results}
        shown = [scale for scale in plan if scale in with_results or scale == PAPER] or list(plan)
        self.plan = {scale: plan[scale] for scale in shown}
        self.footnotes = Footnotes()
        self.citations = {row.id: cite(row.published) for row in recipe.rows if row.published is not None}
        self.cited: set[str] = set()
        self.places = self.all_places()

    def table(self) -> Table:
        recipe = self.recipe
        paper = load_paper(recipe.paper)
        sections = {place: self.section(place) for place in self.places}
        apart = self.add_published_lines(sections)
        return Table(
            experiment=recipe.name,
            title=recipe.title,
            reference=f"{paper.title} ({paper.venue}, {paper.year}) [{paper.bibtex}]",
            where="" if recipe.published_table is None else find_table(recipe.published_table).where,
            scales=list(self.plan),
            sections=[*sections.values(), *apart],
            footnotes=self.footnotes.texts,
            remarks=self.remarks([*sections.values(), *apart]),
        )

    def all_places(self) -> list[_Place]:
        """The sections: each matrix cell, each protocol, each of its parts that has results, each metric."""
        parts: dict[tuple[str, str, str], dict[str, None]] = defaultdict(dict)
        for _, _, cell, protocol, part, name in self.selection.results:
            parts[cell, protocol, name][part] = None
        return list(
            dict.fromkeys(
                _Place(spec.cell, protocol.name, protocol.split, part, name)
                for spec in (entry.spec for planned in self.plan.values() for entry in planned)
                for protocol in spec.settings.eval
                for name in protocol.metrics
                for part in parts.get((spec.cell, protocol.name, name), {"": None})
            )
        )

    def section(self, place: _Place) -> Section:
        """The rows of the recipe that are measured at a place, with chance beside them."""
        kind = metric(place.metric)
        entries = self.entries_at(place)
        return Section(
            cell=place.cell,
            protocol=place.protocol,
            split=place.split,
            part=place.part,
            metric=kind.name,
            unit=kind.unit,
            higher_is_better=kind.higher_is_better,
            digits=kind.digits,
            scales=[scale for scale in self.plan if any(scale in at for at in entries.values())],
            lines=[self.row_line(place, row, at) for row, at in entries.items()]
            + self.chance_lines(place, entries),
        )

    def entries_at(self, place: _Place) -> dict[str, dict[str, Entry]]:
        """Row to scale to entry, of all that is measured at a place."""
        found: dict[str, dict[str, Entry]] = {row.id: {} for row in self.recipe.rows}
        for scale, planned in self.plan.items():
            for entry in planned:
                if _protocol(entry.spec, place) is not None:
                    found[entry.spec.row][scale] = entry
        return {row: at for row, at in found.items() if at}

    def row_line(self, place: _Place, row_id: str, entries: dict[str, Entry]) -> Line:
        """The line of a row of the recipe."""
        row = self.recipe.row(row_id)
        ours = {}
        for scale, entry in entries.items():
            key = (scale, row_id, place.cell, place.protocol, place.part, place.metric)
            if results := self.selection.results.get(key):
                solvable = metric(place.metric).unit == "fraction" and _task(entry.spec).generated
                ours[scale] = measure(results, len(entry.seeds), has_solve_rate=solvable)
        notes = tuple(self.footnotes.add(note) for note in row.notes)
        citation = self.citation(place, row_id)
        published = None if citation is None else citation.published(self.footnotes)
        comparison = None
        if PAPER in entries:
            tolerance = None if citation is None else self.tolerance(citation)
            comparison = compare(ours.get(PAPER), published, tolerance, metric(place.metric), self.footnotes)
        return Line("row", row.id, row.title, published, ours, comparison, notes)

    def citation(self, place: _Place, row_id: str) -> Citation | None:
        """The published number that belongs to a row, if it is for this place."""
        citation = self.citations.get(row_id)
        if citation is None or self.home(citation) != place:
            return None
        self.cited.add(citation.id)
        return citation

    def tolerance(self, citation: Citation) -> float | None:
        """The recipe's tolerance, else that of the published table, in the unit of our metric."""
        return citation.tolerance if self.recipe.tolerance is None else self.recipe.tolerance

    def home(self, citation: Citation) -> _Place | None:
        """Where a published value stands: the first protocol of its metric on the test split, else the first.

        It is nowhere if the recipe has matrix cells, since the value is for none of them alone.
        """
        places = [
            place
            for place in self.places
            if place.metric == citation.metric and not place.part and not place.cell
        ]
        return next((place for place in places if place.split == "test"), places[0] if places else None)

    def chance_lines(self, place: _Place, entries: dict[str, dict[str, Entry]]) -> list[Line]:
        """What a model without memory reaches: one line, or several where rows differ in their task."""
        titles: dict[tuple[tuple[str, float], ...], list[str]] = defaultdict(list)
        for row, at in entries.items():
            found = ((scale, _chance(entry.spec, place)) for scale, entry in at.items())
            chances = tuple((scale, value) for scale, value in found if value is not None)
            if chances:
                titles[chances].append(self.recipe.row(row).title)
        return [
            Line(
                "chance",
                "chance",
                "chance" if len(titles) == 1 else f"chance for {'; '.join(models)}",
                ours={scale: Ours(mean=value) for scale, value in chances},
            )
            for chances, models in titles.items()
        ]

    def add_published_lines(self, sections: dict[_Place, Section]) -> list[Section]:
        """List the published rows that stand beside no row of ours where their metric is measured.

        Returns:
            Sections of their own for those whose metric is not measured, or in matrix cells only.
        """
        table = self.recipe.published_table
        listed = [*self.citations.values(), *(cite_table(table) if table is not None else [])]
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
            metrics = {key[5] for key in self.selection.results if key[0] == PAPER and key[1] in rows}
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
        if self.recipe.published_table is not None:
            notes = find_table(self.recipe.published_table).notes
            remarks += [f"published table: {' '.join(notes.split())}"] if notes else []
        published = [line.published for section in sections for line in section.lines if line.published]
        if any(not one.verified for one in published):
            remarks.append(_UNVERIFIED)
        remarks += [
            f"left out: {count} result{'s' * (count > 1)} {why}"
            for why, count in self.selection.left_out.items()
            if count
        ]
        return remarks


def _protocol(spec: RunSpec, place: _Place) -> EvalProtocol | None:
    return next(
        (
            protocol
            for protocol in spec.settings.eval
            if (spec.cell, protocol.name, protocol.split) == (place.cell, place.protocol, place.split)
            and place.metric in protocol.metrics
        ),
        None,
    )


def _task(spec: RunSpec) -> TaskSettings:
    return cast(TaskSettings, spec.settings.task)  # what every entry of the registry of tasks derives from


def _chance(spec: RunSpec, place: _Place) -> float | None:
    protocol = _protocol(spec, place)
    if protocol is None:
        return None
    return cast(TaskSettings, spec.protocol_task(protocol)).chance().get(place.metric)


def _apart(citation: Citation, scales: list[str]) -> Section:
    """An empty section for published values that stand beside no result."""
    table = citation.table
    if citation.metric is not None:
        kind = metric(citation.metric)
        unit, higher, digits = kind.unit, kind.higher_is_better, kind.digits
        return Section("", "", "", "", kind.name, unit, higher, digits, scales, [])
    direction = None if table.direction == "none" else table.direction == "higher"
    return Section("", "", "", "", table.metric, table.unit, direction, None, scales, [])
