"""Which run folders there are, and removing them; never imports torch.

A run in progress replaces its checkpoints: `os.walk`, unlike globs, passes over folders that are gone.
"""

import os
import time
from dataclasses import dataclass
from pathlib import Path

from rmem_cli.errors import DataError
from rmem_cli.records.folder import RECIPE, RunFolder
from rmem_cli.records.status import RunStatus, read_status
from rmem_cli.results.run_names import is_named


@dataclass(frozen=True)
class FoundRun:
    """A run on disk.

    Attributes:
        name: Its folder below that of all runs.
        path: Its folder.
        status: How far it is; None: it has not begun, or what says so is damaged.
        size: Bytes of all its files.
        changed: When the last of them was written, in seconds since 1970.
    """

    name: str
    path: Path
    status: RunStatus | None
    size: int
    changed: float

    @property
    def age(self) -> float:
        """Seconds since it was written to."""
        return max(0.0, time.time() - self.changed)


def found_runs(root: Path) -> list[FoundRun]:
    """The runs in a folder of all runs, by name."""
    return [_found(root, folder) for folder in run_folders(root)]


def run_folders(root: Path) -> list[Path]:
    """The folders of the runs in a folder of all runs, by name."""
    return sorted(Path(where) for where, _, names in os.walk(root) if RECIPE in names)


def remove_run(root: Path, run: FoundRun) -> None:
    """Delete a run, and the folders above it that it leaves empty.

    Raises:
        RunBusyError: Another process is working on the run.
        UsageError: Something in it cannot be deleted.
    """
    RunFolder.hold(run.path).remove()
    for folder in run.path.parents:
        if folder == root or any(folder.iterdir()):
            return
        folder.rmdir()


def _found(root: Path, folder: Path) -> FoundRun:
    paths = (Path(where) / name for where, _, names in os.walk(folder) for name in names)
    files = [stat for stat in map(_stat, paths) if stat is not None]
    size, changed = sum(each[0] for each in files), max((each[1] for each in files), default=0.0)
    return FoundRun(folder.relative_to(root).as_posix(), folder, _status(folder), size, changed)


def _stat(path: Path) -> tuple[int, float] | None:
    """Size and time of a file; None where it is none, or is gone: a run in progress replaces its files."""
    try:
        stat = path.lstat()
    except OSError:
        return None
    return stat.st_size, stat.st_mtime


def _status(folder: Path) -> RunStatus | None:
    try:
        return read_status(folder)
    except DataError:
        return None


def named_runs(runs: list[FoundRun], names: list[str]) -> list[FoundRun]:
    """Those with one of the names, or in a folder of that name."""
    return [run for run in runs if any(is_named(run.name, name) for name in names)]
