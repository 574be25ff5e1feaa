"""Fetching a data set: gather its files and prepare its forms, once, however many ask at the same time."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout
from rich.console import Console

from rmem_cli.data.prepared import check_prepared
from rmem_cli.data.writer import TEMPORARY, write_prepared
from rmem_cli.errors import DataError
from rmem_cli.paths import data_root

from .dataset import Dataset, Form
from .download import Patience
from .gather import Obtained, from_path, from_sources
from .progress import say


def fetch(
    dataset: Dataset, console: Console, *, path: Path | None = None, patience: Patience | None = None
) -> bool:
    """Make every form of a data set be there, verified; does nothing if it is.

    Args:
        dataset: What is wanted.
        console: For progress (stderr).
        path: A local copy (None: download).
        patience: Time limits of the downloads.

    Returns:
        Whether anything had to be done.

    Raises:
        DataError: It could not be had. What was downloaded is kept and continued by the next call.
    """
    home = data_root() / dataset.name
    try:
        with _alone(home, console):
            return _fetch(dataset, home, console, path, patience)
    except OSError as error:
        raise DataError(f"Cannot use {home}: {error.strerror or error}.") from error


def sound_forms(dataset: Dataset) -> list[Form]:
    """The forms of a data set that are here and whose hashes are right."""
    return [form for form in dataset.forms if _is_sound(dataset.name, form.name)]


def _fetch(
    dataset: Dataset, home: Path, console: Console, path: Path | None, patience: Patience | None
) -> bool:
    sound = sound_forms(dataset)
    todo = [form for form in dataset.forms if form not in sound]
    if not todo:
        say(console, f"{dataset.name} is here and verified: {home}")
        return False
    _clear_leftovers(home)
    downloads = home / ".downloads"
    unpacked = Path(tempfile.mkdtemp(prefix=TEMPORARY, dir=home))
    try:
        files = (
            from_sources(dataset, downloads, console, patience)
            if path is None
            else from_path(dataset, path, unpacked)
        )
        for form in todo:
            _prepare(dataset, form, files, console)
    finally:
        shutil.rmtree(unpacked, ignore_errors=True)
    _discard_downloads(downloads)
    return True


def _prepare(dataset: Dataset, form: Form, files: dict[str, Obtained], console: Console) -> None:
    prepared = write_prepared(
        dataset.name,
        form.name,
        form.prepare({name: file.path for name, file in files.items()}),
        sources=[files[file.name].record() for file in dataset.files],
        licence=dataset.licence,
        citation=dataset.citation,
        expected=form.expected,
    )
    counts = " / ".join(f"{count:,}" for count in prepared.meta["counts"].values())
    say(
        console,
        f"{dataset.name} ({form.name}): {counts} symbols ({' / '.join(prepared.splits)}), "
        f"{prepared.meta['distinct']:,} distinct, in {prepared.folder}",
    )


def _is_sound(name: str, form: str) -> bool:
    try:
        check_prepared(name, form)
    except DataError:
        return False
    return True


@contextmanager
def _alone(home: Path, console: Console) -> Iterator[None]:
    """Hold the lock of a data set; the system releases it when its holder dies."""
    home.mkdir(parents=True, exist_ok=True)
    lock = FileLock(home / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        say(console, f"Another process is fetching {home.name}; waiting for it.")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _clear_leftovers(home: Path) -> None:
    """Remove what killed processes left; nobody else is at work here, we hold the lock."""
    for leftover in home.glob(f"{TEMPORARY}*"):
        shutil.rmtree(leftover, ignore_errors=True)


def _discard_downloads(downloads: Path) -> None:
    """Remove the downloads, which are prepared now, but not the bad ones: a message named them."""
    for path in sorted(downloads.rglob("*"), reverse=True):
        if path.is_file() and path.suffix != ".bad":
            path.unlink()
        elif path.is_dir() and not any(path.iterdir()):
            path.rmdir()
    if downloads.is_dir() and not any(downloads.iterdir()):
        downloads.rmdir()
