"""Results that were withdrawn: their rows stay in the tables, and count nowhere."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter

from rmem_cli.errors import UsageError, closest
from rmem_cli.results.locks import locked, replace_file
from rmem_cli.results.row import TIME, ResultRow
from rmem_cli.results.run_names import is_named, run_name
from rmem_cli.results.text_files import damaged_line, read_text

_FILE = "withdrawn.jsonl"
_CURE = "restore the file with git, or remove the line"


@dataclass(frozen=True)
class Withdrawal:
    """A run that was withdrawn.

    Attributes:
        run: Its name, as `run_name` gives it.
        reason: Why.
        time: Of its last result then; one that is made later counts again.
    """

    run: str
    reason: str
    time: Annotated[str, Field(pattern=f"^({TIME})?$")]


_WITHDRAWAL = TypeAdapter(Withdrawal)


class Withdrawals:
    """The withdrawals of a folder of results.

    Args:
        folder: Folder of the results.

    Raises:
        UsageError: Their file is damaged; the message names the line.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / _FILE
        self.all = [self._read(number, line) for number, line in enumerate(self._lines(), 1) if line.strip()]

    def of(self, row: ResultRow) -> Withdrawal | None:
        """The withdrawal of a result; None if it counts."""
        name = run_name(row) if self.all else ""
        return next((one for one in self.all if one.run == name and row.time <= one.time), None)

    def _lines(self) -> list[str]:
        return (read_text(self.path, _CURE) or "").split("\n")

    def _read(self, number: int, line: str) -> Withdrawal:
        try:
            return _WITHDRAWAL.validate_json(line)
        except ValueError as error:
            message = "the line is no withdrawal, with run, reason and time"
            raise damaged_line(self.path, number, message, _CURE) from error


def add_withdrawals(folder: Path, new: Iterable[Withdrawal]) -> None:
    """Add to what is withdrawn, each once.

    Raises:
        UsageError: The folder cannot be written, or the file of withdrawals is damaged.
    """
    with locked(folder, "withdrawn"):
        known = Withdrawals(folder)
        every = dict.fromkeys([*known.all, *new])
        text = "".join(json.dumps(asdict(one)) + "\n" for one in every)
        replace_file(folder, known.path, text.encode())


def withdraw(folder: Path, rows: list[ResultRow], names: list[str], reason: str) -> list[str]:
    """Withdraw runs, and with each what was taken over from it, or it from: the same results by other names.

    Args:
        folder: Folder of the results.
        rows: All results there.
        names: Names of runs, or their beginning up to a slash.
        reason: Why.

    Returns:
        The names of the runs.

    Raises:
        UsageError: There are no results of one of the names, or the folder cannot be written.
    """
    runs = list(dict.fromkeys(map(run_name, rows)))
    chosen = [run for run in runs if any(is_named(run, name) for name in names)]
    for name in names:
        if not any(is_named(run, name) for run in runs):
            raise UsageError(f"there is no result of a run {name!r} in {folder}; {closest(name, runs)}")
    made = {_moment(row) for row in rows if run_name(row) in chosen}
    last: dict[str, str] = {}
    for row in rows:
        if _moment(row) in made or run_name(row) in chosen:
            last[run_name(row)] = max(row.time, last.get(run_name(row), ""))
    add_withdrawals(folder, [Withdrawal(run, reason, time) for run, time in last.items()])
    return list(last)


def _moment(row: ResultRow) -> tuple[str, int, str]:
    """What results that were taken over have in common with those of the run that was made."""
    return row.train_hash, row.seed, row.time
