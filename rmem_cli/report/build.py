"""Joining a recipe, its results and the published numbers into a table."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

from rmem_cli.published.store import find_table, load_paper
from rmem_cli.recipe import Recipe, RunSpec
from rmem_cli.recipe.resolve import PAPER, Row
from rmem_cli.recipe.solved import SolvedRule
from rmem_cli.report import wording
from rmem_cli.report.chance import chance_lines, mark_no_better
from rmem_cli.report.choices import notes_on_choices
from rmem_cli.report.citations import STEPS, Citation, Readings
from rmem_cli.report.cited import Cite, Cited
from rmem_cli.report.comparison import AtStep, Rules, compare, is_too_wide
from rmem_cli.report.footnotes import Footnotes
from rmem_cli.report.joined import Joined, join
from rmem_cli.report.learning import (
    Curves,
    at_last_common_step,
    learning_sections,
    no_curves,
    notes_on_ends,
    steps_to_solve,
    trained_steps,
)
from rmem_cli.report.measured import measure
from rmem_cli.report.parts import MEAN
from rmem_cli.report.places import Place, cell_x, entries_at, find_places, main_place, place_x
from rmem_cli.report.selection import Entry
from rmem_cli.report.table import Comparison, Line, Ours, PaperTable, Published, Section, Table
from rmem_cli.report.tally import tally
from rmem_cli.report.verdict import MIN_SEEDS, Outcome, Verdict
from rmem_cli.results.metrics import ROUGE, metric
from rmem_cli.results.row import ResultRow
from rmem_cli.results.summaries import samples_name

_SOLVED = 0.99  # of a generated task, where the recipe has no rule
_FOLDS = (
    "each seed goes through {folds} folds, and its value is their mean, weighted by their examples; every "
    "example is tested once, by a model that was not trained on its fold"
)
_TASKS = "the value of a seed is the mean over the tasks, each learned by a model of its own"
_BOUNDS = {
    "wilson": "[a, b] is Wilson's 95 % interval of the mean, taken as the share of right answers among all "
    "{examples} examples: seeds answer the same ones, so that more seeds do not narrow it; what other "
    "training data would change is not in it",
    "bootstrap": "[a, b] is the 95 % interval of the mean over {examples} articles, by bootstrap, and of "
    "several seeds the mean of their ends: all are scored on the same articles; what other training data or "
    "seeds would change is not in it",
}
_PYROUGE = (
    "the papers' ROUGE is that of ROUGE-1.5.5 by pyrouge, which splits words otherwise than what scored here"
)
_SAMPLES = "samples of summaries, of the first articles of each split, stand beside the results: {names}"
_TOO_WIDE = (
    "the published spread is too wide for the tolerance: no result of {seeds} seeds can be called reproduced"
)
_UNVERIFIED = "unverified: the paper's number was not found in any source, so none is shown"


def build_table(
    recipe: Recipe,
    rows: Sequence[ResultRow],
    scale: str | None = None,
    *,
    curves: Curves = no_curves,
    readings: Readings | None = None,
) -> Table:
    """The table of an experiment.

    Args:
        recipe: The experiment; all its rows are listed, whether they have results or not.
        rows: Results of the experiment; those that the recipe would not give now are counted and left out.
        scale: Show this scale only; None for `paper` and every other one with results.
        curves: The learning curve behind a result.
        readings: Published numbers that a reader filled in.

    Raises:
        UsageError: The recipe has no such scale.
    """
    return _Builder(recipe, join(recipe, rows, scale), curves, readings).table()


class _Builder:
    """Builds one table, footnotes and all.

    Args:
        recipe: The experiment.
        joined: What it runs, with results.
        curves: The learning curve behind a result.
        readings: Published numbers that a reader filled in.
    """

    def __init__(self, recipe: Recipe, joined: Joined, curves: Curves, readings: Readings | None) -> None:
        self.recipe = recipe
        self.plan = joined.plan
        self.results = joined.results
        self.left_out = joined.left_out
        self.curves = curves
        self.footnotes = Footnotes()
        self.places = find_places(self.plan, self.results)
        self.seeds = max([MIN_SEEDS, *(len(entry.seeds) for entry in self.plan.get(PAPER, []))])
        self.cited = Cited(recipe, self.places, readings)
        self.entries = {place: entries_at(place, self.plan) for place in self.places}
        self.measured = {place: self.measure(place) for place in self.places}
        self.in_papers: set[Place] = set()

    def table(self) -> Table:
        recipe = self.recipe
        papers = [one for table in self.cited.tables for one in self.paper_tables(table)]
        sections = {place: self.section(place) for place in self.places}
        learning = [part for place, section in sections.items() for part in self.learning(place, section)]
        apart = self.add_published_lines(sections)
        return Table(
            experiment=recipe.name,
            title=recipe.title,
            reference="" if recipe.paper is None else _reference(recipe.paper),
            summary=" ".join(recipe.summary.split()),
            where="; ".join(find_table(table).where for table in recipe.published_tables),
            scales=list(self.plan),
            rows=len(recipe.rows),
            rows_run={
                scale: len({key.row for key in self.results if key.scale == scale}) for scale in self.plan
            },
            papers=papers,
            main=self.places.index(self.main_place()),
            sections=[*sections.values(), *learning, *apart],
            footnotes=self.footnotes.texts,
            remarks=self.remarks(papers),
            solved=None if recipe.solved is None else (recipe.solved.metric, recipe.solved.at),
        )

    def main_place(self) -> Place:
        """Where models are compared, at the first scale with results."""
        measured = {key.scale for key in self.results}
        scale = next((one for one in self.plan if one in measured), next(iter(self.plan)))
        return main_place(scale, self.plan[scale], self.results)

    def paper_tables(self, table: str) -> list[PaperTable]:
        """A published table with ours beside it; several where its rows are measured in several ways."""
        about, cited = find_table(table), self.cited.of_table(table)
        names = about.columns or ()
        in_columns = {
            column: [each for each in cited if each[1].column == column] for column in range(len(names))
        }
        if any(in_columns.values()):
            blank = [each for each in cited if each[1].column is None]
            found = {names[column]: [*each, *blank] for column, each in in_columns.items() if each}
            return [self.paper_table(table, found)]
        homes = list(dict.fromkeys(home for _, _, home in cited if home is not None))
        if not homes:
            return [self.paper_table(table, {"": cited})]
        parts = ([each for each in cited if (each[2] or homes[0]) == home] for home in homes)
        return [self.paper_table(table, {"": part}) for part in parts]

    def paper_table(self, table: str, cited: dict[str, list[Cite]]) -> PaperTable:
        """A published table by its columns."""
        about = find_table(table)
        sections = [self.column(each) for each in cited.values()]
        basis = next(iter(cited.values()))[0][1].basis
        return PaperTable(table, about.title, about.where, basis, list(cited), sections)

    def column(self, cited: Sequence[Cite]) -> Section:
        """The cells of one column of a published table, then rows of ours that are measured there as well."""
        place = next((home for _, _, home in cited if home is not None), None)
        if place is None:
            section = _apart(cited[0][1], list(self.plan))
            section.lines.extend(self.published_line(one, one.row.model) for _, one, _ in cited)
            return section
        lines = [
            self.published_line(one, one.row.model)
            if home is None or row not in self.entries[home]
            else self.row_line(home, row, [one])
            for row, one, home in cited
        ]
        named = {line.id for line in lines}
        others = [row for row, ours in self.measured[place].items() if ours and row not in named]
        if place not in self.in_papers:
            self.in_papers.add(place)
            lines += [replace(self.row_line(place, row, []), comparison=None) for row in others]
        return self.section_at(place, lines)

    def section(self, place: Place) -> Section:
        """The rows of the recipe that are measured at a place, with chance beside them."""
        rows = [row.id for row in self.recipe.rows if row.id in self.entries[place]]
        return self.section_at(place, [self.row_line(place, row, self.cited.at(place, row)) for row in rows])

    def section_at(self, place: Place, lines: list[Line]) -> Section:
        """Lines that are measured at a place, with chance beside them."""
        kind, at_place = metric(place.metric), self.entries[place]
        by_protocol, by_cell = place_x(place, at_place), cell_x(place, at_place)
        x_name, x = by_protocol or by_cell or ("", None)
        chance = chance_lines(self.recipe, place, at_place, self.footnotes)
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
            lines=[*mark_no_better(lines, chance, kind, self.footnotes), *chance],
            x_name=x_name,
            x=x,
            x_is_cell=by_protocol is None and by_cell is not None,
        )

    def row_line(self, place: Place, row_id: str, cited: Sequence[Citation]) -> Line:
        """The line of a row of the recipe beside what was published of it, of which the first is compared."""
        row, at_scale = self.recipe.row(row_id), self.entries[place][row_id]
        ours = self.measured[place][row_id]
        first = cited[0] if cited else None
        published = None if first is None else self.published(first)
        texts = [*row.notes, *_notes_on_means(at_scale.values(), ours.values())]
        texts += notes_on_choices(at_scale)
        texts += self.notes_on_scores(place, row_id, published)
        for scale, entry in at_scale.items():
            results = self.results.get(place.key(scale, row_id), [])
            texts += notes_on_ends(results, entry.spec.settings.train, self.curves)
        texts += [_also(one, place) for one in cited[1:]]
        notes = tuple(self.footnotes.add(text) for text in texts)
        comparison = None
        if PAPER in at_scale:
            rules = Rules(
                metric(place.metric), self.tolerance(first), self.solved_rule(place, at_scale[PAPER])
            )
            at = self.at_step(place, row, published)
            comparison = compare(ours.get(PAPER), published, rules, self.footnotes, at)
        return Line("row", row.id, row.title, published, ours, comparison, notes)

    def notes_on_scores(self, place: Place, row_id: str, published: Published | None) -> list[str]:
        """What scored summaries, and that the papers' scores are of something else."""
        results = [row for scale in self.plan for row in self.results.get(place.key(scale, row_id), [])]
        scorers = dict.fromkeys(row.settings for row in results if row.settings)
        is_beside = place.metric in ROUGE and published is not None and published.verified
        return [*(f"scored by {scorer}" for scorer in scorers), *([_PYROUGE] if is_beside else [])]

    def measure(self, place: Place) -> dict[str, dict[str, Ours]]:
        """Row to scale to what was measured at a place."""
        at_place = self.entries[place]
        budgets = {scale: self.common_budget(place, scale, at_place) for scale in self.plan}
        return {
            row: {
                scale: self.ours(place, entry, results, budgets[scale])
                for scale, entry in at_scale.items()
                if (results := self.results.get(place.key(scale, row)))
            }
            for row, at_scale in at_place.items()
        }

    def common_budget(self, place: Place, scale: str, at_place: dict[str, dict[str, Entry]]) -> int | None:
        """The most steps that every row with results had; None if no row has results, or tells its steps."""
        found = [
            self.steps(at[scale], results, self.solved_rule(place, at[scale]))
            for row, at in at_place.items()
            if scale in at and (results := self.results.get(place.key(scale, row)))
        ]
        return min((steps for steps in found if steps is not None), default=None)

    def steps(self, entry: Entry, results: Sequence[ResultRow], rule: SolvedRule | None = None) -> int | None:
        """How long the seeds of a row were trained, on one task; with a rule, see `trained_steps`."""
        return None if entry.tasks else trained_steps(results, entry.spec.settings.train, self.curves, rule)

    def ours(self, place: Place, entry: Entry, results: Sequence[ResultRow], budget: int | None) -> Ours:
        """What the seeds of a row gave."""
        rule = self.solved_rule(place, entry)
        steps = None
        if rule is not None and budget is not None:
            steps = steps_to_solve(results, rule, budget, self.validations(place))
        return measure(
            results,
            len(entry.seeds),
            steps=self.steps(entry, results),
            rule=rule,
            steps_to_solve=steps,
            has_bounds=entry.folds > 1 and place.metric == "accuracy" and place.part != MEAN,
        )

    def published(self, citation: Citation) -> Published:
        """A published value, with a note if no result can be called like it."""
        found = citation.published(self.footnotes)
        if not is_too_wide(found, self.tolerance(citation), self.seeds):
            return found
        note = self.footnotes.add(_TOO_WIDE.format(seeds=self.seeds))
        return replace(found, notes=(*found.notes, note), is_too_wide=True)

    def tolerance(self, citation: Citation | None) -> float | None:
        """The recipe's tolerance, else that of the published table, in the unit of our metric."""
        if self.recipe.tolerance is not None or citation is None:
            return self.recipe.tolerance
        return citation.tolerance

    def at_step(self, place: Place, row: Row, published: Published | None) -> AtStep | None:
        """Ours beside a published learning curve, at the last step that both have."""
        if published is None or published.x_name != STEPS:
            return None
        results = self.results.get(place.key(PAPER, row.id), [])
        return at_last_common_step(results, published, place.metric, self.validations(place))

    def learning(self, place: Place, section: Section) -> list[Section]:
        """Learning curves beside the published ones of this place."""
        lines = {}
        for line in section.lines:
            results = self.results.get(place.key(PAPER, line.id), [])
            curve = self.cited.learning_curve(place, line.id)
            if results and curve is not None:
                lines[line.id] = (line, curve.published(self.footnotes), results)
        return learning_sections(section, lines, self.validations(place)) if lines else []

    def validations(self, place: Place) -> Curves:
        """The learning curves of a place: what is validated is the whole of the task that is trained.

        It says nothing of a part, or of an evaluation whose task is another one.
        """
        entries = (entry for at_scale in self.entries[place].values() for entry in at_scale.values())
        is_another = any(_changes_the_task(entry.spec, place.protocol) for entry in entries)
        return no_curves if place.part or is_another else self.curves

    def solved_rule(self, place: Place, entry: Entry) -> SolvedRule | None:
        """When a seed has solved the task by the metric of a place; None if that is no question there."""
        rule = self.recipe.solved
        if entry.tasks:
            return None
        if rule is not None:
            return rule if rule.metric == place.metric and place.split == "test" else None
        task = entry.spec.settings.task
        is_share = metric(place.metric).unit == "fraction" and task.generated
        return SolvedRule(metric=place.metric, at=_SOLVED) if is_share else None

    def add_published_lines(self, sections: dict[Place, Section]) -> list[Section]:
        """List the published rows that stand beside no row of ours where their metric is measured.

        Returns:
            Sections of their own for those whose metric is not measured, or in matrix cells only.
        """
        apart: dict[str, Section] = {}
        for citation, home in self.cited.others():
            if home is None:
                section = apart.setdefault(citation.table_id, _apart(citation, list(self.plan)))
            else:
                section = sections[home]
            title = citation.title if home is None else citation.row.model
            section.lines.append(self.published_line(citation, title))
        return list(apart.values())

    def published_line(self, citation: Citation, title: str) -> Line:
        """A line for a published row: not run, or run by rows that cannot be compared with it."""
        comparison = None
        if PAPER in self.plan:
            comparison = Comparison(None, None, None, None, self.verdict_without_row(citation))
        why = citation.row.not_run or citation.table.not_run
        return Line(
            "published",
            citation.id,
            title,
            self.published(citation),
            comparison=comparison,
            notes=() if why is None else (self.footnotes.add(why),),
        )

    def verdict_without_row(self, citation: Citation) -> Verdict:
        """Why a published row stands beside no result."""
        rows = self.cited.rows_of(citation)
        metrics = {key.metric for key in self.results if key.scale == PAPER and key.row in rows}
        if not metrics:
            return Verdict(Outcome.NOT_RUN, "quoted by the paper" if citation.row.quoted else "")
        if not citation.row.verified:
            return Verdict(Outcome.NO_PUBLISHED_NUMBER)
        reason = "measured in cells" if citation.metric in metrics else "another metric measured"
        return Verdict(Outcome.NO_VERDICT, reason)

    def samples(self) -> str:
        """The files with what was said about articles: the first, and how many others there are."""
        rows = [row for rows in self.results.values() for row in rows if row.settings]
        names = [f"summaries/{name}.jsonl" for name in dict.fromkeys(map(samples_name, rows))]
        return " and ".join([*names[:1], *([f"{len(names) - 1} more"] if len(names) > 1 else [])])

    def remarks(self, papers: Sequence[PaperTable]) -> list[str]:
        """The recipe's notes, those of its published tables, and what was left out."""
        notes = dict.fromkeys(find_table(table).notes for table in self.recipe.published_tables)
        remarks = list(self.recipe.notes)
        remarks += [f"published table: {' '.join(note.split())}" for note in notes if note]
        sections = [section for paper in papers for section in paper.columns]
        remarks += tally(sections)
        published = [line.published for section in sections for line in section.lines if line.published]
        if any(not one.verified for one in published):
            remarks.append(_UNVERIFIED)
        if names := self.samples():
            remarks.append(_SAMPLES.format(names=names))
        remarks += [
            f"left out: {count} result{'s' * (count > 1)} {why}"
            for why, count in self.left_out.items()
            if count
        ]
        return remarks


