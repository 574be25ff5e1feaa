"""Getting a data set's files together, every one verified: from a local copy, or from its public sources."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from rich.console import Console

from rmem_cli.errors import DataError

from .checksum import CHUNK, Digest
from .dataset import Dataset, Source, SourceFile
from .download import Patience, UnavailableError, download, set_aside
from .progress import say
from .unpack import ARCHIVE_SUFFIXES, Member, members

_DEEPEST = 4  # folders below the one given to --from that are looked into


@dataclass(frozen=True)
class Obtained:
    """A verified source file.

    Args:
        file: Its name in the data set.
        path: Where it lies now.
        origin: The address or path it came from.
        bytes: Its size.
        sha256: Its hash.
        verified: Whether its content, or that of the archive it came in, was compared with a known checksum.
    """

    file: str
    path: Path
    origin: str
    bytes: int
    sha256: str
    verified: bool

    def record(self) -> dict[str, Any]:
        """What `meta.json` keeps of it."""
        return {key: value for key, value in asdict(self).items() if key != "path"}


class _Search:
    """Files of a data set found so far, look-alikes with other content, and what could not be read.

    Args:
        dataset: What is looked for.
        folder: Where members of archives are put; plain files stay where they are.
    """

    def __init__(self, dataset: Dataset, folder: Path) -> None:
        self.dataset, self.folder = dataset, folder
        self.found: dict[str, Obtained] = {}
        self.wrong: dict[str, str] = {}
        self.problems: list[str] = []

    def missing(self) -> list[SourceFile]:
        return self.dataset.missing(self.found)

    def named_like(self, name: str) -> list[SourceFile]:
        """Files not yet found that this could be."""
        wanted = (*self.dataset.files, *self.dataset.alternative)
        base = PurePosixPath(name).name
        return [file for file in wanted if file.name not in self.found and base in file.base_names]

    def look_into(self, path: Path, origin: str, *, verified: bool = False) -> None:
        """Take what a plain file or an archive holds of the missing files.

        Args:
            path: The file.
            origin: Where it came from.
            verified: Whether its own content is already known to be right.
        """
        if path.name.endswith(ARCHIVE_SUFFIXES) and (alike := self.named_like(path.name)):
            with path.open("rb") as handle:  # an archive that is itself a file of the data set
                self._take(path, Member(path.name, lambda: handle, plain=True), alike, origin, verified)
            return
        for member in members(path, self.dataset.most_unpacked):
            if alike := self.named_like(member.name):
                self._take(path, member, alike, origin, verified)
            if not self.missing():
                return

    def _take(self, path: Path, member: Member, alike: list[SourceFile], origin: str, verified: bool) -> None:
        copy = None if member.plain else self.folder / (PurePosixPath(member.name).name + ".unpacked")
        digest = _read(member, alike, copy)
        fitting = next((file for file in alike if file.mismatch(digest) is None), None)
        if fitting is None:
            where = path if member.plain else f"{member.name} in {path}"
            self.wrong[alike[0].name] = f"{where}: {alike[0].mismatch(digest)}"
            if copy:
                copy.unlink()
            return
        if copy:
            path = self.folder / fitting.name
            path.parent.mkdir(parents=True, exist_ok=True)
            copy.replace(path)
        self.found[fitting.name] = Obtained(
            fitting.name, path, origin, digest.size, digest.hex(), verified or fitting.checksum != ""
        )


def from_path(
    dataset: Dataset, path: Path, folder: Path, *, allow_missing: bool = False
) -> dict[str, Obtained]:
    """The files of a data set from a local copy.

    Args:
        dataset: What is wanted.
        path: A folder that holds the files (plain, .gz, or in archives), an archive, or a file.
        folder: For what comes out of archives.
        allow_missing: Be content with some of the files.

    Returns:
        File name to verified file.

    Raises:
        DataError: There is no such path, or it lacks files or holds others; the message lists them.
    """
    if not path.exists():
        raise DataError(f"There is nothing at {path}: --from takes a folder, an archive or a file.")
    search = _Search(dataset, folder)
    for candidate in _candidates(dataset, path):
        if not search.missing():
            break
        try:
            search.look_into(candidate, str(candidate.resolve()))
        except DataError as error:
            search.problems.append(str(error))
    if search.missing() and not (allow_missing and search.found):
        raise DataError(f"{path} does not give {_list_missing(search)}")
    return search.found


def from_sources(
    dataset: Dataset,
    folder: Path,
    console: Console,
    patience: Patience | None = None,
    *,
    allow_missing: bool = False,
) -> dict[str, Obtained]:
    """The files of a data set from its public sources, each tried in turn for what is still missing.

    Args:
        dataset: What is wanted.
        folder: Where downloads go; those that are there and right are not repeated.
        console: For progress (stderr).
        patience: Time limits of the downloads.
        allow_missing: Be content with some of the files.

    Returns:
        File name to verified file.

    Raises:
        DataError: Some file could not be had from any source; the message says why, source by source.
    """
    search = _Search(dataset, folder)
    for source in sorted(dataset.sources, key=lambda source: bool(source.unverified)):
        if any(source.holds(file.name) for file in search.missing()):
            _try_source(source, search, console, patience)
    if search.missing() and not (allow_missing and search.found):
        advice = dataset.instructions or (
            f"Try again later (what arrived is kept), or import a local copy with "
            f"`rmem fetch {dataset.name} --from PATH`."
        )
        why = "; ".join(search.problems) or "no public source is known"
        raise DataError(f"{dataset.name} is not complete: {why}. {advice}")
    return search.found


def _try_source(source: Source, search: _Search, console: Console, patience: Patience | None) -> None:
    """Download from a source and take what it holds; what went wrong is noted in the search."""
    if source.unverified:
        say(console, f"{source.file.name}: this address is unverified ({source.unverified})")
    try:
        path = download(
            source.file, source.urls, search.folder, console, browser=source.browser, patience=patience
        )
    except UnavailableError as error:
        search.problems.append(str(error))
        return
    try:
        search.look_into(path, source.urls[0], verified=source.file.checksum != "")
    except DataError as error:
        search.problems.append(f"{error} It is kept as {set_aside(path)}")
        return
    lacking = [file.name for file in search.missing() if source.holds(file.name)]
    if lacking:
        search.problems.append(
            f"{source.file.name} lacks the right {', '.join(lacking)}; kept as {set_aside(path)}"
        )


def _list_missing(search: _Search) -> str:
    missing, problems = search.missing(), search.problems
    name = search.dataset.name
    lines = [_describe_missing(file, search.wrong) for file in missing]
    listed = "\n".join(f"  - {line}" for line in [*lines, *problems])
    partly = f"\n`rmem fetch {name} --from PATH --allow-missing` prepares the rest." if search.found else ""
    of = len(missing) + sum(file.name in search.found for file in search.dataset.files)
    return f"{len(missing)} of the {of} files of {name}:\n{listed}{partly}"


def _candidates(dataset: Dataset, path: Path) -> list[Path]:
    """Files worth opening: in a folder, those named like the wanted ones (also with .gz), then archives."""
    if path.is_file():
        return [path]
    wanted = {name for file in (*dataset.files, *dataset.alternative) for name in file.base_names}
    inside = sorted(_files_below(path, _DEEPEST))
    named = [file for file in inside if file.name.removesuffix(".gz") in wanted]
    archives = [file for file in inside if file.name.endswith(ARCHIVE_SUFFIXES)]
    return list(dict.fromkeys([*named, *archives]))


def _files_below(folder: Path, depth: int) -> Iterator[Path]:
    for child in folder.iterdir():
        if child.is_file():
            yield child
        elif depth and child.is_dir() and not child.is_symlink():
            yield from _files_below(child, depth - 1)


def _read(member: Member, alike: Iterable[SourceFile], copy: Path | None) -> Digest:
    """Hash a member; if asked, copy it, but no more than the largest file it could be."""
    most = max(file.most for file in alike)
    digest, stream = Digest(file.algorithm for file in alike), member.open()
    with (copy or Path(os.devnull)).open("wb") as handle:
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
            if digest.size <= most:
                handle.write(chunk)
    return digest


def _describe_missing(file: SourceFile, wrong: dict[str, str]) -> str:
    if file.name in wrong:
        return f"{file.name} is another file ({wrong[file.name]})"
    size = "" if file.size is None else f", {file.size:,} bytes"
    return f"{file.name} is missing ({file.checksum}{size})"
