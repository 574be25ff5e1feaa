"""The table of one experiment: values and what is said about them, without any formatting."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

from rmem_cli.recipe.search import is_chosen
from rmem_cli.report.verdict import Verdict

Rule = Literal["welch", "student", "single run", "claim"]
Basis = Literal["printed", "raw runs", "digitized", "quoted", "reading"]  # how a published number is known
APART: tuple[Basis, ...] = ("digitized", "quoted", "reading")  # not as good as printed, and counted apart


@dataclass(frozen=True)
class Published:
    """What a paper says: a number, a curve, or text; all None where nothing could be verified.

    Attributes:
        id: Such as "rum2019.ptb_char.fs_rum_2".
        verified: Whether the value was read in the source.
        basis: How it is known: printed in the paper, computed from the runs that its authors released, read
            off a figure, quoted by another text, or filled in by a reader.
        value: Number, in the unit of the section.
        sd: Its standard deviation.
        n: Number of runs behind it.
        text: Text, which is never compared.
        x_name: What a curve was measured over.
        x: Where it was measured.
        curve: Its values, in the unit of the section, one for each x.
        claim: What a text claims: the task is "solved", or "not solved".
        parameters: Number of parameters as the source prints it.
        source: Where the value was read, with the paper's BibTeX key.
        notes: Numbers of its footnotes.
        is_too_wide: Whether it varies so much that no result can be called reproduced.
    """

    id: str
    verified: bool
    basis: Basis
    value: float | None
    sd: float | None
    n: int | None
    text: str | None
    x_name: str | None
    x: tuple[float, ...] | None
    curve: tuple[float, ...] | None
    claim: Literal["solved", "not solved"] | None
    parameters: str | None
    source: str
    notes: tuple[int, ...] = ()
    is_too_wide: bool = False


@dataclass(frozen=True)
class SolveRate:
    """Share of the seeds that solved the task, with its 95 % interval; a diverged seed did not."""

    solved: int
    seeds: int
    low: float
    high: float


@dataclass(frozen=True)
class StepsToSolve:
    """When the seeds first solved the task in validation, as far as their committed learning curves tell.

    Attributes:
        steps: One for each seed with a curve, in rising order; None, at the end, where it was not within the
            budget.
        budget: Steps that every row of the section had; what came later does not count.
        resolution: Steps between two points of the curves.
    """

    steps: tuple[int | None, ...]
    budget: int
    resolution: int


@dataclass(frozen=True)
class Bounds:
    """95 % interval of a mean over so many examples.

    Attributes:
        examples: Those that each seed was measured on.
        low: Lower end.
        high: Upper end.
        rule: `wilson`, of a share of right answers; or `bootstrap`, of a mean of scores, and of several seeds
            the mean of their ends.
    """

    examples: int
    low: float
    high: float
    rule: Literal["wilson", "bootstrap"]


NO_VALUE = "no value"
"""How a seed ended that was trained to its end and measured no number."""


@dataclass(frozen=True, kw_only=True)
class Ours:
    """What the seeds of one row at one scale gave.

    Attributes:
        mean: Mean over the seeds; None if none finished.
        sd: Sample standard deviation; None for fewer than two seeds.
        n: Seeds with a value; 0 beside a mean that was computed instead of measured (chance).
        planned: Seeds the recipe asks for.
        failed: How seeds ended without a value (diverged, out_of_memory, failed, ...), to their number.
        solve_rate: For accuracies of generated tasks.
        bounds: For accuracies over all folds of a data set, and for scores of summaries.
        steps: Training steps that every finished seed had.
        steps_to_solve: When the task was solved, where there is a rule for that and a curve.
        caveats: What keeps the values from counting fully: "dirty tree", "no commit", "partial data".
        parameters: Trainable parameters.
        wall_seconds: Median training time of a seed.
        peak_memory_mb: Largest peak memory of a seed, in megabytes.
    """

    mean: float | None
    sd: float | None = None
    n: int = 0
    planned: int = 0
    failed: dict[str, int] = field(default_factory=dict)
    solve_rate: SolveRate | None = None
    bounds: Bounds | None = None
    steps: int | None = None
    steps_to_solve: StepsToSolve | None = None
    caveats: tuple[str, ...] = ()
    parameters: int | None = None
    wall_seconds: float | None = None
    peak_memory_mb: float | None = None

    @property
    def without_number(self) -> int:
        """Seeds that were trained and have no number: they diverged, or measured none."""
        return self.failed.get("diverged", 0) + self.failed.get(NO_VALUE, 0)


@dataclass(frozen=True)
class Comparison:
    """The full-scale result minus the published number.

    Attributes:
        difference: Ours minus published.
        low: Lower end of its 95 % interval.
        high: Upper end.
        tolerance: Largest difference that counts as reproduced.
        verdict: What follows.
        rule: How the interval was found, or a claim judged; None if neither was.
        notes: Numbers of its footnotes.
    """

    difference: float | None
    low: float | None
    high: float | None
    tolerance: float | None
    verdict: Verdict
    notes: tuple[int, ...] = ()
    rule: Rule | None = None


@dataclass(frozen=True)
class Line:
    """One line of a section.

    Attributes:
        kind: `row` of the recipe, `chance`, or a `published` row that no row of the recipe stands for.
        id: Id of the recipe's row or of the published row; "chance".
        title: Name for readers.
        published: The published value.
        ours: Scale to what was measured there; only scales with results.
        comparison: None where full-scale results are not shown, and beside chance.
        notes: Numbers of its footnotes.
    """

    kind: Literal["row", "chance", "published"]
    id: str
    title: str
    published: Published | None = None
    ours: dict[str, Ours] = field(default_factory=dict)
    comparison: Comparison | None = None
    notes: tuple[int, ...] = ()

    @property
    def key(self) -> tuple[str, str, str]:
        """What makes it the same line in another section of a table."""
        return self.kind, self.id, "" if self.published is None else self.published.id

    @property
    def has_run(self) -> bool:
        """Whether it is a row with results."""
        return self.kind == "row" and bool(self.ours)


def shared_notes(lines: Iterable[Line]) -> tuple[int, ...]:
    """The footnotes of all the lines of one row, of those that have run if one has."""
    named = [line for line in lines if line.title]
    told = [line for line in named if line.has_run] or named
    return tuple(note for note in told[0].notes if all(note in line.notes for line in told)) if told else ()


@dataclass(frozen=True)
class Section:
    """All lines that are measured alike.

    Attributes:
        cell: Matrix cell, such as "length=30" ("" if the recipe has no matrix).
        protocol: Name of the evaluation protocol; "" for published values that stand beside no result.
        split: Split of the data set.
        part: Part of the split ("" for the whole).
        metric: Name of the metric, or the paper's words for one that is not measured.
        unit: Unit of all values.
        higher_is_better: Direction; None where it is not known.
        digits: Digits after the decimal point when printed; None for as many as there are.
        scales: The scales shown that measure this.
        lines: The lines.
        x_name: The one field of the task that the protocol sets, or a field that the recipe's matrix does, if
            it is a number ("" if it is not so).
        x: Its value, the same at all scales.
        x_is_cell: Whether the matrix sets it.
    """

    cell: str
    protocol: str
    split: str
    part: str
    metric: str
    unit: str
    higher_is_better: bool | None
    digits: int | None
    scales: list[str]
    lines: list[Line]
    x_name: str = ""
    x: float | None = None
    x_is_cell: bool = False

    @property
    def is_chosen(self) -> bool:
        """Whether the cell is what a search chose of others, for each row its own."""
        return is_chosen(self.cell)

    @property
    def cell_without_x(self) -> str:
        """The matrix cell without the field that is `x`."""
        parts = self.cell.split(",")
        return ",".join(part for part in parts if not self.x_is_cell or part.partition("=")[0] != self.x_name)

    @property
    def where(self) -> tuple[str, str, str, str, str]:
        """What is measured, and where: the same in two sections if their values can be compared."""
        return self.cell, self.protocol, self.split, self.part, self.metric


@dataclass(frozen=True)
class PaperTable:
    """A table as a paper prints it: its rows and columns in its order, with ours beside each cell.

    Attributes:
        id: Such as "rum2017.recall".
        title: What it shows.
        where: Where it stands in the paper.
        basis: How its numbers are known.
        names: Names of its columns; a single "" if it has none.
        columns: A section for each; lines of different columns that have the same key are one line.
    """

    id: str
    title: str
    where: str
    basis: Basis
    names: list[str]
    columns: list[Section]

    @property
    def has_run(self) -> bool:
        """Whether any of its rows has results."""
        return any(line.has_run for section in self.columns for line in section.lines)


@dataclass(frozen=True)
class Table:
    """Everything to be said about one experiment.

    Attributes:
        experiment: Name of the recipe.
        title: Its title.
        reference: The paper, with its BibTeX key ("" for an experiment of one's own).
        summary: What the table shows and what not ("" if the recipe does not say).
        where: Where in the paper the published numbers stand ("" if the recipe names no published table).
        scales: The scales shown, in columns.
        rows: How many rows the recipe has.
        rows_run: Scale to how many of them have results there.
        papers: The published tables, as they are printed.
        main: Index of the section that answers the question of an experiment without published tables.
        sections: The results.
        footnotes: Texts that lines and cells refer to by number, from 1.
        remarks: Texts about the table as a whole.
        solved: The metric by which one of its tasks is solved, and from where on, if the recipe says so.
    """

    experiment: str
    title: str
    reference: str
    summary: str
    where: str
    scales: list[str]
    rows: int
    rows_run: dict[str, int]
    papers: list[PaperTable]
    main: int
    sections: list[Section]
    footnotes: list[str]
    remarks: list[str]
    solved: tuple[str, float] | None = None

    def only(self, rows: Collection[str]) -> "Table":
        """The table with some rows of the recipe alone.

        Args:
            rows: Their ids.
        """

        def kept(section: Section) -> Section:
            lines = [line for line in section.lines if line.kind != "row" or line.id in rows]
            return replace(section, lines=lines)

        papers = [replace(paper, columns=list(map(kept, paper.columns))) for paper in self.papers]
        return replace(self, papers=papers, sections=list(map(kept, self.sections)))

    def out_of_tolerance(self) -> Iterator[tuple[Section, Line]]:
        """The lines whose full-scale result lies wholly outside the tolerance, on either side."""
        for section in (section for paper in self.papers for section in paper.columns):
            for line in section.lines:
                if line.comparison is not None and line.comparison.verdict.outcome.out_of_tolerance:
                    yield section, line
