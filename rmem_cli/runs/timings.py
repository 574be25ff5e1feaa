"""What was found out about runs on this machine, kept from one command to the next in the user's cache.

Never imports torch: a report reads what runs would cost.
"""

import contextlib
import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing

from rmem_cli.errors import UsageError
from rmem_cli.paths import rates_file
from rmem_cli.recipe import RunSpec

_TIMEOUT_SECONDS = 10.0  # of waiting for other processes, which write for milliseconds


def keep_cost(spec: RunSpec, seconds: float) -> None:
    """Keep how long a run was planned to take here, whatever its seed."""
    keep(_cost_key(spec), [seconds])


def known_costs() -> Callable[[RunSpec], float | None]:
    """What tells how long a run was last planned to take here, in seconds; None if it never was."""
    costs: dict[str, str] = {}
    with contextlib.suppress(sqlite3.Error, OSError), _opened() as connection:
        costs = dict(connection.execute("SELECT key, numbers FROM rates WHERE key LIKE 'cost %'"))

    def known_cost(spec: RunSpec) -> float | None:
        found = _numbers(costs[key]) if costs and (key := _cost_key(spec)) in costs else None
        return found[0] if found else None

    return known_cost


def _cost_key(spec: RunSpec) -> str:
    return f"cost {spec.train_hash('')}"


def known(key: str) -> list[float] | None:
    """The numbers that are kept under a key; None if there are none, or the file is damaged."""
    with contextlib.suppress(sqlite3.Error, OSError), _opened() as connection:
        found = connection.execute("SELECT numbers FROM rates WHERE key = ?", (key,)).fetchone()
        return None if found is None else _numbers(found[0])
    return None


def _numbers(text: str) -> list[float] | None:
    """Numbers as they are kept; None if they are damaged."""
    try:
        return [float(number) for number in json.loads(text)]
    except (ValueError, TypeError):
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
