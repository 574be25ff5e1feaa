"""Where rmem keeps data, runs and results, and how to move each of them."""

import os
from pathlib import Path

import platformdirs


def data_root() -> Path:
    """Folder of prepared data sets: `RMEM_DATA`, or the platform's user data folder."""
    return _from_environment("RMEM_DATA", Path(platformdirs.user_data_dir("rmem")) / "data")


def runs_root() -> Path:
    """Folder of run folders (checkpoints, curves): `RMEM_RUNS`, or the platform's user state folder."""
    return _from_environment("RMEM_RUNS", Path(platformdirs.user_state_dir("rmem")) / "runs")


def native_root() -> Path:
    """Folder of compiled operations: `RMEM_NATIVE_CACHE`, or the platform's user cache folder."""
    return _from_environment("RMEM_NATIVE_CACHE", Path(platformdirs.user_cache_dir("rmem")) / "native")


def cache_root() -> Path:
    """Folder of what can be found out again: `RMEM_CACHE`, or the platform's user cache folder."""
    return _from_environment("RMEM_CACHE", Path(platformdirs.user_cache_dir("rmem")))


def verified_root() -> Path:
    """Folder of notes on data that was verified."""
    return cache_root() / "verified"


def rates_file() -> Path:
    """File of what steps take here."""
    return cache_root() / "rates.sqlite"


def results_root() -> Path:
    """Folder of result tables: `RMEM_RESULTS`, or `results` in the working folder."""
    return _from_environment("RMEM_RESULTS", Path("results"))


def _from_environment(variable: str, default: Path) -> Path:
    value = os.environ.get(variable, "")
    return Path(value).expanduser() if value else default
