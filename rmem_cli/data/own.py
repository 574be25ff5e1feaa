"""Files of one's own, prepared when they are read for the first time.

What is made of them lies in the folder of prepared data, as `own-<file>-<key>`. The key is a hash of what is
in the files and of how they are read: a file that has changed is another data set, one that was moved is not.
"""

import re
import shutil
import stat
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from rich.console import Console

from rmem_cli.data.prepared import OWN, DamagedError, Prepared, open_prepared, prepared_folder
from rmem_cli.data.writer import Content, clear_leftovers, write_prepared
from rmem_cli.errors import DataError
from rmem_cli.files import lock_of, remedy, sha256_of
from rmem_cli.recipe.hashing import digest
from rmem_cli.recipe.own_files import OwnFiles
from rmem_cli.visible import say

_VERSION = 1
"""Of how files are prepared; another one is a new key for all of them."""
_LONGEST = 40  # characters of a file's name in that of its data set


def prepared_once(own: OwnFiles, form: str, make: Callable[[], Content]) -> Prepared:
    """What is made of files of one's own: as it was prepared, or now.

    Args:
        own: The files.
        form: What is made of them.
        make: Reads them, where they have not been prepared yet.

    Raises:
        DataError: A file is missing, is not what it should be, or changes while it is read; or the folder of
            prepared data cannot be written.
    """
    before = _hashes(own)
    name = _name(own, before)
    here = _here(name, form)
    if here is not None:
        return here
    home = prepared_folder(name, form).parent
    try:
        home.mkdir(parents=True, exist_ok=True)
        with lock_of(home / ".lock", timeout=-1):
            return _here(name, form) or _made(own, name, form, make, before)
    except OSError as error:
        raise DataError(f"Cannot use {home}: {error.strerror or error}; {remedy(error)}.") from error


def _here(name: str, form: str) -> Prepared | None:
    if prepared_folder(name, form).is_dir():
        with suppress(DamagedError):
            return open_prepared(name, form)
    return None


def _made(
    own: OwnFiles, name: str, form: str, make: Callable[[], Content], before: Mapping[str, str]
) -> Prepared:
    clear_leftovers(prepared_folder(name, form).parent)
    files = ", ".join(path.name for path in own.files.values())
    say(Console(stderr=True), f"preparing {files} ({form})")
    sources = [{"file": path.name, "sha256": before[field]} for field, path in own.files.items()]
    prepared = write_prepared(name, form, make(), sources=sources, licence="yours", citation="none")
    if _hashes(own) != before:
        shutil.rmtree(prepared.folder, ignore_errors=True)
        raise DataError(f"{files} changed while it was read; give the command again.")
    return prepared


def _name(own: OwnFiles, hashes: Mapping[str, str]) -> str:
    how = own.model_dump(exclude=set(hashes))
    key = digest({"version": _VERSION, "as": type(own).__name__, "how": how, "files": dict(hashes)})
    first = next(iter(own.files.values())).stem
    return f"{OWN}{re.sub(r'[^A-Za-z0-9_]+', '_', first)[:_LONGEST]}-{key}"


def _hashes(own: OwnFiles) -> dict[str, str]:
    """The sha256 of each file, by its field."""
    return {field: _hash_of(path) for field, path in own.files.items()}


def _hash_of(path: Path) -> str:
    try:
        about = path.stat()
        if not stat.S_ISREG(about.st_mode):
            raise DataError(
                f"{path} cannot be read as a file: it is a folder, a pipe or a device. Name a file, such "
                "as one with a copy of what a pipe gives."
            )
        return _hash_as_it_is(path, about.st_size, about.st_mtime_ns, about.st_ctime_ns, about.st_ino)
    except FileNotFoundError as error:
        raise DataError(
            f"There is no file {path}; a recipe names files as from its own folder, --set and exported "
            "models from the working folder."
        ) from error
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise DataError(f"{path} cannot be read ({why}); name a file that can.") from error


@lru_cache(maxsize=64)
def _hash_as_it_is(path: Path, *about: int) -> str:
    """The hash of a file, found out once for each change of it."""
    del about
    return sha256_of(path)
