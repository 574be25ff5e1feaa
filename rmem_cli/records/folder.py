"""The folder of one run: its recipe, environment, learning curve, status and lock."""

import json
import platform
import re
import shutil
import tempfile
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self, TypeVar

import yaml
from filelock import FileLock, Timeout
from pydantic import ConfigDict, Field, TypeAdapter

from rmem_cli.errors import DataError, RmemError, RunsFailedError, UsageError
from rmem_cli.files import read_small, write_atomically
from rmem_cli.results.provenance import Provenance

if TYPE_CHECKING:
    from rmem_cli.recipe.resolve import RunSpec

Status = Literal["running", "ok", "diverged", "out_of_memory", "interrupted", "failed"]

HOW_TO_TRAIN = (
    "`rmem train` with the same options trains it; if its results are here already, add --rerun all"
)
"""What to do where a run is not."""

_UNSAFE = re.compile(r"[^\w.=+,@-]", re.ASCII)
_TRACEBACK = "traceback.txt"
_LONGEST_PART = 120
_MOST_THREADS = 4096
_LONGEST_CURVE = 1 << 30  # bytes
_COMPLETE_ROW = re.compile(r"(?P<step>[0-9]{1,18}),\w+,\w+,(?P<value>[^,\n]+)", re.ASCII)


class RunBusyError(UsageError):
    """Another process is working on the run."""


class UnforeseenError(RmemError):
    """An error that is not one of rmem's own; its traceback is in the run folder."""

    exit_code = RunsFailedError.exit_code


@dataclass(frozen=True)
class Environment:
    """Where a run was computed; when it goes on, the first four attributes and torch must be the same.

    Attributes:
        threads: CPU threads of PyTorch.
        device: "cpu", "cuda", ...
        dtype: Numbers of weights and activations.
        op_paths: Implementation of each op, such as "rotation=fast".
        rmem_version: Version of rmem.
        torch_version: Version of PyTorch.
        git_commit: Commit of the checkout that ran ("" if there was none); of all that ran, joined by "+",
            where other code went on.
        git_dirty: "true" if one of these had uncommitted changes, "false" if not, "" without a checkout.
        python: Version of Python.
        platform: Operating system and processor.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    threads: Annotated[int, Field(ge=1, le=_MOST_THREADS)]
    device: str
    dtype: str
    op_paths: str
    rmem_version: str
    torch_version: str
    git_commit: str
    git_dirty: str
    python: str
    platform: str

    @classmethod
    def current(cls, *, threads: int, device: str, dtype: str, op_paths: str) -> Self:
        """The environment of this process, with what only the caller knows."""
        return cls(
            threads=threads,
            device=device,
            dtype=dtype,
            op_paths=op_paths,
            **asdict(Provenance.current()),
            python=platform.python_version(),
            platform=platform.platform(),
        )


@dataclass(frozen=True)
class RunStatus:
    """How far a run is.

    Attributes:
        status: What became of it; "running" stays where a process was killed.
        step: Updates done.
        message: Why, where the status needs a reason.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    status: Status
    step: Annotated[int, Field(ge=0)]
    message: str = ""


def run_path(spec: "RunSpec", train_hash: str, runs_root: Path) -> Path:
    """Folder of a run: `runs_root/<experiment>/<row>[/<cell>]/<scale>-seed<k>-<hash>`."""
    parts = [spec.experiment, spec.row, *([spec.cell] if spec.cell else [])]
    return runs_root.joinpath(
        *map(_file_name, parts), _file_name(f"{spec.scale}-seed{spec.seed}-{train_hash}")
    )


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


def read_status(folder: Path) -> RunStatus | None:
    """The status of the run in a folder; None if it never started.

    Raises:
        DataError: The status is damaged.
    """
    return _read_json(folder / "status.json", RunStatus)


def read_environment(folder: Path) -> Environment | None:
    """The environment of the run in a folder; None if it never started.

    Raises:
        DataError: The environment is damaged.
    """
    return _read_json(folder / "environment.json", Environment)


