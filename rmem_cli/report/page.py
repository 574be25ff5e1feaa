"""What every format for people writes: lines of text and grids of words."""

from dataclasses import dataclass


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
