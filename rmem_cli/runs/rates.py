"""What steps were found to take on this machine, kept from one command to the next in the user's cache."""

import contextlib
import json
import os
import platform
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from functools import cache
from pathlib import Path

import torch

from rmem_cli.errors import UsageError
from rmem_cli.paths import rates_file
from rmem_cli.recipe.hashing import canonical, digest
from rmem_cli.recipe.schema import RunSettings
from rmem_cli.recipe.settings import Settings

_TIMEOUT_SECONDS = 10.0  # of waiting for other processes, which write for milliseconds


def step_key(settings: RunSettings, data_hash: str, op_paths: Mapping[str, str], device: torch.device) -> str:
    """What the rate of a run's steps is kept under: all that their cost depends on."""
    train = settings.train
    of_step = {name: getattr(train, name) for name in ("batch_size", "backprop", "dtype", "clip_norm")}
    about = {"task": settings.task, "model": settings.model, "optimizer": settings.optimizer.kind}
    return machine_key(
        "step", {**about, **of_step, "data": data_hash}, settings.train.dtype, op_paths, device
    )


def machine_key(
    sort: str, about: object, dtype: str, op_paths: Mapping[str, str], device: torch.device
) -> str:
    """A hash of what was measured, on which machine, by how many threads and which torch."""
    here = [torch.get_num_threads(), str(device), torch.__version__, _machine(device)]
    described = canonical(about) if isinstance(about, Settings | dict) else about
    return digest([sort, described, dtype, dict(op_paths), *here])


def known(key: str) -> list[float] | None:
    """The numbers that are kept under a key; None if there are none, or the file is damaged."""
    with contextlib.suppress(sqlite3.Error, OSError, ValueError, TypeError), _opened() as connection:
        found = connection.execute("SELECT numbers FROM rates WHERE key = ?", (key,)).fetchone()
        return None if found is None else [float(number) for number in json.loads(found[0])]
    return None


def keep(key: str, numbers: list[float]) -> None:
    """Keep numbers under a key; a damaged file is replaced, and one that cannot be written left alone."""
    for _ in range(2):
        try:
            with _opened() as connection:
                connection.execute("BEGIN IMMEDIATE")
                connection.execute("CREATE TABLE IF NOT EXISTS rates (key TEXT PRIMARY KEY, numbers TEXT)")
                connection.execute("INSERT OR REPLACE INTO rates VALUES (?, ?)", (key, json.dumps(numbers)))
                connection.execute("COMMIT")
            return
        except sqlite3.OperationalError:
            return
        except sqlite3.Error:
            with contextlib.suppress(OSError):
                rates_file().unlink()
        except OSError:
            return


@contextlib.contextmanager
def _opened() -> Iterator[sqlite3.Connection]:
    try:
        file = rates_file()
    except UsageError as error:
        raise OSError(str(error)) from error  # a cache that cannot be is like one that cannot be written
    file.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(file, timeout=_TIMEOUT_SECONDS, isolation_level=None)) as connection:
        yield connection


@cache
def _machine(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    names: list[str] = []
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{platform.machine()} {names[0] if names else platform.processor()} {os.cpu_count()}"
