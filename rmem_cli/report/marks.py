"""Footnote marks of plain text: superscript numbers."""

from collections.abc import Sequence

from rmem_cli.report.page import Cell

_SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def superscript(number: int) -> str:
    """A footnote's number as its mark."""
    return str(number).translate(_SUPERSCRIPTS)


def numbered(texts: Sequence[str]) -> list[str]:
    """Footnotes with their marks, from 1."""
    return [f"{superscript(index)} {text}" for index, text in enumerate(texts, 1)]


def marked(cell: Cell) -> str:
    """The text of a cell with the marks of its footnotes."""
    return " ".join([cell.text, *map(superscript, cell.notes)])
