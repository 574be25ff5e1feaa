"""Records of a text file: lines of JSON, one JSON array, or CSV with a header; the content tells which.

What an editor or a spreadsheet adds without a change of meaning is passed over: a byte order mark, also that
of UTF-16, blank lines, other separators and line ends. What would lose text is refused with its line.
"""

import csv
import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

from rmem_cli.errors import DataError
from rmem_cli.files import encoding_of

_LONGEST_FIELD = 1 << 27
_SEPARATORS = ",;\t"
_MEND = "Mend it, or leave the record out."

Record = Mapping[str, Any]


def read_records(path: Path, columns: Collection[str]) -> Iterator[tuple[str, Record]]:
    """The records of a file, each with its place: file and line.

    Args:
        path: The file.
        columns: Names that the header of a CSV file may have; they tell its separator.

    Raises:
        DataError: It is not such a file, or a record is not complete.
    """
    try:
        with path.open(encoding=_encoding(path), newline="") as handle:
            first = _first_character(handle)
            if first == "[":
                yield from _array(path, handle)
            elif first == "{":
                yield from _lines(path, handle)
            else:
                yield from _table(path, handle, columns)
    except UnicodeError as error:
        raise _not_text(path) from error


def read_lines(path: Path) -> Iterator[str]:
    """The lines of a text file, without their ends; only a line feed ends a line.

    Raises:
        DataError: It is not text.
    """
    try:
        with path.open(encoding=_encoding(path), newline="\n") as handle:
            for line in handle:
                yield line.rstrip("\r\n")
    except UnicodeError as error:
        raise _not_text(path) from error


def _encoding(path: Path) -> str:
    with path.open("rb") as handle:
        head = handle.read(4)
    encoding = encoding_of(head)
    if b"\0" in head and encoding == "utf-8":
        raise _not_text(path)
    return encoding


def _first_character(handle: TextIO) -> str:
    """The first character that is not blank; the file is at its beginning again."""
    while (character := handle.read(1)).isspace():
        pass
    handle.seek(0)
    return character


def _array(path: Path, handle: TextIO) -> Iterator[tuple[str, Record]]:
    """The objects of one array; with no place but their number, which JSON does not keep the lines of."""
    try:
        records = json.load(handle)
    except UnicodeError:  # a ValueError, too
        raise
    except (ValueError, RecursionError) as error:
        line = error.lineno if isinstance(error, json.JSONDecodeError) else 1
        raise DataError(f"{path}:{line}: this is not JSON: {error}. {_MEND}") from error
    for number, record in enumerate(records, start=1):
        yield _object(f"{path}:1, record {number}", record)


def _lines(path: Path, handle: TextIO) -> Iterator[tuple[str, Record]]:
    for number, line in enumerate(handle, start=1):
        if line.isspace():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path}:{number}: this is not a line of JSON: {error}. {_MEND}") from error
        yield _object(f"{path}:{number}", record)


def _object(place: str, record: object) -> tuple[str, Record]:
    if not isinstance(record, dict):
        raise DataError(f"{place}: this is not a record with named fields, such as {{...}}. {_MEND}")
    return place, record


def _table(path: Path, handle: TextIO, columns: Collection[str]) -> Iterator[tuple[str, Record]]:
    csv.field_size_limit(_LONGEST_FIELD)
    reader = csv.reader(handle, delimiter=_separator(handle, columns), strict=True)
    header: list[str] = []
    try:
        for cells in reader:
            place = f"{path}:{reader.line_num}"
            if not any(cell.strip() for cell in cells) and len(cells) < max(len(header), 2):
                continue
            if not header:
                header = _header(place, cells)
            elif len(cells) != len(header):
                raise DataError(
                    f"{place}: this row has {len(cells)} cells, and the header has {len(header)}. {_MEND}"
                )
            else:
                yield place, dict(zip(header, cells, strict=True))
    except csv.Error as error:
        raise DataError(f"{path}:{reader.line_num}: this is not a line of CSV: {error}. {_MEND}") from error


def _separator(handle: TextIO, columns: Collection[str]) -> str:
    """The one by which most names of columns are found in the header."""
    header = next((line for line in handle if not line.isspace()), "")
    handle.seek(0)

    def found(separator: str) -> int:
        return sum(cell.strip(' \t\r\n"') in columns for cell in header.split(separator))

    return max(_SEPARATORS, key=found)


def _header(place: str, cells: list[str]) -> list[str]:
    names = [cell.strip() for cell in cells]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise DataError(
            f"{place}: the header names {', '.join(map(repr, sorted(twice)))} more than once. "
            "Give each column a name of its own."
        )
    return names


def _not_text(path: Path) -> DataError:
    """Names the first line that is not UTF-8, and the byte: those of the beginning, if all of it is none."""
    line, place = 1, 0
    with path.open("rb") as handle:
        begin = 0
        for number, content in enumerate(handle, start=1):
            wrong = _first_wrong_byte(content)
            if wrong is not None:
                line, place = number, begin + wrong
                break
            begin += len(content)
    return DataError(f"{path}:{line}: this is not text in UTF-8 (byte {place:,}); save it as such.")


def _first_wrong_byte(line: bytes) -> int | None:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.start
    return None
