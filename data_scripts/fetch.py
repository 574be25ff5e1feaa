"""Fetching a data set: gather its files and prepare its forms, once, however many ask at the same time."""

import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import Timeout
from rich.console import Console

from rmem_cli.data.prepared import Prepared, check_prepared, prepared_folder, read_prepared
from rmem_cli.data.writer import TEMPORARY, clear_leftovers, write_prepared
from rmem_cli.errors import DataError, UsageError
from rmem_cli.files import lock_of
from rmem_cli.paths import data_root
from rmem_cli.visible import say

from .dataset import Dataset, Derived, Form
from .download import Patience
from .gather import Obtained, from_path, from_sources, refuse_no_copy

_WORK = ".work-"
"""What the folder of unfinished work begins with, before the name of its form; it survives a kill."""


def fetch(
    dataset: Dataset,
    console: Console,
    *,
    path: Path | None = None,
    allow_missing: bool = False,
    patience: Patience | None = None,
) -> bool:
    """Make every form of a data set be there, verified and complete; does nothing if it is.

    Args:
        dataset: What is wanted.
        console: For progress (stderr).
        path: A local copy (None: download, or generate what has no files).
        allow_missing: Prepare what can be had if some files cannot, and record the gap.
        patience: Time limits of the downloads.

    Returns:
        Whether anything had to be done.

    Raises:
        DataError: It could not be had, nothing is at the path, or its folder cannot be written and does not
            hold all of it. What was downloaded is kept and continued by the next call.
        UsageError: A local copy is offered for a data set that is generated.
    """
    if path is not None and not dataset.files:
        raise UsageError(f"{dataset.name} is generated, not imported: `rmem fetch {dataset.name}`.")
    if path is not None:
        refuse_no_copy(path)
    try:
        with alone(dataset, console) as home:
            job = _Fetch(dataset, home, console, path, allow_missing, patience)
            return job.run()
    except UnwritableError:
        if _is_offered(dataset, path) or not _is_whole(dataset):
            raise
        _say_here(dataset, console)  # a folder that many read may be writable for nobody
        return False


@dataclass(frozen=True)
class _Fetch:
    dataset: Dataset
    home: Path
    console: Console
    path: Path | None
    allow_missing: bool
    patience: Patience | None

    def run(self) -> bool:
        """Gather and prepare what is not here yet; whether there was anything."""
        clear_leftovers(self.home)
        here = {form.name: _sound(self.dataset.name, form.name) for form in self.dataset.forms}
        todo = [form for form in self.dataset.forms if self.is_due(here[form.name])]
        downloads = self.home / ".downloads"
        if not todo:
            _discard_downloads(downloads)  # which a fetch that was killed at its very end has left
        prepared = bool(todo) and self.prepare(todo, here, downloads)
        changed = self.derive_all() or prepared
        if not changed and all(map(_is_complete, here.values())):
            _say_here(self.dataset, self.console)
        return changed

    def is_due(self, here: Prepared | None) -> bool:
        return not _is_complete(here) or _is_offered(self.dataset, self.path)

    def prepare(self, todo: list[Form], here: Mapping[str, Prepared | None], downloads: Path) -> bool:
        """Gather the files and prepare forms of them; whether there was anything new."""
        unpacked = Path(tempfile.mkdtemp(prefix=TEMPORARY, dir=self.home))
        try:
            files = self.gather(downloads, unpacked)
            missing = [file.name for file in self.dataset.missing(files)]
            self.tell_missing(missing)
            changed = [self.bring_about(form, here[form.name], files, missing) for form in todo]
        finally:
            shutil.rmtree(unpacked, ignore_errors=True)
        if not missing:
            _discard_downloads(downloads)
        return any(changed)

    def gather(self, downloads: Path, unpacked: Path) -> dict[str, Obtained]:
        if self.path is not None:
            return from_path(self.dataset, self.path, unpacked, allow_missing=self.allow_missing)
        return from_sources(
            self.dataset, downloads, self.console, self.patience, allow_missing=self.allow_missing
        )

    def tell_missing(self, missing: list[str]) -> None:
        if missing:
            listed = "".join(f"\n  - {name}" for name in missing)
            say(self.console, f"{self.dataset.name} is not complete; it lacks:{listed}")

    def bring_about(
        self, form: Form, here: Prepared | None, files: dict[str, Obtained], missing: list[str]
    ) -> bool:
        """Prepare a form, unless nothing of it can be had, or nothing more than is here already."""
        wanted = form.files or (*files, *missing)
        used = [files[name] for name in wanted if name in files]
        lacking = [name for name in wanted if name in missing]
        title = f"{self.dataset.name} ({form.name})"
        if self.dataset.files and not used:
            say(self.console, f"{title} is left out: none of its files is here.")
            return False
        stays = f"{title} stays as it is: it would not become more complete."
        loses = here is not None and any(name not in here.missing for name in lacking)
        if here is not None and (loses or not _brings(used, here)):
            if loses or here.missing:
                say(self.console, stays)
            return False
        short_allowed = bool(lacking) or (self.allow_missing and not all(file.verified for file in used))
        prepared = write_prepared(
            self.dataset.name,
            form.name,
            form.prepare({file.file: file.path for file in used}),
            sources=[file.record() for file in used],
            licence=self.dataset.licence,
            citation=self.dataset.citation,
            expected=form.expected,
            missing=lacking,
            short_allowed=short_allowed,
            instead_of=here if here is not None and here.missing and short_allowed else None,
        )
        say(self.console, stays if prepared is here else describe(prepared, form.unit))
        return prepared is not here

    def derive_all(self) -> bool:
        """Prepare what is made of the forms that are here; whether there was anything to do."""
        changed = [self.derive(form) for form in self.dataset.derived]
        return any(changed)

    def derive(self, form: Derived) -> bool:
        text = _sound(self.dataset.name, form.made_from)
        if text is None or is_made_from(text, form.name):
            return False
        work = self.home / f"{_WORK}{form.name}"
        part = work / text.data_hash
        for other in work.glob("*"):
            if other != part:
                shutil.rmtree(other, ignore_errors=True)
        prepared = write_prepared(
            self.dataset.name,
            form.name,
            form.prepare(text, part, self.console),
            sources=[origin_of(text)],
            licence=self.dataset.licence,
            citation=self.dataset.citation,
            missing=text.missing,
        )
        shutil.rmtree(work, ignore_errors=True)
        say(self.console, describe(prepared, form.unit))
        return True


