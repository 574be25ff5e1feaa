"""Reading the files inside a plain, compressed (gzip, bzip2, xz), zip or tar file.

What a file is, its content tells; suffixes are often wrong. Nothing here writes, least of all where a name
says: a member is a name and a stream, and the caller decides what is kept and where. Archives whose names
would leave their folder, or that hold links or devices, are refused all the same; so is one that unpacks to
more than a limit.
"""

import bz2
import lzma
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

_COMPRESSED = (".gz", ".bz2", ".xz")
_TARS = (".tar", ".tgz", ".tbz", ".tbz2", ".txz", *(f".tar{suffix}" for suffix in _COMPRESSED))
ARCHIVE_SUFFIXES = (".zip", *_TARS)

_GZIP, _BZIP2, _XZ = b"\x1f\x8b\x08", b"BZh", b"\xfd7zXZ\x00"
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_ENGINES: dict[bytes, Callable[[], Any]] = {
    _GZIP: lambda: zlib.decompressobj(zlib.MAX_WBITS | 16),
    _BZIP2: bz2.BZ2Decompressor,
    _XZ: lzma.LZMADecompressor,
}
_TAR_MARK = slice(257, 262)
_HEAD = 512
_CHUNK = 1 << 16
_DAMAGE = (
    OSError,
    EOFError,
    ValueError,
    RuntimeError,
    zlib.error,
    lzma.LZMAError,
    tarfile.TarError,
    zipfile.BadZipFile,
)


