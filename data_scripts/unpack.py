"""Reading the files inside a plain, compressed (gzip, bzip2, xz), zip or tar file.

What a file is, its content tells; suffixes are often wrong. Archives and compressed files inside of others
are opened, too, up to a depth. Nothing here writes where a name says: a member is a name and a stream, and
the caller decides what is kept and where. Archives whose names would leave their folder, or that hold links
or devices, are refused all the same; so is one that unpacks to more than a limit.
"""

import bz2
import lzma
import math
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Any, Protocol

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
_LONGEST_HEADER = 4 << 20  # bytes in front of a member of a tar file; tarfile holds all of them at once
_DEEPEST = 8  # archives and compressed files, one in another
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


Whole = Callable[[str, int | None], bool]


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
    return base if base.endswith(ARCHIVE_SUFFIXES) or base == suffix else base.removesuffix(suffix)


def is_packed(head: bytes) -> bool:
    """Whether a file that begins like this is an archive or compressed."""
    return head.startswith((*_ZIP, *_ENGINES)) or _is_tar(head)


def members(path: Path, limit: int, whole: Whole | None = None) -> Iterator[Member]:
    """The files inside a file of any of the known forms, and inside of those; the content tells the form.

    A member that is damaged or refused says so when it is opened, and the others can be had all the same.

    Args:
        path: Plain, compressed, zip or tar file; a plain one is its own only member.
        limit: Most bytes it may unpack to, with all that is packed in it again.
        whole: Whether a file of this name and size is wanted as it is, even if it is an archive (None: none).

    Raises:
        DataError: It is damaged, unpacks to more than `limit`, or holds a path that leaves its folder, a link
            or a device. Also raised by the streams of the members.
    """
    archive = _Archive(path, limit, whole or _never)
    with _damage_named(archive.where), path.open("rb") as handle:
        head, size = handle.read(_HEAD), path.stat().st_size
        handle.seek(0)
        if archive.whole(path.name, size) or not _has_members(path.name, head):
            yield Member(base_name(path.name), lambda: handle, plain=True, size=size)
        elif head.startswith(_ZIP):
            yield from _zip_members(handle, archive)
        else:
            yield from _contents(path.name, _Joined(handle), size, archive)


def _never(_name: str, _size: int | None) -> bool:
    return False


def is_text(head: bytes) -> bool:
    """Whether a file that begins like this is text in ASCII."""
    return head.isascii() and b"\0" not in head


def _has_members(name: str, head: bytes) -> bool:
    return is_packed(head) or (name.endswith(".tar") and not is_text(head))


def _contents(name: str, stream: "_Joined", size: int | None, archive: "_Archive") -> Iterator[Member]:
    """What a stream holds; the stream itself, if it holds nothing else or is wanted so."""
    head = stream.peek(_HEAD)
    mark = next((mark for mark in _ENGINES if head.startswith(mark)), None)
    if archive.whole(name, size) or not _has_members(name, head):
        yield Member(_without_suffix(name), lambda: stream, size=size)
    elif archive.depth > _DEEPEST:
        raise DataError(f"{archive.where} is refused: it is packed more than {_DEEPEST} times.")
    elif mark is not None:
        unpacked = _Joined(_Limited(partial(_Decompressed, stream, mark), archive))
        yield from _contents(_unpacked_name(name), unpacked, None, archive.unpacked())
    elif head.startswith(_ZIP):
        with tempfile.TemporaryFile() as file:  # a zip file is read from its end
            shutil.copyfileobj(stream, file)
            yield from _zip_members(file, archive)
    else:
        yield from _tar_members(stream, archive)


def _tar_members(stream: Readable, archive: "_Archive") -> Iterator[Member]:
    """What is counted is what members unpack to: a sparse one is larger than its part of the stream."""
    forwards = _Forwards(stream, archive.where)
    with tarfile.open(fileobj=forwards, mode="r:") as tar:  # type: ignore[call-overload]  # needs no more
        for info in tar:
            _refuse_escape(archive, info.name, plain=info.isfile() or info.isdir())
            forwards.behind_header()
            if info.isfile():
                yield from _member(info.name, info.size, partial(tar.extractfile, info), archive)
            forwards.before_header()


def _zip_members(handle: IO[bytes], archive: "_Archive") -> Iterator[Member]:
    with zipfile.ZipFile(handle) as packed:
        for info in packed.infolist():
            kind = stat.S_IFMT(info.external_attr >> 16)
            _refuse_escape(archive, info.filename, plain=kind in (0, stat.S_IFREG, stat.S_IFDIR))
            if not info.filename.endswith("/"):  # is_dir() fails without a name
                yield from _member(info.filename, info.file_size, partial(packed.open, info), archive)


