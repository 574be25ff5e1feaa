"""What was verified already, so that a large file is read as a whole only once for each change of it.

A prepared folder that was found right is noted in the cache folder, with what the system says of each file:
size, times, inode, and the hash that was found. The note counts only while all of it is still so. Damaged,
made up or out of date, it is not equal to what is expected, and the files are read again.
"""

import contextlib
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from rmem_cli.errors import UsageError
from rmem_cli.files import sha256_of
from rmem_cli.paths import verified_root

_SETTLED_SECONDS = 2.0
"""A file that changed less than this ago could change again and bear the same time."""


def first_mismatch(files: Mapping[Path, str], *, again: bool) -> tuple[Path, str] | None:
    """The first file that does not have its hash, and the hash it has; None if all are right.

    Args:
        files: Each file of one folder to the sha256 it should have.
        again: Read them also if they were found right before.

    Raises:
        OSError: A file cannot be read.
    """
    if not files:
        return None
    before = _note(files)
    if not again and _remembered(files) == before:
        return None
    for path, expected in files.items():
        found = sha256_of(path)
        if found != expected:
            return path, found
    if _settled(files) and _note(files) == before:
        _remember(files, before)
    return None


def _note(files: Mapping[Path, str]) -> str:
    """What is noted of files that are right: it differs whenever one was changed, moved or replaced."""
    about = {
        str(path.resolve()): [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino, sha256]
        for path, sha256 in files.items()
        for stat in [path.stat()]
    }
    return json.dumps(about, indent=1, sort_keys=True)


def _settled(files: Mapping[Path, str]) -> bool:
    return all(time.time() - path.stat().st_ctime > _SETTLED_SECONDS for path in files)


def _place(files: Mapping[Path, str]) -> Path:
    folder = str(next(iter(files)).parent.resolve())
    return verified_root() / f"{hashlib.sha256(os.fsencode(folder)).hexdigest()[:32]}.json"


def _remembered(files: Mapping[Path, str]) -> str | None:
    try:
        return _place(files).read_text(encoding="utf-8")
    except (OSError, ValueError, UsageError):
        return None


def _remember(files: Mapping[Path, str], note: str) -> None:
    """Write a note; where that is not possible, the files are verified each time."""
    with contextlib.suppress(OSError, UsageError):
        place = _place(files)
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=place.parent, delete=False, encoding="utf-8") as unfinished:
            unfinished.write(note)
        Path(unfinished.name).replace(place)
