"""What every format for people writes: lines of text and grids of words."""

from dataclasses import dataclass

from rmem_cli.visible import one_line, visible


@dataclass(frozen=True)
class Column:
    """One column of a grid.

    Attributes:
        heading: What it shows; a line break is where a narrow column may break it.
        cells: One text for each line; a line break separates what is less important.
    """

    heading: str
    cells: list[str]


@dataclass(frozen=True)
class Grid:
    """Columns of text under one caption."""

    caption: str
    columns: list[Column]

    def visible(self) -> "Grid":
        """The same grid as it may be shown."""
        columns = [
            Column(one_line(each.heading), [visible(cell) for cell in each.cells]) for each in self.columns
        ]
        return Grid(one_line(self.caption), columns)

    @property
    def rows(self) -> list[tuple[str, ...]]:
        """The cells line by line."""
        return list(zip(*(column.cells for column in self.columns), strict=True))


@dataclass(frozen=True)
class Page:
    """One document.

    Attributes:
        heading: The lines above all grids, of which the first is the title.
        grids: What is shown.
        notes: The lines below.
    """

    heading: list[str]
    grids: list[Grid]
    notes: list[str]

    def visible(self) -> "Page":
        """The same page as it may be shown, whatever was written in recipes and results."""
        return Page(
            [one_line(line) for line in self.heading],
            [grid.visible() for grid in self.grids],
            [one_line(note) for note in self.notes],
        )