def _reference(paper_id: str) -> str:
    paper = load_paper(paper_id)
    return f"{paper.title} ({paper.venue}, {paper.year}) [{paper.bibtex}]"


def _changes_the_task(spec: RunSpec, protocol: str) -> bool:
    """Whether a protocol measures another task than is trained and validated."""
    named = (each for each in spec.settings.eval if each.name == protocol)
    return any(spec.protocol_task(each) != spec.settings.task for each in named)


def _also(citation: Citation, place: Place) -> str:
    """What else was published of the same run."""
    published = replace(citation.published(Footnotes()), notes=(), basis="printed")
    value = wording.published(published, metric(place.metric).digits, whole=True).text
    return f"also published: {value} ({citation.id}, {citation.basis})"


def _notes_on_means(entries: Collection[Entry], ours: Iterable[Ours]) -> list[str]:
    """How folds or tasks make one value, and what the interval of a mean over examples is."""
    notes = [_FOLDS.format(folds=folds) for folds in {entry.folds for entry in entries if entry.folds > 1}]
    notes += [_TASKS] if any(entry.tasks for entry in entries) else []
    found = dict.fromkeys((one.bounds.rule, one.bounds.examples) for one in ours if one.bounds is not None)
    return notes + [_BOUNDS[rule].format(examples=count) for rule, count in found]


def _apart(citation: Citation, scales: list[str]) -> Section:
    """An empty section for published values that stand beside no result."""
    table = citation.table
    if citation.metric is not None:
        kind = metric(citation.metric)
        unit, higher, digits = kind.unit, kind.higher_is_better, kind.digits
        return Section("", "", "", "", kind.name, unit, higher, digits, scales, [])
    direction = None if table.direction == "none" else table.direction == "higher"
    return Section("", "", "", "", table.metric, table.unit, direction, None, scales, [])