class Readable(Protocol):
    """What members need of a stream."""

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes, at most `size`; none at the end."""


@dataclass(frozen=True)
class Member:
    """A file inside another.

    Args:
        name: Its path inside the archive, or the name of the file; of compressed ones without that suffix.
        open: Gives its content; only while this member is the current one.
        plain: Whether the file itself is this content, neither packed nor compressed.
        size: Bytes that it says to have (None: it does not say).
    """

    name: str
    open: Callable[[], Readable]
    plain: bool = False
    size: int | None = None


def base_name(name: str) -> str:
    """The name of a file without folders, and without the suffix of its compression."""
    base = PurePosixPath(name).name
    suffix = next((suffix for suffix in _COMPRESSED if base.endswith(suffix)), "")
    return base if base.endswith(ARCHIVE_SUFFIXES) else base.removesuffix(suffix)


def is_packed(head: bytes) -> bool:
    """Whether a file that begins like this is an archive or compressed."""
    return head.startswith((*_ZIP, *_ENGINES)) or _is_tar(head)


def members(path: Path, limit: int) -> Iterator[Member]:
    """The files inside a file of any of the known forms; the form is told from the content.

    Args:
        path: Plain, compressed, zip or tar file; a plain one is its own only member.
        limit: Most bytes it may unpack to.

    Raises:
        DataError: It is damaged, unpacks to more than `limit`, or holds a path that leaves its folder, a link
            or a device. Also raised by the streams of the members.
    """
    with _damage_named(path), path.open("rb") as handle:
        head = handle.read(_HEAD)
        handle.seek(0)
        if head.startswith(_ZIP):
            yield from _zip_members(path, handle, _Budget(path, limit))
        elif head.startswith(tuple(_ENGINES)):
            yield from _compressed_members(path, handle, _Budget(path, limit))
        elif _is_tar(head) or (path.name.endswith(".tar") and not is_text(head)):
            yield from _tar_members(path, handle, _Budget(path, limit))
        else:
            yield Member(base_name(path.name), lambda: handle, plain=True, size=path.stat().st_size)


def is_text(head: bytes) -> bool:
    """Whether a file that begins like this is text in ASCII."""
    return head.isascii() and b"\0" not in head


def _compressed_members(path: Path, handle: BinaryIO, budget: "_Budget") -> Iterator[Member]:
    """The archive in a compressed file, or what it holds itself."""
    stream = _Joined(_Limited(_decompressed(handle), budget))
    if _is_tar(stream.peek(_HEAD)) or path.name.endswith(_TARS):
        yield from _tar_members(path, stream, _Budget(path, budget.limit))
    else:
        yield Member(base_name(path.name), lambda: stream)


def _tar_members(path: Path, stream: Readable, budget: "_Budget") -> Iterator[Member]:
    """The budget counts what members unpack to: a sparse member is larger than its part of the stream."""
    with tarfile.open(fileobj=stream, mode="r|") as archive:  # type: ignore[call-overload]  # it only needs read()
        for info in archive:
            _refuse_escape(path, info.name, plain=info.isfile() or info.isdir())
            if info.isfile():
                yield _member(info.name, info.size, partial(archive.extractfile, info), budget)


def _zip_members(path: Path, handle: BinaryIO, budget: "_Budget") -> Iterator[Member]:
    with zipfile.ZipFile(handle) as archive:
        for info in archive.infolist():
            kind = stat.S_IFMT(info.external_attr >> 16)
            _refuse_escape(path, info.filename, plain=kind in (0, stat.S_IFREG, stat.S_IFDIR))
            if not info.is_dir():
                yield _member(info.filename, info.file_size, partial(archive.open, info), budget)


def _member(name: str, size: int, open_packed: Callable[[], Any], budget: "_Budget") -> Member:
    """A member of an archive; if it is compressed, what that holds, as outside of archives."""
    name = _normal(name)
    if name.endswith(ARCHIVE_SUFFIXES):
        return Member(name, partial(_limited, open_packed, budget), size=size)
    unpacked = partial(_limited, lambda: _decompressed(open_packed()), budget)
    return Member(_without_suffix(name), unpacked, size=None if name.endswith(_COMPRESSED) else size)


def _without_suffix(name: str) -> str:
    return str(PurePosixPath(name).with_name(base_name(name)))


def _decompressed(stream: Readable) -> Readable:
    """A stream without its compression, if it has any."""
    joined = _Joined(stream)
    head = joined.peek(len(_XZ))
    mark = next((mark for mark in _ENGINES if head.startswith(mark)), None)
    return joined if mark is None else _Decompressed(joined, mark)


class _Joined:
    """A stream whose beginning can be looked at before it is read."""

    def __init__(self, stream: Readable) -> None:
        self._stream, self._head = stream, b""

    def peek(self, size: int) -> bytes:
        """The first bytes; only before the first read."""
        while len(self._head) < size and (chunk := self._stream.read(size - len(self._head))):
            self._head += chunk
        return self._head

    def read(self, size: int = -1, /) -> bytes:
        head, self._head = (self._head, b"") if size < 0 else (self._head[:size], self._head[size:])
        return head + self._stream.read(size - len(head) if size >= 0 else -1)


class _Decompressed:
    """What compressed streams hold that follow each other, whatever else stands behind the last of them.

    Args:
        stream: The compressed bytes.
        mark: What each of the streams begins with, a key of `_ENGINES`.
    """

    def __init__(self, stream: Readable, mark: bytes) -> None:
        self._stream, self._mark = stream, mark
        self._engine, self._packed = _ENGINES[mark](), b""

    def read(self, size: int = -1, /) -> bytes:
        if size < 0:
            return b"".join(iter(lambda: self.read(_CHUNK), b""))
        while size > 0:
            if self._engine.eof and not self._next_stream():
                return b""
            if not self._packed and getattr(self._engine, "needs_input", True):
                self._packed = self._stream.read(_CHUNK)
                if not self._packed:
                    raise EOFError("it ends in the middle")
            chunk: bytes = self._engine.decompress(self._packed, size)
            self._packed = getattr(self._engine, "unconsumed_tail", b"")  # of zlib; the others keep it
            if chunk:
                return chunk
        return b""

    def _next_stream(self) -> bool:
        rest = self._engine.unused_data + self._packed
        while len(rest) < len(self._mark) and (chunk := self._stream.read(_CHUNK)):
            rest += chunk
        if not rest.startswith(self._mark):
            return False
        self._engine, self._packed = _ENGINES[self._mark](), rest
        return True


def _is_tar(head: bytes) -> bool:
    return head[_TAR_MARK] == b"ustar"


def _normal(name: str) -> str:
    return str(PurePosixPath(name.replace("\\", "/")))


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