def _member(name: str, size: int, open_packed: Callable[[], Any], archive: "_Archive") -> Iterator[Member]:
    """A member of an archive, or what it holds in its turn."""
    if _normal(name) == ".":
        raise DataError(
            f"{archive.where} is refused: its member {name!r} has no name; unpack it, and import the folder."
        )
    inner = archive.inside(_normal(name))
    try:
        with _damage_named(inner.where):
            yield from _contents(inner.name, _Joined(_Limited(open_packed, archive)), size, inner)
    except DataError as error:
        yield Member(_without_suffix(inner.name), partial(_fail, error))


def _fail(error: DataError) -> Readable:
    raise error


def _without_suffix(name: str) -> str:
    return str(PurePosixPath(name).with_name(base_name(name)))


def _unpacked_name(name: str) -> str:
    """The name of what a compressed file holds: a.tar of a.tgz and a.tar.gz."""
    tar = next((suffix for suffix in _TARS if name.endswith(suffix)), None)
    return _without_suffix(name) if tar is None else f"{name.removesuffix(tar)}.tar"


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


class _Forwards:
    """A stream as tarfile reads it, which it never does backwards; first, the header of a member.

    Args:
        stream: The content of a tar file.
        where: What messages call it.
    """

    def __init__(self, stream: Readable, where: str) -> None:
        self._stream, self._where, self._place = stream, where, 0
        self.before_header()

    def before_header(self) -> None:
        """What is read next is a header, which is bounded; passing over what stands before it is not."""
        self._left: float = _LONGEST_HEADER

    def behind_header(self) -> None:
        """What is read next is what a member holds, of any size."""
        self._left = math.inf

    def read(self, size: int) -> bytes:
        self._left -= max(size, 0)  # damaged ones ask for less than nothing
        if self._left < 0:
            raise DataError(
                f"{self._where} is refused: the header of a member claims more than {_LONGEST_HEADER:,} "
                "bytes; unpack it, and import the folder."
            )
        return b"".join(self._chunks(size))

    def seek(self, place: int) -> None:
        if place < self._place:
            raise tarfile.StreamError("it leads backwards")
        for _ in self._chunks(place - self._place):
            pass

    def tell(self) -> int:
        return self._place

    def _chunks(self, size: int) -> Iterator[bytes]:
        """Exactly so many bytes, if the stream has as many."""
        while size > 0 and (chunk := self._stream.read(min(size, _CHUNK))):
            self._place += len(chunk)
            size -= len(chunk)
            yield chunk


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


def _refuse_escape(archive: "_Archive", name: str, *, plain: bool) -> None:
    parts = PurePosixPath(name.replace("\\", "/")).parts
    if not plain:
        raise DataError(f"{archive.where} is refused: its member {name!r} is a link or a device.")
    if ".." in parts or name.startswith(("/", "\\")) or ":" in "".join(parts[:1]):
        raise DataError(
            f"{archive.where} is refused: its member {name!r} would leave the folder it is unpacked in."
        )


@dataclass
class _Archive:
    """An archive that is being read, and how many bytes it has unpacked to.

    Args:
        path: The file that it is, or lies in.
        limit: Most bytes it may unpack to.
        whole: As of `members`.
        name: Its name in that file, "" for the file itself.
        outer: The archive it lies in, which unpacks to what it does.
        depth: How often its content is packed.
        spent: Bytes.
    """

    path: Path
    limit: int
    whole: Whole
    name: str = ""
    outer: "_Archive | None" = None
    depth: int = 0
    spent: int = 0

    @property
    def where(self) -> str:
        """What messages call it."""
        return f"{self.name} in {self.path}" if self.name else str(self.path)

    def inside(self, name: str) -> "_Archive":
        """What a member is, if it is an archive."""
        name = f"{self.name}/{name}" if self.name else name
        return _Archive(self.path, self.limit, self.whole, name, self, self.depth + 1)

    def unpacked(self) -> "_Archive":
        """The same without its compression: its members, parts of what was unpacked, count anew."""
        return replace(self, depth=self.depth + 1, spent=0)

    def spend(self, size: int) -> None:
        """Count what was unpacked.

        Raises:
            DataError: It is more than it may be.
        """
        if self.outer is not None:
            self.outer.spend(size)
        self.spent += size
        if self.spent > self.limit:
            raise DataError(f"{self.where} is refused: it unpacks to more than {self.limit:,} bytes.")


class _Limited:
    """A stream, opened when read, that counts what is unpacked and names the archive if it is damaged."""

    def __init__(self, open_packed: Callable[[], Any], archive: _Archive) -> None:
        self._open, self._archive = open_packed, archive
        self._stream: Readable | None = None

    def read(self, size: int = -1, /) -> bytes:
        with _damage_named(self._archive.where):
            if self._stream is None:
                self._stream = self._open()
            chunk = self._stream.read(size)
        self._archive.spend(len(chunk))
        return chunk


@contextmanager
def _damage_named(where: str) -> Iterator[None]:
    try:
        yield
    except _DAMAGE as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise DataError(f"{where} cannot be read: {why}.") from error
