"""One line for each published table: how many of its cells are reproduced, and what would be next."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from rmem_cli.published.schema import PublishedRow, PublishedTable
from rmem_cli.published.store import find, find_table, load_paper, papers
from rmem_cli.recipe import Recipe, RunSpec
from rmem_cli.recipe.commands import train_command
from rmem_cli.recipe.resolve import PAPER
from rmem_cli.report.citations import cite
from rmem_cli.report.selection import entries
from rmem_cli.report.table import APART, Line, Table
from rmem_cli.report.verdict import Outcome

Cost = Callable[[RunSpec], float | None]  # how long a run takes here, in seconds, where that is known
Verdicts = dict[tuple[str, str], tuple[Outcome, bool]]


@dataclass(frozen=True)
class Score:
    """What became of the cells of a published table.

    Attributes:
        table: Its id, such as "rum2017.recall".
        where: Where it stands in the paper.
        recipes: The recipes that run some of its rows.
        is_lesser: Whether its numbers were read off a figure or known from a quotation, and count apart.
        outcomes: Verdict to how many cells have it, of those with a number or a claim that was verified.
        quoted: How many further cells the paper quotes from others, and no recipe runs.
        smaller: How many of the cells that were not run have results of a smaller size.
    """

    table: str
    where: str
    recipes: list[str]
    is_lesser: bool
    outcomes: dict[Outcome, int]
    quoted: int
    smaller: int

    @property
    def cells(self) -> int:
        """How many cells count."""
        return sum(self.outcomes.values())

    @property
    def has_results(self) -> bool:
        """Whether a cell was run, at whatever size."""
        return self.smaller > 0 or self.cells > self.outcomes.get(Outcome.NOT_RUN, 0)


@dataclass(frozen=True)
class Candidate:
    """A row whose published cells wait for seeds.

    Attributes:
        experiment: The recipe.
        row: Its row.
        cell: Its matrix cell.
        title: Its name for readers.
        seeds: How many seeds of the recipe are missing.
        seconds: How long they take one after the other; None where nobody knows.
    """

    experiment: str
    row: str
    cell: str
    title: str
    seeds: int
    seconds: float | None

    @property
    def command(self) -> str:
        """The command that runs them."""
        return train_command(self.experiment, self.row, self.cell)


@dataclass(frozen=True)
class Scoreboard:
    """All published tables.

    Attributes:
        scores: Those that a recipe runs, in the order of the papers.
        idle: Ids of those that no recipe runs.
        candidates: Rows that wait for seeds, cheapest first; those of unknown cost last.
    """

    scores: list[Score]
    idle: list[str]
    candidates: list[Candidate]


def build_scoreboard(recipes: Sequence[Recipe], tables: Sequence[Table], cost: Cost) -> Scoreboard:
    """Count the verdicts of all published tables.

    Args:
        recipes: All there are.
        tables: The tables of those with results.
        cost: How long a run takes.
    """
    runs = _recipes_by_table(recipes)
    asked = {address.id for recipe in recipes for row in recipe.rows for address in row.published}
    verdicts = _verdicts(tables)
    ids = [f"{paper}.{table}" for paper in papers() for table in load_paper(paper).tables]
    scores = [one for table in ids if table in runs for one in _scores(table, runs[table], verdicts, asked)]
    return Scoreboard(
        scores, [table for table in ids if table not in runs], _candidates(recipes, tables, cost)
    )


def _recipes_by_table(recipes: Iterable[Recipe]) -> dict[str, list[str]]:
    """Published table to the recipes whose rows stand for some of its rows."""
    found: dict[str, dict[str, None]] = {}
    for recipe in recipes:
        for address in (address for row in recipe.rows for address in row.published):
            found.setdefault(address.id.rpartition(".")[0], {})[recipe.name] = None
    return {table: list(names) for table, names in found.items()}


def _verdicts(tables: Iterable[Table]) -> Verdicts:
    """Published cell to the verdict on it, and whether it has results of a smaller size only.

    Where several rows of ours stand for one, the first that was run at the paper's size counts.
    """
    lines = [
        ((line.published.id, name), line)
        for table in tables
        for paper in table.papers
        for name, section in zip(paper.names, paper.columns, strict=True)
        for line in section.lines
        if line.published is not None
    ]
    found: Verdicts = {}
    for cell, line in sorted(lines, key=lambda each: _rank(each[1])):
        found.setdefault(cell, (_outcome(line), PAPER not in line.ours and bool(line.ours)))
    return found


def _rank(line: Line) -> int:
    """Small for what tells most of a published cell: a result, why it has none, a smaller result, nothing."""
    tells = [PAPER in line.ours, _outcome(line) is not Outcome.NOT_RUN, bool(line.ours), True]
    return tells.index(True)


def _outcome(line: Line) -> Outcome:
    return Outcome.NOT_RUN if line.comparison is None else line.comparison.verdict.outcome


def _scores(table_id: str, recipes: list[str], verdicts: Verdicts, asked: Collection[str]) -> list[Score]:
    """The counts of a table: of its rows as printed, and apart of those that were not read there."""
    found: dict[bool, dict[str, PublishedRow]] = {False: {}, True: {}}
    for name, row in find_table(table_id).rows.items():
        found[cite(f"{table_id}.{name}")[0].basis in APART][name] = row
    scores = [
        _score(table_id, rows, recipes, verdicts, asked, is_lesser=is_lesser)
        for is_lesser, rows in found.items()
        if rows
    ]
    return [score for score in scores if score.cells or score.quoted] or scores[:1]


def _score(
    table_id: str,
    rows: Mapping[str, PublishedRow],
    recipes: list[str],
    verdicts: Verdicts,
    asked: Collection[str],
    *,
    is_lesser: bool,
) -> Score:
    """The counts of some rows; a quoted one is the table's own where a row of a recipe stands for it."""
    table = find_table(table_id)
    outcomes: Counter[Outcome] = Counter()
    quoted, smaller = 0, 0
    for name, row in rows.items():
        for column in _columns(table, row):
            found = verdicts.get((f"{table_id}.{name}", column))
            if row.quoted and f"{table_id}.{name}" not in asked:
                quoted += 1
                continue
            outcome, is_smaller = found or (Outcome.NOT_RUN, False)
            outcomes[outcome] += 1
            smaller += is_smaller
    return Score(table_id, table.where, recipes, is_lesser, dict(outcomes), quoted, smaller)


