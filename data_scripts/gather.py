"""Getting a data set's files together, every one verified: from a local copy, or from its public sources."""

import os
from codecs import BOM_UTF8
from collections.abc import Collection, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from rich.console import Console

from rmem_cli.errors import DataError
from rmem_cli.visible import say, visible

from .checksum import CHUNK, Digest
from .dataset import Dataset, Source, SourceFile
from .download import Patience, UnavailableError, download, host_of, set_aside
from .unpack import ARCHIVE_SUFFIXES, Member, base_name, is_packed, members

_MOST_TOLD = 20
_MOST_NAMED = 3
_HEAD = 512
_PAGES = (b"<!doctype html", b"<html", b"<?xml version")
_POINTER = b"version https://git-lfs"


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
    """Files of a data set found so far, look-alikes with other content, and what else was looked at in vain.

    Args:
        dataset: What is looked for.
        folder: Where members of archives are put; plain files stay where they are.
        is_alone: Whether a single file is all there is to look at.
    """

    def __init__(self, dataset: Dataset, folder: Path, *, is_alone: bool = False) -> None:
        self.dataset, self.folder, self.is_alone = dataset, folder, is_alone
        self.found: dict[str, Obtained] = {}
        self.wrong: dict[str, str] = {}
        self.problems: list[str] = []
        self.in_vain: list[str] = []
        self.unreachable: set[str] = set()

    def missing(self) -> list[SourceFile]:
        return self.dataset.missing(self.found)

    def alike(self, name: str, size: int | None, *, plain: bool = False) -> list[SourceFile]:
        """Files not yet found that this could be: first those of its name, then those known by their content.

        Args:
            name: Its name.
            size: Its size, if it says.
            plain: Whether it is in no archive.
        """
        wanted = [file for file in self.dataset.every_file if file.name not in self.found]
        named = [file for file in wanted if base_name(name) in file.base_names]
        if plain and self.is_alone and not named:
            named = [file for file in wanted if file.name == self.dataset.alone]
        known = [file for file in wanted if file.checksum and file.size is not None]
        return named + [file for file in known if file not in named and size in (None, file.size)]

    def look_into(self, path: Path, origin: str, *, verified: bool = False) -> None:
        """Take what a plain file or an archive holds of the missing files; note what it is, if it has none.

        Args:
            path: The file.
            origin: Where it came from.
            verified: Whether its own content is already known to be right.
        """
        names, before = [], len(self.found) + len(self.wrong) + len(self.problems)
        for member in members(path, self.dataset.most_unpacked, self._is_wanted_whole):
            names.append(member.name)
            if alike := self.alike(member.name, member.size, plain=member.plain):
                try:
                    self._take(path, member, alike, origin, verified)
                except DataError as error:
                    self.note(error)
            if not self.missing():
                return
        is_in_vain = len(self.found) + len(self.wrong) + len(self.problems) == before
        known = {
            name for file in self.dataset.every_file if file.name in self.found for name in file.base_names
        }
        if is_in_vain and not (names and known.issuperset(map(base_name, names))):
            self.in_vain.append(_why_none(path, names, self.dataset))

    def _is_wanted_whole(self, name: str, size: int | None) -> bool:
        """Whether this could be an archive that is itself a file of the data set."""
        archives = [file for file in self.alike(name, size) if file.name.endswith(ARCHIVE_SUFFIXES)]
        return any(PurePosixPath(name).name in file.base_names or file.size == size for file in archives)

    def note(self, error: DataError) -> None:
        if str(error) not in self.problems:
            self.problems.append(str(error))

    def _take(self, path: Path, member: Member, alike: list[SourceFile], origin: str, verified: bool) -> None:
        copy = None if member.plain else self.folder / "member.unpacked"
        digest, before_editors, mark = _read(member, alike, copy)
        fitting = next((file for file in alike if file.mismatch(digest) is None), None)
        if fitting is None:
            where = path if member.plain else f"{member.name} in {path}"
            named = [file for file in alike if base_name(member.name) in file.base_names]
            edited = next((file for file in alike if file.mismatch(before_editors) is None), None)
            if edited is not None and edited.checksum:
                returns = digest.size > before_editors.size + len(mark)
                self.wrong[edited.name] = f"{where}: {_added(bool(mark), returns)}, as published, it is right"
            elif named:
                is_like_it = digest.size <= 2 * named[0].most
                damage = self._damage(copy or path, str(where)) if is_like_it else ""
                self.wrong[named[0].name] = f"{where}: {named[0].mismatch(digest)}{damage}"
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

    def _damage(self, file: Path, where: str) -> str:
        """What is wrong inside of a file that is not what it should be, behind what is said of it."""
        try:
            if self.dataset.read is not None:
                self.dataset.read(file)
        except DataError as error:
            return f"; {str(error).replace(str(file), where)}"
        return ""


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
    refuse_no_copy(path)
    search = _Search(dataset, folder, is_alone=path.is_file())
    candidates = _candidates(search, path)
    _refuse_several(dataset, path, candidates)
    for candidate in candidates:
        if not search.missing():
            break
        try:
            search.look_into(candidate, visible(str(candidate.resolve())))
        except DataError as error:
            search.note(error)
    if search.missing() and not (allow_missing and search.found):
        advice = f"\n{dataset.instructions}" if dataset.instructions and not search.found else ""
        raise DataError(f"{path} does not give {_list_missing(search)}{advice}")
    return search.found


