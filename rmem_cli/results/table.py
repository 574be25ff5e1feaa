"""The text of a results table, read row by row and written as it was."""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rmem_cli.results.row import COLUMNS, OLDER, REQUIRED, ResultRow, with_decimal_points
from rmem_cli.results.text_files import BYTE_ORDER_MARK, damaged_line, read_text
from rmem_cli.results.union import with_all_columns

_NEEDS_QUOTES = re.compile(r'[",\r\n]')
_SEPARATORS = ",;\t"
"""Of cells: the own one, and those that spreadsheets put in its place."""
_CURE = (
    "restore the file with git (a spreadsheet that saved it may have changed it), "
    "or move it away to start a new one"
)
Header = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Record:
    """A row of a table together with its exact text in the file."""

    text: str
    row: ResultRow


@dataclass(frozen=True)
class _Line:
    """A row as it stands in a file.

    Attributes:
        number: Of its first line.
        text: Without the end of the line.
        separator: Of its cells.
        cells: One for each column of its header.
        header: The header that it was written under.
    """

    number: int
    text: str
    separator: str
    cells: list[str]
    header: Header


def read_records(table: Path) -> list[Record]:
    """All rows of a table with their text; repeated header lines and empty lines are passed over.

    A table may have more than one header: an older version's, and this one's after a union merge by git. A
    row is of the one that has as many columns, and columns that it lacks are blank; rows of versions
    before need no header of their own.

    Raises:
        UsageError: It is not one that rmem wrote; the message names file and line.
    """
    text = read_text(table, _CURE)
    if text is not None and not text.strip():
        raise damaged_line(table, 1, "the table is empty, without even a header", _CURE)
    lines = _lines(table, text or "")
    cells = _complete(lines)
    records = []
    for line, complete in zip(lines, cells, strict=True):
        with _told(table, line.number):
            plain = with_decimal_points(complete)
            as_it_was = line.separator == "," and plain[: len(line.cells)] == line.cells
            own = f"{line.text}\n" if as_it_was else to_line(plain)
            records.append(Record(own, _row(plain, table.stem)))
    return records


def to_line(cells: Sequence[str]) -> str:
    """Cells as a line of a table."""
    return ",".join(_quoted(cell) for cell in cells) + "\n"


@contextmanager
def _told(table: Path, number: int) -> Iterator[None]:
    """Inside, what is wrong is damage of a line of a table."""
    try:
        yield
    except (ValueError, csv.Error) as error:
        raise damaged_line(table, number, str(error), _CURE) from error


def _lines(table: Path, text: str) -> list[_Line]:
    """The rows of a table, each with the header that it was written under."""
    lines: list[_Line] = []
    headers: dict[int, Header] = {}  # by the number of columns
    for number, record in _split(text):
        with _told(table, number):
            written = record.removeprefix(BYTE_ORDER_MARK).removesuffix("\n").removesuffix("\r")
            cells, separator = _cells(written, headers)
            header = _header(cells)
            if header is not None:
                if headers.setdefault(len(header), header) != header:
                    raise ValueError("another header of as many columns stands above")
            elif any(cells) and not (number == 1 and _names_separator(cells)):
                own = _fitting(cells, headers)
                if own is None:
                    known = " or ".join(map(str, headers or [len(COLUMNS)]))
                    raise ValueError(f"the row has {len(cells)} cells, not {known}")
                lines.append(_Line(number, written, separator, cells, own))
    return lines


def _complete(lines: Sequence[_Line]) -> list[list[str]]:
    """The cells of each row, one for each of `COLUMNS`."""
    found = [line.cells[: len(line.header)] for line in lines]
    for header in {line.header for line in lines} - {COLUMNS}:
        places = [place for place, line in enumerate(lines) if line.header == header]
        rows = with_all_columns(header, [found[place] for place in places])
        for place, row in zip(places, rows, strict=True):
            found[place] = row
    return found


def _row(cells: Sequence[str], experiment: str) -> ResultRow:
    row = ResultRow.from_text(cells)
    if row.experiment != experiment:
        raise ValueError(f"column 'experiment' holds {row.experiment!r}, not {experiment!r} as the file")
    return row


def _cells(line: str, headers: dict[int, Header]) -> tuple[list[str], str]:
    """The cells of a record, and what separates them.

    Raises:
        ValueError: A quote is left open: what is written behind it would belong to the same cell.
        csv.Error: Its quotes are not right.
    """
    if line.count('"') % 2:
        raise ValueError("a quote is never closed")
    for separator in _SEPARATORS:
        try:
            cells = next(csv.reader([line], delimiter=separator, strict=True), [])
        except csv.Error:
            continue
        if _fitting(cells, headers) is not None or _header(cells) is not None:
            return cells, separator
    return next(csv.reader([line], strict=True), []), ","


def _fitting(cells: Sequence[str], headers: dict[int, Header]) -> Header | None:
    """The header of a row: the longest with a column for each cell but blank ones at the end."""
    known = headers or {len(COLUMNS): COLUMNS}
    if len(COLUMNS) in known:
        known = {**{len(older): older for older in OLDER}, **known}
    for width in sorted(known, reverse=True):
        if len(cells) >= width and not any(cells[width:]):
            return known[width]
    return None


def _header(cells: Sequence[str]) -> Header | None:
    """The columns that a line names, in their order; None if it names none.

    Raises:
        ValueError: They are not columns of a results table, or not enough to know what a row is of.
    """
    if 2 * len({*cells} & {*COLUMNS}) < len(COLUMNS):
        return None
    names = tuple(cells)
    while not names[-1]:
        names = names[:-1]
    known = tuple(column for column in COLUMNS if column in names)
    wrong = sorted(({*names} - {*COLUMNS}) | ({*REQUIRED} - {*names}))
    if wrong or names != known:
        other = ", ".join(wrong) or "the order of its columns"
        raise ValueError(f"the header is not that of a results table; they differ in {other}")
    return names


def _names_separator(cells: Sequence[str]) -> bool:
    """Whether this is the line by which spreadsheets tell each other the separator, such as `sep=;`."""
    return "".join(cells).rstrip(_SEPARATORS) == "sep="


def _split(text: str) -> Iterator[tuple[int, str]]:
    """The records of a CSV text with the number of their first line; a quoted cell may span lines."""
    record, first = "", 1
    for number, line in enumerate(io.StringIO(text, newline="\n"), 1):
        if not record:
            first = number
        record += line
        # Quotes come in pairs, doubled ones included, so an odd number of them leaves a cell open.
        if record.count('"') % 2 == 0:
            yield first, record
            record = ""
    if record:
        yield first, record


def _quoted(cell: str) -> str:
    # Not csv.writer: it leaves a lone carriage return without quotes, which no reader takes back.
    return '"' + cell.replace('"', '""') + '"' if _NEEDS_QUOTES.search(cell) else cell
