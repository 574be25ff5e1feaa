"""The results tables: one CSV per experiment that many processes may write at once."""

import contextlib
import csv
import io
import re
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from rmem_cli.errors import UsageError
from rmem_cli.files import sync_folder, write_durably
from rmem_cli.results.row import COLUMNS, ResultRow, with_decimal_points
from rmem_cli.results.text_files import BYTE_ORDER_MARK, damaged, read_text
from rmem_cli.results.withdrawn import Withdrawals

_LOCKS = ".locks"
_LOCK_TIMEOUT_SECONDS = 120
_SAFE_NAME = re.compile(r"[A-Za-z0-9][\w.=+,@-]*", re.ASCII)
_NEEDS_QUOTES = re.compile(r'[",\r\n]')
_SEPARATORS = ",;\t"
"""Of cells: the own one, and those that spreadsheets put in its place."""
_CURE = (
    "restore the file with git (a spreadsheet that saved it may have changed it), "
    "or move it away to start a new one"
)


@dataclass(frozen=True, slots=True)
class _Record:
    """A row of a table together with its exact text in the file."""

    text: str
    row: ResultRow


class ResultStore:
    """Results tables in one folder: `<experiment>.csv` and `curves/<name>.csv`.

    A table is replaced as a whole by a rename, so a reader, or a machine that loses power, sees the table
    before or after a write and nothing between. Writers take turns by a lock. Locks and unfinished files live
    in `.locks`, which git ignores.

    A table that a spreadsheet has saved is read, too, as long as every cell still says the same: in UTF-16,
    with a byte order mark, other line ends, quotes, separators or decimal commas. What can be read in two
    ways, or has been reformatted, is refused, and not written to.

    Args:
        folder: Folder of the tables; made when first written to.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def experiments(self) -> list[str]:
        """Names of the experiments that have a table, sorted."""
        return sorted(path.stem for path in self.folder.glob("*.csv"))

    def read(self, experiment: str) -> list[ResultRow]:
        """The rows of an experiment that count: all but those that were withdrawn.

        Raises:
            UsageError: As for `read_all`, or the file of withdrawals is damaged.
        """
        withdrawn = Withdrawals(self.folder)
        return [row for row in self.read_all(experiment) if withdrawn.of(row) is None]

    def read_all(self, experiment: str) -> list[ResultRow]:
        """The rows of an experiment in the order of the table; none if it has no table.

        A union merge by git can leave several rows with one key: the one with the latest time is given,
        and of equal times the last.

        Raises:
            UsageError: The table is not one that rmem wrote; the message names file and line.
        """
        return [record.row for record in _latest(_read_records(self._table(experiment)))]

    def write(self, rows: Sequence[ResultRow]) -> None:
        """Add rows to the tables of their experiments.

        A row replaces, in its place, the one with the same key. The other rows keep their text byte for byte,
        apart from what a spreadsheet did to separators and line ends.
        When the call returns, the rows are on disk.

        Raises:
            UsageError: The folder cannot be written, or a table is not one that rmem wrote.
        """
        for experiment in dict.fromkeys(row.experiment for row in rows):
            table = self._table(experiment)
            added = [_Record(_line(row.to_text()), row) for row in rows if row.experiment == experiment]
            with self._lock(experiment):
                merged = {record.row.key: record for record in _latest(_read_records(table))}
                merged.update((record.row.key, record) for record in added)
                self._replace(table, _line(COLUMNS) + "".join(record.text for record in merged.values()))

    def write_curve(self, name: str, text: str) -> None:
        """Store the text of a learning curve as `curves/<name>.csv`, replacing an older one.

        Raises:
            UsageError: The folder cannot be written.
        """
        curve = self.folder / "curves" / f"{_checked(name)}.csv"
        with self._lock("curves"):
            curve.parent.mkdir(exist_ok=True)
            self._replace(curve, text)

    def copy_curve(self, name: str, new_name: str) -> None:
        """Store a learning curve under another name, too; nothing if there is none.

        Raises:
            UsageError: The folder cannot be written.
        """
        try:
            text = (self.folder / "curves" / f"{_checked(name)}.csv").read_text(encoding="utf-8")
        except (OSError, ValueError):
            return
        self.write_curve(new_name, text)

    def check_writable(self) -> None:
        """Make the folder and try to write in it, so that a long run need not fail at its end.

        Raises:
            UsageError: The folder cannot be written.
        """
        with self._lock("check"), tempfile.TemporaryFile(dir=self.folder):
            pass

    def _table(self, experiment: str) -> Path:
        return self.folder / f"{_checked(experiment)}.csv"

    @contextlib.contextmanager
    def _lock(self, name: str) -> Iterator[None]:
        locks = self.folder / _LOCKS
        path = locks / f"{name}.lock"
        try:
            locks.mkdir(parents=True, exist_ok=True)
            _hide_from_git(locks)
            with FileLock(path, timeout=_LOCK_TIMEOUT_SECONDS):
                yield
        except Timeout as error:
            raise UsageError(
                f"another process has held {path} for {_LOCK_TIMEOUT_SECONDS} seconds; "
                "wait for it or end it, then run the same command again"
            ) from error
        except OSError as error:
            raise UsageError(
                f"the results folder {self.folder} cannot be written ({error.strerror or error}); "
                "make it writable, or name another one in RMEM_RESULTS"
            ) from error

    def _replace(self, target: Path, text: str) -> None:
        """Replace a file by a rename, after its new content has reached the disk. Only under a lock."""
        unfinished = self.folder / _LOCKS / f"{target.name}.unfinished"
        write_durably(unfinished, text.encode())
        unfinished.replace(target)
        sync_folder(target.parent)


def _read_records(table: Path) -> list[_Record]:
    """All rows of a table with their text; repeated header lines and empty lines are passed over."""
    text = read_text(table, _CURE)
    if text is not None and not text.strip():
        raise damaged(table, 1, "the table is empty, without even a header", _CURE)
    records: list[_Record] = []
    for number, line in _split(text or ""):
        try:
            cells, kept = _cells(line)
            if any(cells) and not _is_header(cells) and not (number == 1 and _names_separator(cells)):
                records.append(_Record(kept, _row(cells, table.stem)))
        except (ValueError, csv.Error) as error:
            raise damaged(table, number, str(error), _CURE) from error
    return records


def _row(cells: Sequence[str], experiment: str) -> ResultRow:
    row = ResultRow.from_text(cells)
    if row.experiment != experiment:
        raise ValueError(f"column 'experiment' holds {row.experiment!r}, not {experiment!r} as the file")
    return row


def _cells(line: str) -> tuple[list[str], str]:
    """The cells of a record, and its text as it is written again: as it was, if it was written here.

    Raises:
        ValueError: A quote is left open: what is written behind it would belong to the same cell.
        csv.Error: Its quotes are not right.
    """
    if line.count('"') % 2:
        raise ValueError("a quote is never closed")
    line = line.removeprefix(BYTE_ORDER_MARK).removesuffix("\n").removesuffix("\r")
    for separator in _SEPARATORS:
        try:
            cells = next(csv.reader([line], delimiter=separator, strict=True), [])
        except csv.Error:
            continue
        if len(cells) >= len(COLUMNS) and not any(cells[len(COLUMNS) :]):
            plain = with_decimal_points(cells[: len(COLUMNS)])
            return plain, f"{line}\n" if separator == "," and plain == cells else _line(plain)
    return next(csv.reader([line], strict=True), []), f"{line}\n"


def _is_header(cells: Sequence[str]) -> bool:
    if 2 * len({*cells} & {*COLUMNS}) < len(COLUMNS):
        return False
    if list(cells) != list(COLUMNS):
        other = ", ".join(sorted({*cells} ^ {*COLUMNS})) or "the order of its columns"
        raise ValueError(f"the header is not that of a results table; they differ in {other}")
    return True


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


def _latest(records: Sequence[_Record]) -> list[_Record]:
    """One record per key, at the place of the first: that with the latest time, of equal times the last."""
    latest: dict[tuple[str | int, ...], _Record] = {}
    for record in records:
        known = latest.get(record.row.key)
        if known is None or record.row.time >= known.row.time:
            latest[record.row.key] = record
    return list(latest.values())


def _line(cells: Sequence[str]) -> str:
    return ",".join(_quoted(cell) for cell in cells) + "\n"


def _quoted(cell: str) -> str:
    # Not csv.writer: it leaves a lone carriage return without quotes, which no reader takes back.
    return '"' + cell.replace('"', '""') + '"' if _NEEDS_QUOTES.search(cell) else cell


def _checked(name: str) -> str:
    if not _SAFE_NAME.fullmatch(name):
        raise UsageError(f"{name!r} cannot name a results file; use letters, digits, and _ . = + , @ -")
    return name


def _hide_from_git(folder: Path) -> None:
    ignore = folder / ".gitignore"
    if not ignore.exists() or ignore.stat().st_size == 0:
        ignore.write_text("*\n", encoding="utf-8")