def _refuse_several(dataset: Dataset, path: Path, candidates: Collection[Path]) -> None:
    """Where no checksum tells files apart, each may be there once, and those of one layout alone.

    Raises:
        DataError: There are more, of which no one knows which are meant.
    """

    def called(file: SourceFile) -> list[Path]:
        return [each for each in candidates if base_name(each.name) in file.base_names]

    unknown = [[file for file in layout if not file.checksum] for layout in dataset.layouts]
    fitting = {file.name: found for layout in unknown for file in layout if (found := called(file))}
    layouts = [[file.name for file in layout if file.name in fitting] for layout in unknown]
    several = next((found for found in fitting.values() if len(found) > 1), None)
    if several is None and sum(map(bool, layouts)) > 1:
        several = [fitting[layout[0]][0] for layout in layouts if layout]
    if several is not None:
        raise DataError(
            f"{path} has several files that could be meant: {', '.join(map(str, several[:_MOST_NAMED]))}. "
            "Name a folder that has only the right ones."
        )


def refuse_no_copy(path: Path) -> None:
    """Refuse a path that cannot be a local copy.

    Raises:
        DataError: There is nothing, or neither a folder nor a file.
    """
    try:
        there = path.exists()
    except OSError as error:
        raise DataError(
            f"{path} cannot be looked at ({error.strerror}): --from takes another path."
        ) from error
    if not there:
        raise DataError(f"There is nothing at {path}: --from takes a folder, an archive or a file.")
    if not (path.is_dir() or path.is_file()):
        raise DataError(f"{path} is neither a folder nor a file: --from takes one of them.")


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
        hosts = ", ".join(sorted(search.unreachable))
        problems = [*search.problems, *([f"there is no connection to {hosts}"] if hosts else [])]
        why = "; ".join(problems) or "no public source is known"
        raise DataError(f"{dataset.name} is not complete: {why}. {advice}")
    return search.found


def _try_source(source: Source, search: _Search, console: Console, patience: Patience | None) -> None:
    """Download from a source and take what it holds; what went wrong is noted in the search."""
    urls = [url for url in source.urls if host_of(url) not in search.unreachable]
    if not urls:
        return
    if source.unverified:
        say(console, f"{source.file.name}: this address is unverified ({source.unverified})")
    try:
        path = download(source.file, urls, search.folder, console, browser=source.browser, patience=patience)
    except UnavailableError as error:
        search.unreachable |= error.unreachable
        if error.refusals:
            search.problems.append(f"{source.file.name} could not be downloaded ({error.refusals})")
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
    missing, problems, found = search.missing(), search.problems, search.found
    name = search.dataset.name
    lines = [_describe_missing(file, search.wrong) for file in missing]
    listed = "\n".join(f"  - {line}" for line in [*lines, *_first([*problems, *search.in_vain])])
    partly = f"\n`rmem fetch {name} --from PATH --allow-missing` prepares the rest." if found else ""
    return f"{len(missing)} of the {len(search.dataset.layout(found))} files of {name}:\n{listed}{partly}"


