"""What every format for people writes: lines of text and grids of cells, each part of a cell by its name."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from rmem_cli.report.verdict import Outcome
from rmem_cli.visible import one_line


@dataclass(frozen=True)
class Cell:
    """One cell of a grid, or the heading of a column.

    Attributes:
        text: What it says; in a heading, a line break is where a narrow column may break it.
        notes: Numbers of its footnotes.
        more: Lines beneath, of what matters less.
        outcome: The verdict that it tells, if it is one.
        is_best: Whether it is the best value of its column, surely better than every other.
        about: Id of the row of the recipe, or name of the recipe, that it names.
    """

    text: str = ""
    notes: tuple[int, ...] = ()
    more: tuple[str, ...] = ()
    outcome: Outcome | None = None
    is_best: bool = False
    about: str = ""

    @property
    def is_empty(self) -> bool:
        """Whether nothing is to be seen of it."""
        return not self.text and not self.more

    def mapped(self, text: Callable[[str], str], note: Callable[[int], int]) -> "Cell":
        """The same cell with other texts and numbers of footnotes."""
        return replace(
            self,
            text="\n".join(map(text, self.text.split("\n"))),
            notes=tuple(map(note, self.notes)),
            more=tuple(map(text, self.more)),
        )


@dataclass(frozen=True)
class Column:
    """One column of a grid.

    Attributes:
        heading: What it shows.
        cells: One for each line.
        is_number: Whether it holds numbers, which stand flush right.
    """

    heading: Cell
    cells: list[Cell]
    is_number: bool = False


def text_column(heading: str, texts: Iterable[str], *, is_number: bool = False) -> Column:
    """A column of plain texts."""
    return Column(Cell(heading), [Cell(text) for text in texts], is_number)


@dataclass(frozen=True)
class Grid:
    """Columns of cells under one caption.

    Attributes:
        caption: What they show.
        columns: The columns.
        below: What is said of them below.
        has_total: Whether the last line is the sum of the others.
    """

    caption: str
    columns: list[Column]
    below: str = ""
    has_total: bool = False

    @property
    def rows(self) -> list[tuple[Cell, ...]]:
        """The cells line by line."""
        return list(zip(*(column.cells for column in self.columns), strict=True))

    def cells(self) -> Iterator[Cell]:
        """All cells, line by line, headings first."""
        yield from (column.heading for column in self.columns)
        for row in self.rows:
            yield from row

    def mapped(self, text: Callable[[str], str], note: Callable[[int], int]) -> "Grid":
        """The same grid with other texts and numbers of footnotes."""
        columns = [
            Column(
                each.heading.mapped(text, note),
                [cell.mapped(text, note) for cell in each.cells],
                each.is_number,
            )
            for each in self.columns
        ]
        return Grid(text(self.caption), columns, text(self.below), self.has_total)


@dataclass(frozen=True)
class Page:
    """One document.

    Attributes:
        name: What a file or a label of it is called.
        title: Its heading.
        status: How much of it there is.
        lines: What stands below the heading.
        grids: What is shown.
        footnotes: Texts that cells refer to by number, from 1.
        remarks: The lines at the end.
    """

    name: str
    title: str
    status: str
    lines: list[str]
    grids: list[Grid]
    footnotes: list[str]
    remarks: list[str]

    def finished(self) -> "Page":
        """The same page as it may be shown, whatever was written in recipes and results.

        Footnotes are those that are referred to, numbered in the order of their first use.
        """
        used = list(
            dict.fromkeys(note for grid in self.grids for cell in grid.cells() for note in cell.notes)
        )
        numbers = {note: number for number, note in enumerate(used, 1)}
        return Page(
            one_line(self.name),
            one_line(self.title),
            one_line(self.status),
            [one_line(line) for line in self.lines],
            [grid.mapped(one_line, numbers.__getitem__) for grid in self.grids],
            [one_line(self.footnotes[note - 1]) for note in used],
            [one_line(remark) for remark in self.remarks],
        )
