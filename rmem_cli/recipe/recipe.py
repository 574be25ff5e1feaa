"""A recipe that was read and found valid as a whole."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from rmem_cli.errors import UsageError, closest
from rmem_cli.recipe.document import Node
from rmem_cli.recipe.overrides import Override, parse_set
from rmem_cli.recipe.problems import Problem, RecipeError
from rmem_cli.recipe.resolve import PAPER, Resolved, Row, RunSpec, Scale, resolve_all
from rmem_cli.recipe.solved import SolvedRule


@dataclass(frozen=True)
class Recipe:
    """An experiment: the rows of its table, and the scales at which they can be run.

    Attributes:
        name: Its name in commands and result files.
        title: Its name in tables.
        paper: Id of the paper it reproduces; None for an experiment of one's own.
        published_tables: Ids of the published tables whose other rows are listed as not run.
        summary: What its table shows and what not, in a sentence ("" if nobody has written it).
        tolerance: Absolute tolerance of the table's verdicts, if the recipe states one.
        solved: When a seed has solved the task; None for the accuracy of generated tasks, from 0.99 on.
        notes: Footnotes of the table.
        origin: Path of a field, or of a group of fields, to where its numbers come from.
        rows: The rows of the table, in their order.
        scales: All scales by name, `paper` first.
        base: The sections that all rows start from.
        resolved: Every row at every scale, in each of its matrix cells.
    """

    name: str
    title: str
    paper: str | None
    published_tables: list[str]
    summary: str
    tolerance: float | None
    solved: SolvedRule | None
    notes: list[str]
    origin: dict[str, str]
    rows: list[Row]
    scales: dict[str, Scale]
    base: Node = field(repr=False)
    resolved: list[Resolved] = field(repr=False)

    def runs(
        self,
        scale: str = PAPER,
        rows: Sequence[str] | None = None,
        seeds: Sequence[int] | None = None,
        overrides: Sequence[str] = (),
        cells: Sequence[str] = (),
    ) -> list[RunSpec]:
        """The runs of this recipe, row by row, cell by cell, seed by seed.

        Args:
            scale: Name of a scale.
            rows: Ids of the rows wanted; None for those that the scale runs by default.
            seeds: The seeds wanted; None for those of the recipe.
            overrides: The texts of `--set` options, `path=value`.
            cells: The values of the matrix wanted, `name=value` as in the labels of cells; of a name that is
                not among them, all.

        Raises:
            UsageError: Unknown scale, row or cell, or a negative seed.
            RecipeError: The overrides do not give valid settings.
        """
        if any(seed < 0 for seed in seeds or ()):
            raise UsageError(f"a seed must be at least 0, not {min(seeds or ())}")
        resolved = self._within(cells, self.resolve(scale, rows, overrides), scale)
        return [spec for one in resolved for spec in one.specs(self.name, seeds)]

    def searches(self, scale: str) -> list[list[Resolved]]:
        """The candidates of each search at a scale, those together of which one is chosen.

        Raises:
            UsageError: There is no such scale.
        """
        found: dict[tuple[str, str], list[Resolved]] = {}
        for one in self.resolve(scale, [row.id for row in self.rows_at(scale)]):
            if one.search is not None:
                found.setdefault((one.row.id, one.searched_cell), []).append(one)
        return list(found.values())

    def resolve(
        self, scale: str = PAPER, rows: Sequence[str] | None = None, overrides: Sequence[str] = ()
    ) -> list[Resolved]:
        """The settings of each chosen row and matrix cell; arguments and errors as for `runs`."""
        chosen = self._choose(scale, rows)
        if not overrides:
            ids = {row.id for row in chosen}
            return [one for one in self.resolved if one.scale == scale and one.row.id in ids]
        sets, problems = _parse_sets(overrides)
        resolved = resolve_all(self.base, [(row, self.scales[scale]) for row in chosen], sets, problems)
        if problems:
            raise RecipeError(problems)
        return resolved

    def _within(self, cells: Sequence[str], resolved: list[Resolved], scale: str) -> list[Resolved]:
        """Those that have one of the values wanted of each name that is among them."""
        there = dict.fromkeys(part for one in resolved for part in one.cell.split(",") if part)
        wanted: dict[str, set[str]] = {}
        for cell in cells:
            if cell not in there:
                raise UsageError(
                    f"{self.name} has no cell {cell!r} at scale {scale!r}; {closest(cell, there)}"
                )
            wanted.setdefault(cell.partition("=")[0], set()).add(cell)
        return [one for one in resolved if all(values & {*one.cell.split(",")} for values in wanted.values())]

    def rows_at(self, scale: str) -> list[Row]:
        """All rows that can be run at a scale.

        Raises:
            UsageError: There is no such scale.
        """
        if scale not in self.scales:
            raise UsageError(f"{self.name} has no scale {scale!r}; {closest(scale, self.scales)}")
        return [row for row in self.rows if self.scales[scale].includes(row)]

    def row(self, row_id: str) -> Row:
        """The row with this id.

        Raises:
            UsageError: There is none.
        """
        rows = {row.id: row for row in self.rows}
        if row_id not in rows:
            raise UsageError(f"{self.name} has no row {row_id!r}; {closest(row_id, rows)}")
        return rows[row_id]

    def _choose(self, scale: str, rows: Sequence[str] | None) -> list[Row]:
        """The rows asked for, in the recipe's order."""
        there = self.rows_at(scale)
        for row in map(self.row, rows or ()):
            if row not in there:
                names = ", ".join(row.id for row in there)
                raise UsageError(f"{self.name} leaves row {row.id!r} out at scale {scale}; its rows: {names}")
        chosen = rows or self.scales[scale].default_rows
        return [row for row in there if not chosen or row.id in chosen]


def _parse_sets(texts: Iterable[str]) -> tuple[list[Override], list[Problem]]:
    """The `--set` options that can be read, and what is wrong with the others."""
    sets: list[Override] = []
    problems: list[Problem] = []
    for text in texts:
        try:
            sets.append(parse_set(text))
        except RecipeError as error:
            problems += error.problems
    return sets, problems
