"""Writing to a folder of results, one process after the other."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from rmem_cli.errors import UsageError
from rmem_cli.files import lock_of, remedy, sync_folder, write_durably

_LOCKS = ".locks"
_SECONDS = 120  # that others may hold a lock without letting anybody in


@contextmanager
def locked(folder: Path, name: str) -> Iterator[None]:
    """Inside, no other process writes; of those that wait, one is next, and goes before who was here.

    Args:
        folder: Of the results.
        name: What is written, such as a table.

    Raises:
        UsageError: Others have let nobody in for two minutes, or the folder cannot be written.
    """
    locks = folder / _LOCKS
    path = locks / f"{name}.lock"
    lock = lock_of(path, _SECONDS)
    try:
        locks.mkdir(parents=True, exist_ok=True)
        _hide_from_git(locks)
        following = lock_of(locks / f"{name}.next", _SECONDS)
        _take(following, path)
        try:
            _take(lock, path)
        finally:
            following.release()
        try:
            path.touch()
            yield
        finally:
            lock.release()
    except Timeout as error:
        raise UsageError(
            f"another process has held {path} for {_SECONDS} seconds; "
            "wait for it or end it, then run the same command again"
        ) from error
    except OSError as error:
        raise UsageError(
            f"the results folder {folder} cannot be written ({error.strerror or error}); "
            f"{remedy(error)}, or name another one in RMEM_RESULTS"
        ) from error


def replace_file(folder: Path, target: Path, content: bytes) -> None:
    """Replace a file by a rename, after its new content has reached the disk. Only inside of `locked`.

    Args:
        folder: Of the results.
        target: The file.
        content: What it then holds.
    """
    unfinished = folder / _LOCKS / f"{target.name}.unfinished"
    write_durably(unfinished, content)
    unfinished.replace(target)
    sync_folder(target.parent)


def _take(lock: FileLock, turns: Path) -> None:
    """Take a lock, however long others take turns, of which a file's time tells.

    Raises:
        Timeout: None of them has let another one in for all of the lock's time.
    """
    before = _time(turns)
    while True:
        try:
            lock.acquire()
            return
        except Timeout:
            now = _time(turns)
            if now == before:
                raise
            before = now


def _time(path: Path) -> int:
    return path.stat().st_mtime_ns if path.exists() else 0


def _hide_from_git(folder: Path) -> None:
    ignore = folder / ".gitignore"
    if not ignore.exists() or ignore.stat().st_size == 0:
        ignore.write_text("*\n", encoding="utf-8")
