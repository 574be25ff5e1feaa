"""The folder of one run: its recipe, its lock, and what stands in it."""

import shutil
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

from filelock import FileLock, Timeout

from rmem_cli.errors import RmemError, RunsFailedError, UsageError
from rmem_cli.files import lock_of, remedy, write_atomically
from rmem_cli.recipe.settings_file import settings_text
from rmem_cli.records.curve import CurveFile, UnwrittenCurveFile
from rmem_cli.records.environment import Environment, read_environment
from rmem_cli.records.files import write_json, written
from rmem_cli.records.pulse import FILE as PULSE
from rmem_cli.records.status import RunStatus, Status, read_status
from rmem_cli.results.run_names import folder_name

if TYPE_CHECKING:
    from rmem_cli.recipe.resolve import RunSpec

HOW_TO_TRAIN = (
    "`rmem train` with the same options trains it; if its results are here already, add --rerun all"
)
"""What to do where a run is not."""

RECIPE = "recipe.yaml"
"""The file with the settings of the run."""

_TRACEBACK = "traceback.txt"


class RunBusyError(UsageError):
    """Another process is working on the run."""


class UnforeseenError(RmemError):
    """An error that is not one of rmem's own; its traceback is in the run folder."""

    exit_code = RunsFailedError.exit_code


def run_path(spec: "RunSpec", train_hash: str, runs_root: Path) -> Path:
    """Folder of a run: `runs_root/<experiment>/<row>[/<cell>]/<scale>-seed<k>-<hash>`."""
    return runs_root / folder_name(spec, train_hash)


def folders_of(train_hash: str, seed: int, runs_root: Path) -> list[Path]:
    """The folders of all runs of a hash and a seed, whatever their names."""
    name = f"*-seed{seed}-{train_hash}"
    return sorted(folder for depth in ("*/*", "*/*/*") for folder in runs_root.glob(f"{depth}/{name}"))


def has_ended(folder: Path) -> bool:
    """Whether the run in a folder came to its end, and its last checkpoint is there.

    Raises:
        DataError: Its status is damaged.
    """
    status = read_status(folder)
    return status is not None and status.status == "ok" and (folder / "checkpoints" / "last.json").exists()


def check_runs_root(runs_root: Path) -> None:
    """Make the folder of all runs and try to write in it, so that this fails once and not in each run.

    Raises:
        UsageError: The folder cannot be written.
    """
    try:
        runs_root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=runs_root):
            pass
    except OSError as error:
        raise _unwritable(runs_root, error) from error


class RunFolder:
    """A run's folder, held by this process alone until it is closed or the process ends.

    Attributes:
        path: The folder.
        curve: The learning curve.
    """

    def __init__(self, path: Path, lock: FileLock) -> None:
        self.path = path
        self.curve = CurveFile(path / "metrics.csv")
        self._lock = lock

    @classmethod
    def open(cls, spec: "RunSpec", train_hash: str, runs_root: Path) -> Self:
        """Make the folder if there is none, take its lock, and keep the recipe.

        Args:
            spec: The run.
            train_hash: Its hash with that of its data.
            runs_root: The folder of all runs.

        Raises:
            RunBusyError: Another process is working on the run.
            UsageError: The folder cannot be written.
        """
        path = run_path(spec, train_hash, runs_root)
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _unwritable(path, error) from error
        folder = cls.hold(path)
        try:
            if not (path / RECIPE).exists():
                write_atomically(path / RECIPE, settings_text(spec.settings))
        except OSError as error:
            folder.close()
            raise _unwritable(path, error) from error
        return folder

    @classmethod
    def hold(cls, path: Path) -> Self:
        """Take the lock of a folder that is there.

        Raises:
            RunBusyError: Another process is working on the run.
            UsageError: The folder cannot be written.
        """
        lock = lock_of(path / "lock")
        try:
            lock.acquire()
        except Timeout as error:
            raise RunBusyError(
                f"another process is working on the run in {path}; wait for it or end it"
            ) from error
        except OSError as error:
            raise _unwritable(path, error) from error
        return cls(path, lock)

    @classmethod
    def followed(cls, path: Path) -> Self:
        """A folder that another process of the same run holds and writes."""
        folder = cls(path, lock_of(path / "lock"))
        folder.curve = UnwrittenCurveFile(path / "metrics.csv")
        return folder

    def close(self) -> None:
        """Let other processes have the run."""
        self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def clear(self) -> None:
        """Forget the run's checkpoints, environment and status, so that it starts all over again."""
        # The status goes last: as long as it is there, a run killed in between is known to need clearing.
        decoded = sorted(path.name for path in self.path.glob("summaries-*.jsonl"))
        names = (
            "checkpoints",
            _TRACEBACK,
            "metrics.csv",
            *decoded,
            PULSE,
            "tensorboard",
            "environment.json",
            "status.json",
        )
        for name in names:
            path = self.path / name
            with written(path):
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)

    def remove(self) -> None:
        """Delete the folder with all that is in it, and let go of it.

        Raises:
            UsageError: Something in it cannot be deleted.
        """
        self.clear()
        try:
            shutil.rmtree(self.path)
        except OSError as error:
            raise _unwritable(self.path, error) from error
        finally:
            self.close()

    @contextmanager
    def unforeseen_errors(self) -> Iterator[None]:
        """Inside, an error that nobody foresaw ends the run, not the command: it becomes a sentence.

        Raises:
            UnforeseenError: There was one; the folder has its traceback.
            UsageError: The traceback cannot be written.
        """
        try:
            yield
        except RmemError:
            raise
        except Exception as error:
            file = self.path / _TRACEBACK
            with written(file):
                write_atomically(file, "".join(traceback.format_exception(error)).encode())
            summary = "".join(traceback.format_exception_only(error)).strip().splitlines()[0]
            raise UnforeseenError(f"{summary} (its traceback is in {file})") from error

    def record_environment(self, current: Environment) -> Environment:
        """Keep the environment of a run that starts, or recall that of a run that goes on.

        Args:
            current: The environment of this process.

        Returns:
            The environment the run started in; the caller applies its threads, device and op paths.

        Raises:
            DataError: The stored environment is damaged.
            UsageError: It cannot be written.
        """
        stored = read_environment(self.path)
        if stored is not None:
            return stored
        write_json(self.path / "environment.json", current)
        return current

    def record_code(self, stored: Environment, code: Environment) -> None:
        """Keep which code a run goes on with, beside that of its earlier sessions.

        Args:
            stored: What `record_environment` gave.
            code: Its `git_commit` and `git_dirty` are those of all sessions.

        Raises:
            UsageError: It cannot be written; the environment is as it was.
        """
        known = replace(stored, git_commit=code.git_commit, git_dirty=code.git_dirty)
        if known != stored:
            write_json(self.path / "environment.json", known)

    def status(self) -> RunStatus | None:
        """The last status written; None in a new folder.

        Raises:
            DataError: The status is damaged.
        """
        return read_status(self.path)

    def write_status(self, status: Status, step: int, message: str = "") -> None:
        """Replace the status.

        Args:
            status: What became of the run.
            step: Updates done.
            message: Why, where the status needs a reason.

        Raises:
            UsageError: It cannot be written; the status is as it was.
        """
        write_json(self.path / "status.json", RunStatus(status, step, message))


def _unwritable(folder: Path, error: OSError) -> UsageError:
    return UsageError(
        f"the run folder {folder} cannot be written ({error.strerror or error}); "
        f"{remedy(error)}, or name another folder for runs in RMEM_RUNS"
    )
