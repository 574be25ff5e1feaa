"""Getting a data set's files together, every one verified: from a local copy, or from its public sources."""

import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from rich.console import Console

from rmem_cli.errors import DataError

from .checksum import CHUNK, Digest
from .dataset import Dataset, SourceFile
from .download import Patience, UnavailableError, download, set_aside
from .unpack import ARCHIVE_SUFFIXES, Member, members

_MOST_UNPACKED = 1 << 30


@dataclass(frozen=True)
class Obtained:
    """A verified source file.

    Args:
        file: Its name in the data set.
        path: Where it lies now.
        origin: The address or path it came from.
        bytes: Its size.
        sha256: Its hash.
    """

    file: str
    path: Path
    origin: str
    bytes: int
    sha256: str

    def record(self) -> dict[str, Any]:
        """What `meta.json` keeps of it."""
        return {key: value for key, value in asdict(self).items() if key != "path"}


class _Search:
    """Files of a data set found so far, and look-alikes with other content.

    Args:
        dataset: What is looked for.
        folder: Where members of archives are put; plain files stay where they are.
    """

    def __init__(self, dataset: Dataset, folder: Path) -> None:
        self.dataset, self.folder = dataset, folder
        self.found: dict[str, Obtained] = {}
        self.wrong: dict[str, str] = {}

    def missing(self) -> list[SourceFile]:
        return [file for file in self.dataset.files if file.name not in self.found]

    def look_into(self, path: Path, origin: str) -> None:
        """Take what a plain file or an archive holds of the missing files."""
        limit = 10 * self.dataset.size + _MOST_UNPACKED
        for member in members(path, limit):
            alike = [file for file in self.missing() if _base(file.name) == _base(member.name)]
            if alike:
                self._take(path, member, alike, origin)
            if not self.missing():
                return

    def _take(self, path: Path, member: Member, alike: list[SourceFile], origin: str) -> None:
        copy = None if member.plain else self.folder / (_base(member.name) + ".unpacked")
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
        self.found[fitting.name] = Obtained(fitting.name, path, origin, digest.size, digest.hex())


def from_path(dataset: Dataset, path: Path, folder: Path) -> dict[str, Obtained]:
    """The files of a data set from a local copy.

    Args:
        dataset: What is wanted.
        path: A folder that holds the files (plain, .gz, or in archives), an archive, or a file.
        folder: For what comes out of archives.

    Returns:
        File name to verified file.

    Raises:
        DataError: There is no such path, or it lacks files or holds others; the message lists them.
    """
    if not path.exists():
        raise DataError(f"There is nothing at {path}: --from takes a folder, an archive or a file.")
    search = _Search(dataset, folder)
    for candidate in _candidates(dataset, path):
        if search.missing():
            search.look_into(candidate, str(candidate.resolve()))
    if search.missing():
        lines = [_describe_missing(file, search.wrong) for file in search.missing()]
        raise DataError(
            f"{path} does not give {len(lines)} of the {len(dataset.files)} files of {dataset.name}:\n"
            + "\n".join(f"  - {line}" for line in lines)
        )
    return search.found


def from_sources(
    dataset: Dataset, folder: Path, console: Console, patience: Patience | None = None
) -> dict[str, Obtained]:
    """The files of a data set from its public sources, each tried in turn for what is still missing.

    Args:
        dataset: What is wanted.
        folder: Where downloads go; those that are there and right are not repeated.
        console: For progress (stderr).
        patience: Time limits of the downloads.

    Returns:
        File name to verified file.

    Raises:
        DataError: Some file could not be had from any source; the message says why, source by source.
    """
    search, failures = _Search(dataset, folder), []
    for source in dataset.sources:
        if not any(source.holds(file.name) for file in search.missing()):
            continue
        try:
            path = download(
                source.file, source.urls, folder, console, browser=source.browser, patience=patience
            )
            search.look_into(path, source.urls[0])
        except UnavailableError as error:
            failures.append(str(error))
            continue
        lacking = [file.name for file in search.missing() if source.holds(file.name)]
        if lacking:
            failures.append(
                f"{source.file.name} lacks the right {', '.join(lacking)}; kept as {set_aside(path)}"
            )
    if search.missing():
        raise DataError(
            f"{dataset.name} is not complete: {'; '.join(failures)}. Try again later (what arrived is kept), "
            f"or import a local copy with `rmem fetch {dataset.name} --from PATH`."
        )
    return search.found


def _candidates(dataset: Dataset, path: Path) -> list[Path]:
    """Files worth opening: in a folder, those named like the wanted ones (also with .gz), then archives."""
    if path.is_file():
        return [path]
    names = [name for file in dataset.files for name in (file.name, _base(file.name))]
    named = [path / (name + suffix) for suffix in ("", ".gz") for name in dict.fromkeys(names)]
    archives = [child for child in sorted(path.iterdir()) if child.name.endswith(ARCHIVE_SUFFIXES)]
    return [candidate for candidate in dict.fromkeys([*named, *archives]) if candidate.is_file()]


def _read(member: Member, alike: Iterable[SourceFile], copy: Path | None) -> Digest:
    """Hash a member; if asked, copy it, but no more than the largest file it could be."""
    most = max((file.size if file.size is not None else _MOST_UNPACKED) for file in alike)
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


def _base(name: str) -> str:
    return PurePosixPath(name).name
