"""The results tables: one CSV per experiment that many processes may write at once."""

import re
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rmem_cli.errors import UsageError
from rmem_cli.results.curves import curve_of
from rmem_cli.results.locks import locked, replace_file
from rmem_cli.results.row import COLUMNS, ResultRow
from rmem_cli.results.summaries import samples_name
from rmem_cli.results.table import Record, read_records, to_line
from rmem_cli.results.union import latest
from rmem_cli.results.withdrawn import Withdrawals

_SAFE_NAME = re.compile(r"[A-Za-z0-9][\w.=+,@-]*", re.ASCII)


class ResultStore:
    """Results tables in one folder: `<experiment>.csv`, `curves/<name>.csv` and `summaries/<name>.jsonl`.

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
        return [record.row for record in _latest(read_records(self._table(experiment)))]

    def write(self, rows: Sequence[ResultRow], *, replace_newer: bool = True) -> None:
        """Add rows to the tables of their experiments.

        A row replaces, in its place, the one with the same key. The other rows keep their text byte for byte,
        apart from what a spreadsheet did to separators and line ends.
        When the call returns, the rows are on disk.

        Args:
            rows: Of any experiments.
            replace_newer: Whether a row replaces one of a later time, too: clocks of machines differ.

        Raises:
            UsageError: The folder cannot be written, or a table is not one that rmem wrote.
        """
        for experiment in dict.fromkeys(row.experiment for row in rows):
            table = self._table(experiment)
            added = [Record(to_line(row.to_text()), row) for row in rows if row.experiment == experiment]
            with locked(self.folder, experiment):
                merged = {record.row.key: record for record in _latest(read_records(table))}
                for record in added:
                    before = merged.get(record.row.key)
                    if replace_newer or before is None or before.row.time <= record.row.time:
                        merged[record.row.key] = record
                text = to_line(COLUMNS) + "".join(record.text for record in merged.values())
                replace_file(self.folder, table, text.encode())

    def write_curve(self, name: str, text: str) -> None:
        """Store the text of a learning curve as `curves/<name>.csv`, replacing an older one.

        Raises:
            UsageError: The folder cannot be written.
        """
        self._write_beside("curves", f"{_checked(name)}.csv", text.encode())

    def write_samples(self, name: str, text: str) -> None:
        """Store what was said about some articles as `summaries/<name>.jsonl`, likewise."""
        self._write_beside("summaries", f"{_checked(name)}.jsonl", text.encode())

    def copy_beside(self, row: ResultRow, new: ResultRow, folder: Path | None = None) -> None:
        """Store the learning curve and the samples behind a result as those of another one, if there are any.

        Args:
            row: The result.
            new: The other one.
            folder: Of the results that it is among; None: of these.

        Raises:
            UsageError: The folder cannot be written, or a file that is there cannot be read.
        """
        names = {
            "curves": (f"{curve_of(row)}.csv", f"{curve_of(new)}.csv"),
            "summaries": (f"{samples_name(row)}.jsonl", f"{samples_name(new)}.jsonl"),
        }
        for kind, (name, new_name) in names.items():
            content = _content((folder or self.folder) / kind / _checked(name))
            if content is not None:
                self._write_beside(kind, _checked(new_name), content)

    def _write_beside(self, kind: str, name: str, content: bytes) -> None:
        with locked(self.folder, kind):
            (self.folder / kind).mkdir(exist_ok=True)
            replace_file(self.folder, self.folder / kind / name, content)

    def check_writable(self) -> None:
        """Make the folder and try to write in it, so that a long run need not fail at its end.

        Raises:
            UsageError: The folder cannot be written.
        """
        with locked(self.folder, "check"), tempfile.TemporaryFile(dir=self.folder):
            pass

    def _table(self, experiment: str) -> Path:
        return self.folder / f"{_checked(experiment)}.csv"


def _latest(records: Sequence[Record]) -> list[Record]:
    """One record per key, at the place of the first: that with the latest time, of equal times the last."""
    keys = [record.row.key for record in records]
    if len({*keys}) == len(keys):
        return list(records)
    return [records[place] for place in latest(keys, [record.row.time for record in records])]


def _content(path: Path) -> bytes | None:
    """What is in a file; None if there is none."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror or error}); make it readable") from error


def _checked(name: str) -> str:
    if not _SAFE_NAME.fullmatch(name):
        raise UsageError(f"{name!r} cannot name a results file; use letters, digits, and _ . = + , @ -")
    return name