def is_made_from(text: Prepared, form: str) -> bool:
    """Whether a form is here, undamaged, and was made from just this one."""
    here = _sound(text.meta["name"], form)
    return here is not None and here.meta["sources"] == [origin_of(text)]


def check_origin(dataset: Dataset, prepared: Prepared) -> None:
    """Make sure that what is made from another form was made from what is here of that.

    Args:
        dataset: The data set.
        prepared: One of its forms, of any kind.

    Raises:
        DataError: It was made from something else.
    """
    form = prepared.meta["form"]
    made_from = next((each.made_from for each in dataset.derived if each.name == form), None)
    if made_from is None or not prepared_folder(dataset.name, made_from).exists():
        return
    if prepared.meta["sources"] != [origin_of(read_prepared(dataset.name, made_from))]:
        raise DataError(
            f"{dataset.name} ({form}) was made from other {made_from} than are here now: make it anew with "
            f"`rmem fetch {dataset.name}`."
        )


def origin_of(text: Prepared) -> dict[str, str]:
    """What `meta.json` keeps of a form that another one is made from."""
    return {"form": text.meta["form"], "data_hash": text.data_hash}


def describe(prepared: Prepared, unit: str) -> str:
    """A prepared form in a line.

    Args:
        prepared: The form.
        unit: What its counts count.
    """
    meta = prepared.meta
    counts = " / ".join(f"{count:,}" for count in meta["counts"].values())
    distinct = f", {meta['distinct']:,} distinct" if meta["distinct"] else ""
    gap = f"; partial, without {', '.join(prepared.missing)}" if prepared.missing else ""
    return (
        f"{meta['name']} ({meta['form']}): {counts} {unit} ({' / '.join(meta['counts'])}){distinct}, "
        f"in {prepared.folder}{gap}"
    )


def _sound(name: str, form: str) -> Prepared | None:
    """A prepared form whose hashes are right; None if it is not here or damaged."""
    try:
        return check_prepared(name, form)
    except DataError:
        return None


def _is_complete(prepared: Prepared | None) -> bool:
    return prepared is not None and not prepared.missing


def _is_offered(dataset: Dataset, path: Path | None) -> bool:
    """Whether a copy is offered of a set that is whatever is imported."""
    return path is not None and not dataset.sources


def _is_whole(dataset: Dataset) -> bool:
    """Whether all that a fetch would make is here."""
    return all(_is_complete(_sound(dataset.name, form.name)) for form in dataset.forms) and all(
        is_made_from(check_prepared(dataset.name, form.made_from), form.name) for form in dataset.derived
    )


def _say_here(dataset: Dataset, console: Console) -> None:
    say(console, f"{dataset.name} is here and verified: {data_root() / dataset.name}")


def _brings(used: Iterable[Obtained], here: Prepared) -> bool:
    """Whether a prepared form was made without some of the files."""
    known = {(source["file"], source["sha256"]) for source in here.meta["sources"]}
    return any((file.file, file.sha256) not in known for file in used)


class UnwritableError(DataError):
    """A folder of data that cannot be written."""


@contextmanager
def alone(dataset: Dataset, console: Console) -> Iterator[Path]:
    """Hold the lock of a data set, and have its folder; the system releases it when its holder dies.

    Raises:
        UnwritableError: The folder cannot be written.
    """
    home = data_root() / dataset.name
    try:
        home.mkdir(parents=True, exist_ok=True)
        lock = lock_of(home / ".lock")
        try:
            lock.acquire()
        except Timeout:
            say(console, f"Another process is fetching {home.name}; waiting for it.")
            lock.acquire(timeout=-1)
        try:
            yield home
        finally:
            lock.release()
    except OSError as error:
        raise UnwritableError(
            f"Cannot use {home}: {error.strerror or error}. RMEM_DATA names another folder for data."
        ) from error


def _discard_downloads(downloads: Path) -> None:
    """Remove the downloads, which are prepared now, but not the bad ones: a message named them."""
    for path in sorted(downloads.rglob("*"), reverse=True):
        if path.is_file() and path.suffix != ".bad":
            path.unlink()
        elif path.is_dir() and not any(path.iterdir()):
            path.rmdir()
    if downloads.is_dir() and not any(downloads.iterdir()):
        downloads.rmdir()
