"""Files that are there as a whole or not at all, whenever the process or the machine stops; hashes."""

import codecs
import contextlib
import errno
import hashlib
import os
from pathlib import Path

from filelock import FileLock

EXPORT = "export.json"
"""The file that tells an exported model from other folders; see `rmem_cli.records.exported`."""

_SMALL = 1 << 20  # bytes
_BYTE_ORDER_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",  # begins like the next one
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_BE: "utf-16",
}

_NO_LOCKS = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS}


def lock_of(path: Path, timeout: float = 0.0) -> FileLock:
    """A lock by a file, which ends with the process that holds it, on whatever machine.

    Where the file system has none, taking it fails: a file that is there or not would outlive the process.

    Args:
        path: The file.
        timeout: Seconds for which a lock is waited for; -1: until it is free.
    """
    return FileLock(path, timeout=timeout, fallback_to_soft=False)


def remedy(error: OSError) -> str:
    """What to do about a folder that cannot be written."""
    lacks = error.errno in _NO_LOCKS
    return "its file system has no locks, use one that has" if lacks else "make room or make it writable"


def read_small(path: Path) -> bytes:
    """Read a file that never has more than a megabyte.

    Raises:
        OSError: It cannot be read, or has more.
    """
    with path.open("rb") as file:
        content = file.read(_SMALL + 1)
    if len(content) > _SMALL:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(path))
    return content


def encoding_of(head: bytes) -> str:
    """The encoding of a text that begins like this: that of its byte order mark, or UTF-8."""
    marks = _BYTE_ORDER_MARKS.items()
    return next((encoding for mark, encoding in marks if head.startswith(mark)), "utf-8")


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file, or replace it, in one step that a reader or a power cut sees before or after.

    Only one process at a time may write the same file.
    """
    unfinished = path.with_name(f"{path.name}.unfinished")
    write_durably(unfinished, content)
    unfinished.replace(path)
    sync_folder(path.parent)


def write_durably(path: Path, content: bytes | memoryview) -> None:
    """Write a file and wait until it has reached the disk."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def sha256_of(path: Path) -> str:
    """The sha256 of a file, in hex.

    Raises:
        OSError: It cannot be read.
    """
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder have reached the disk, where the system lets folders be opened."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