def _first(lines: list[str]) -> list[str]:
    more = len(lines) - _MOST_TOLD
    return [*lines[:_MOST_TOLD], *([f"and {more:,} more like these"] if more > 0 else [])]


def _candidates(search: _Search, path: Path) -> list[Path]:
    """Files worth opening: in a folder, those of a wanted name, archives, then those of a wanted size."""
    if path.is_file():
        return [path]
    wanted = search.dataset.every_file
    names = {name for file in wanted for name in file.base_names}
    sizes = {file.size for file in wanted if file.checksum}
    inside = sorted(_files_below(path, search.problems))
    named = [file for file in inside if file.name in names or base_name(file.name) in names]
    archives = [file for file in inside if file.name.endswith(ARCHIVE_SUFFIXES)]
    sized = [file for file in inside if _size(file) in sizes or is_packed(_head(file))]
    candidates = list(dict.fromkeys([*named, *archives, *sized]))
    if others := len(inside) - len(candidates):
        search.in_vain.append(f"{path} holds {_files(others)} besides, of no name or size that is wanted")
    return candidates


def _files_below(folder: Path, problems: list[str]) -> Iterator[Path]:
    """All files in a folder and those below; links to folders are not followed."""

    def note(error: OSError) -> None:
        problems.append(f"{error.filename} cannot be read: {error.strerror}")

    for parent, _, names in os.walk(folder, onerror=note):
        yield from (path for name in names if (path := Path(parent, name)).is_file())


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as handle:
            return handle.read(_HEAD)
    except OSError:
        return b""


def _why_none(path: Path, names: Collection[str], dataset: Dataset) -> str:
    """Why a file is no copy of what is wanted, in a line."""
    head = _head(path)
    if head.lstrip().lower().startswith(_PAGES):
        return f"{path} is a web page, not what its name says"
    if head.startswith(_POINTER):
        return f"{path} is a pointer of Git LFS, not the file itself"
    if not is_packed(head) and all(file.size is None for file in dataset.every_file):
        return f"{path} is called like none of the files that are wanted"
    if not is_packed(head):
        return f"{path} has {_size(path) or 0:,} bytes, as none of the files that are wanted"
    some = ", ".join(list(names)[:_MOST_NAMED]) + (", ..." if len(names) > _MOST_NAMED else "")
    return f"{path} holds {_files(len(names))} of no name or size that is wanted" + (
        f" ({some})" if some else ""
    )


def _files(count: int) -> str:
    return "one file" if count == 1 else f"{count:,} files"


def _added(mark: bool, returns: bool) -> str:
    """What an editor added to a file: a mark, or returns in front of line feeds, or both."""
    added = ["a byte order mark (BOM) before it"] * mark + ["line ends of Windows (CRLF)"] * returns
    return f"it has {' and '.join(added)}; without"


def _read(member: Member, alike: Iterable[SourceFile], copy: Path | None) -> tuple[Digest, Digest, bytes]:
    """Hash a member, as it is and without what editors add; copy it, if asked, up to a size it could have.

    Returns:
        Both hashes, and the byte order mark that it begins with, empty if it has none.
    """
    most = max(file.most for file in alike)
    algorithms = {file.algorithm for file in alike}
    digest, before_editors, stream = Digest(algorithms), Digest(algorithms), member.open()
    held_back = mark = b""
    with (copy or Path(os.devnull)).open("wb") as handle:
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
            if digest.size <= most:
                handle.write(chunk)
            if digest.size == len(chunk):
                mark = BOM_UTF8 if chunk.startswith(BOM_UTF8) else b""  # some editors put it there
                chunk = chunk.removeprefix(mark)
                if not mark and b"\r\n" not in chunk:
                    before_editors = digest  # its lines end as they should, or it has none
            if before_editors is not digest:
                text = held_back + chunk
                held_back = text[-1:] if text.endswith(b"\r") else b""
                before_editors.update(text.removesuffix(b"\r").replace(b"\r\n", b"\n"))
    return digest, before_editors, mark


def _describe_missing(file: SourceFile, wrong: dict[str, str]) -> str:
    if file.name in wrong:
        return f"{file.name} is another file ({wrong[file.name]})"
    known = ", ".join(filter(None, (file.checksum, "" if file.size is None else f"{file.size:,} bytes")))
    return f"{file.name} is missing" + (f" ({known})" if known else "")
