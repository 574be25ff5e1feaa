"""Where rmem keeps data, runs and results, and how to move each of them."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

import platformdirs

from rmem_cli.errors import UsageError
from rmem_cli.visible import visible


def data_root() -> Path:
    """Folder of prepared data sets: `RMEM_DATA`, or the platform's user data folder.

    Raises:
        UsageError: No folder can be there; so for the others.
    """
    return _folder("RMEM_DATA", platformdirs.user_data_dir, "data")


def runs_root() -> Path:
    """Folder of run folders (checkpoints, curves): `RMEM_RUNS`, or the platform's user state folder."""
    return _folder("RMEM_RUNS", platformdirs.user_state_dir, "runs")


def native_root() -> Path:
    """Folder of compiled operations: `RMEM_NATIVE_CACHE`, or the platform's user cache folder."""
    return _folder("RMEM_NATIVE_CACHE", platformdirs.user_cache_dir, "native")


def cache_root() -> Path:
    """Folder of what can be found out again: `RMEM_CACHE`, or the platform's user cache folder."""
    return _folder("RMEM_CACHE", platformdirs.user_cache_dir)


def verified_root() -> Path:
    """Folder of notes on data that was verified."""
    return cache_root() / "verified"


def rates_file() -> Path:
    """File of what steps take here."""
    return cache_root() / "rates.sqlite"


def results_root() -> Path:
    """Folder of result tables: `RMEM_RESULTS`, or `results` in the working folder."""
    return _folder("RMEM_RESULTS", None, "results")


def _folder(variable: str, home: Callable[[str], str] | None, name: str = "") -> Path:
    """The folder that a variable names, or the default; it need not be there yet.

    Args:
        variable: The environment variable.
        home: Which of the user's folders the default is in (None: the working folder).
        name: What the default is called there.

    Raises:
        UsageError: It is something else, or no folder can be there; the message names the variable.
    """
    value = os.environ.get(variable, "")
    try:
        text = value or str(Path(home("rmem") if home else "", name))
    except RuntimeError as error:
        raise UsageError(f"there is no home folder to use; name a folder in {variable}") from error
    why = _why_no_folder(text)
    if why:
        what = f"{variable} is '{visible(text)}'" if value else f"'{visible(text)}' would be used"
        raise UsageError(f"{what}, but {why}; name a folder in {variable}")
    return Path(text).expanduser()


def _why_no_folder(text: str) -> str:
    """Why no folder can be at a path, in a phrase; empty if one is there or can be made."""
    if not text.strip():
        return "that is blank"
    try:
        path = Path(text).expanduser()
    except RuntimeError:
        return "there is no such home folder"
    try:
        return "" if stat.S_ISDIR(path.stat().st_mode) else "that is not a folder"
    except FileNotFoundError:
        return ""
    except NotADirectoryError:
        return "a part of it is not a folder"
    except OSError as error:
        return f"that cannot be used ({error.strerror})"