class RunFolder:
    """A run's folder, held by this process alone until it is closed or the process ends.

    Attributes:
        path: The folder.
        curve: The learning curve.
    """

    def __init__(self, path: Path, lock: FileLock) -> None:
        self.path = path
        self.curve = LearningCurve(path / "metrics.csv")
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
        lock = FileLock(path / "lock", blocking=False)
        try:
            path.mkdir(parents=True, exist_ok=True)
            lock.acquire()
            if not (path / "recipe.yaml").exists():
                settings = spec.settings.model_dump(mode="json", by_alias=True)
                write_atomically(path / "recipe.yaml", yaml.safe_dump(settings, sort_keys=False).encode())
        except Timeout as error:
            raise RunBusyError(
                f"another process is working on the run in {path}; wait for it or end it"
            ) from error
        except OSError as error:
            lock.release()
            raise _unwritable(path, error) from error
        return cls(path, lock)

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
        for name in ("checkpoints", _TRACEBACK, "metrics.csv", "environment.json", "status.json"):
            path = self.path / name
            with _written(path):
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)

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
            with _written(file):
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
        _write_json(self.path / "environment.json", current)
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
            _write_json(self.path / "environment.json", known)

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
        _write_json(self.path / "status.json", RunStatus(status, step, message))


class LearningCurve:
    """A CSV file of metrics by step: `step,split,metric,value`.

    Args:
        path: The file; made by the first `truncate_after` or `append`.
    """

    _header = "step,split,metric,value\n"

    def __init__(self, path: Path) -> None:
        self._path = path

    def append(self, step: int, split: str, metrics: Mapping[str, float]) -> None:
        """Add one row per metric; they are in the file when the call returns.

        Args:
            step: Updates done.
            split: "train", "valid" or "test".
            metrics: Metric name to value.

        Raises:
            UsageError: They cannot be written; a half-written row is dropped when the run goes on.
        """
        lines = [f"{step},{split},{metric},{float(value)!r}\n" for metric, value in metrics.items()]
        with _written(self._path), self._path.open("a", encoding="utf-8", newline="") as file:
            if file.tell() == 0:
                file.write(self._header)
            file.writelines(lines)

    def truncate_after(self, step: int) -> None:
        """Drop the rows after a step, which a resumed run writes again, and any half-written line.

        Args:
            step: Updates done in the checkpoint from which the run goes on; -1 drops all rows.

        Raises:
            UsageError: It cannot be written; the curve is as it was.
            DataError: It is damaged.
        """
        rows = [f"{row[0]}\n" for row in self._rows() if int(row["step"]) <= step] if step >= 0 else []
        with _written(self._path):
            write_atomically(self._path, "".join([self._header, *rows]).encode())

    def text(self) -> str:
        """The whole file; empty if there is none.

        Raises:
            DataError: It cannot be read.
        """
        try:
            if self._path.stat().st_size > _LONGEST_CURVE:
                raise _damaged(self._path)
            return self._path.read_bytes().decode(errors="replace")
        except FileNotFoundError:
            return ""
        except OSError as error:
            raise _damaged(self._path) from error

    def _rows(self) -> Iterator[re.Match[str]]:
        """The rows, without a last one that is half-written.

        Raises:
            DataError: Another one is not a row.
        """
        *lines, _ = self.text().split("\n")
        if lines and lines[0] != self._header.strip():
            raise _damaged(self._path)
        for line in lines[1:]:
            row = _COMPLETE_ROW.fullmatch(line)
            if row is None or not _is_number(row["value"]):
                raise _damaged(self._path)
            yield row


@contextmanager
def _written(path: Path) -> Iterator[None]:
    """A disk that is full, or a file that may not be written, is one sentence."""
    try:
        yield
    except OSError as error:
        raise UsageError(
            f"{path} cannot be written ({error.strerror or error}); make room or make it writable, then run "
            "the same command again to go on from the last checkpoint"
        ) from error


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _unwritable(folder: Path, error: OSError) -> UsageError:
    return UsageError(
        f"the run folder {folder} cannot be written ({error.strerror or error}); "
        "make it writable, or name another folder for runs in RMEM_RUNS"
    )


def _file_name(text: str) -> str:
    """The text as the name of one folder, which cannot lead out of its parent."""
    return _UNSAFE.sub("_", text)[:_LONGEST_PART].lstrip(".") or "_"


_Content = TypeVar("_Content", Environment, RunStatus)


def _write_json(path: Path, content: _Content) -> None:
    with _written(path):
        write_atomically(path, (json.dumps(asdict(content), indent=2) + "\n").encode())


def _read_json(path: Path, kind: type[_Content]) -> _Content | None:
    try:
        return TypeAdapter(kind).validate_json(read_small(path), strict=True)
    except FileNotFoundError:
        return None
    except (ValueError, OSError) as error:
        raise _damaged(path) from error


def _damaged(path: Path) -> DataError:
    return DataError(
        f"{path} is damaged; delete its folder and train again with --rerun all, which repeats the run from "
        "its start"
    )
