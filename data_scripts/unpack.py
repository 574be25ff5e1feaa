"""Reading the files inside a plain, .gz, .zip, .tar or .tar.gz file, without ever writing where a name says.

Nothing here writes: a member is a name and a stream, and the caller decides what is kept and where. Archives
whose names would leave their folder, or that hold links or devices, are refused all the same; so is one that
unpacks to more than a limit.
"""

import gzip
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, Protocol

from rmem_cli.errors import DataError

ARCHIVE_SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz")

_GZIP, _ZIP = b"\x1f\x8b", (b"PK\x03\x04", b"PK\x05\x06")
_TAR_MARK = slice(257, 262)
_DAMAGE = (OSError, EOFError, ValueError, RuntimeError, zlib.error, tarfile.TarError, zipfile.BadZipFile)


class Readable(Protocol):
    """What members need of a stream."""

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes, at most `size`; none at the end."""


@dataclass(frozen=True)
class Member:
    """A file inside another.

    Args:
        name: Its path inside the archive, or the name of a plain or .gz file without its suffix.
        open: Gives its content; only while this member is the current one.
        plain: Whether the file itself is this content, neither packed nor compressed.
    """

    name: str
    open: Callable[[], Readable]
    plain: bool = False


def members(path: Path, limit: int) -> Iterator[Member]:
    """The files inside a file of any of the known forms; the form is told from the content.

    Args:
        path: Plain, .gz, .zip, .tar or .tar.gz file; a plain one is its own only member.
        limit: Most bytes it may unpack to.

    Raises:
        DataError: It is damaged, unpacks to more than `limit`, or holds a path that leaves its folder, a link
            or a device. Also raised by the streams of the members.
    """
    with _damage_named(path), path.open("rb") as handle:
        head = handle.read(512)
        handle.seek(0)
        if head.startswith(_ZIP):
            yield from _zip_members(path, handle, _Budget(path, limit))
        elif head.startswith(_GZIP):
            yield from _gzip_members(path, handle, _Budget(path, limit))
        elif _is_tar(head) or path.name.endswith(".tar"):
            yield from _tar_members(path, handle, _Budget(path, limit))
        else:
            yield Member(path.name, lambda: handle, plain=True)


def _gzip_members(path: Path, handle: BinaryIO, budget: "_Budget") -> Iterator[Member]:
    with gzip.open(handle) as peek:
        head = peek.read(512)
    handle.seek(0)
    with gzip.open(handle) as unpacked:
        stream = _Limited(unpacked, budget)
        if _is_tar(head) or path.name.endswith((".tgz", ".tar.gz")):
            yield from _tar_members(path, stream, _Budget(path, budget.limit))
        else:
            yield Member(path.name.removesuffix(".gz"), lambda: stream)


def _tar_members(path: Path, stream: Readable, budget: "_Budget") -> Iterator[Member]:
    """The budget counts what members unpack to: a sparse member is larger than its part of the stream."""
    with tarfile.open(fileobj=stream, mode="r|") as archive:  # type: ignore[call-overload]  # it only needs read()
        for info in archive:
            _refuse_escape(path, info.name, plain=info.isfile() or info.isdir())
            if info.isfile():
                yield _member(info.name, partial(archive.extractfile, info), budget)


def _zip_members(path: Path, handle: BinaryIO, budget: "_Budget") -> Iterator[Member]:
    with zipfile.ZipFile(handle) as archive:
        for info in archive.infolist():
            kind = stat.S_IFMT(info.external_attr >> 16)
            _refuse_escape(path, info.filename, plain=kind in (0, stat.S_IFREG, stat.S_IFDIR))
            if not info.is_dir():
                yield _member(info.filename, partial(archive.open, info), budget)


def _member(name: str, open_packed: Callable[[], Any], budget: "_Budget") -> Member:
    """A member of an archive; if it is a .gz file, what that holds, as outside of archives."""
    stream, name = partial(_limited, open_packed, budget), _normal(name)
    if name.endswith(".gz") and not name.endswith(".tar.gz"):
        return Member(
            name.removesuffix(".gz"),
            partial(_limited, lambda: gzip.open(stream()), budget),  # type: ignore[call-overload]  # needs read()
        )
    return Member(name, stream)


def _is_tar(head: bytes) -> bool:
    return head[_TAR_MARK] == b"ustar"


def _normal(name: str) -> str:
    return str(PurePosixPath(name))


def _refuse_escape(path: Path, name: str, *, plain: bool) -> None:
    parts = PurePosixPath(name.replace("\\", "/")).parts
    if not plain:
        raise DataError(f"{path} is refused: its member {name!r} is a link or a device.")
    if ".." in parts or name.startswith(("/", "\\")) or ":" in "".join(parts[:1]):
        raise DataError(f"{path} is refused: its member {name!r} would leave the folder it is unpacked in.")


class _Budget:
    """How many bytes an archive may still unpack to."""

    def __init__(self, path: Path, limit: int) -> None:
        self.path, self.limit, self.left = path, limit, limit

    def spend(self, size: int) -> None:
        self.left -= size
        if self.left < 0:
            raise DataError(f"{self.path} is refused: it unpacks to more than {self.limit:,} bytes.")


class _Limited:
    """A stream that spends from a budget and names the archive when it is damaged."""

    def __init__(self, stream: Readable, budget: _Budget) -> None:
        self._stream, self._budget = stream, budget

    def read(self, size: int = -1, /) -> bytes:
        with _damage_named(self._budget.path):
            chunk = self._stream.read(size)
        self._budget.spend(len(chunk))
        return chunk


def _limited(open_member: Callable[[], Any], budget: _Budget) -> _Limited:
    with _damage_named(budget.path):
        return _Limited(open_member(), budget)


@contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    try:
        yield
    except _DAMAGE as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise DataError(f"{path} cannot be read: {why}.") from error