def _columns(table: PublishedTable, row: PublishedRow) -> list[str]:
    """The cells of a published row that have a number, or say something."""
    if not row.verified:
        return []
    if table.columns is not None and isinstance(row.value, tuple):
        return [name for name, value in zip(table.columns, row.value, strict=True) if value is not None]
    return [""]


def _candidates(recipes: Sequence[Recipe], tables: Sequence[Table], cost: Cost) -> list[Candidate]:
    done = {
        (table.experiment, line.id, section.cell): line.ours[PAPER]
        for table in tables
        for section in table.sections
        for line in section.lines
        if line.kind == "row" and PAPER in line.ours
    }
    found = []
    for recipe in recipes:
        named = [row.id for row in recipe.rows if any(find(one.id).verified for one in row.published)]
        for entry in entries(recipe.runs(PAPER)):
            spec = entry.spec
            ours = done.get((recipe.name, spec.row, spec.cell))
            missing = len(entry.seeds) - (0 if ours is None else ours.n + sum(ours.failed.values()))
            if spec.row in named and missing > 0:
                each = cost(spec) if ours is None or ours.wall_seconds is None else ours.wall_seconds
                total = None if each is None else each * missing
                found.append(Candidate(recipe.name, spec.row, spec.cell, spec.title, missing, total))
    return sorted(found, key=lambda one: (one.seconds is None, one.seconds or 0.0))
