"""What people see of long work: a bar on a terminal, a line now and then elsewhere."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.filesize import decimal
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from rmem_cli.visible import say

_SECONDS_BETWEEN_LINES = 10.0


@contextmanager
def transfer(console: Console, title: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """Show how far a transfer is.

    Args:
        console: Where people look (stderr).
        title: What is transferred.
        total: Bytes altogether (None: not known).

    Yields:
        A function to call with the bytes that are there.
    """
    columns = DownloadColumn(), TransferSpeedColumn()
    with _shown(console, title, total, columns, decimal) as update:
        yield update


@contextmanager
def counted(console: Console, title: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
    """Show how many of some things are done.

    Args:
        console: Where people look (stderr).
        title: What is done.
        total: How many there are.
        unit: What they are called.

    Yields:
        A function to call with the number of those that are done.
    """
    columns = MofNCompleteColumn(), TextColumn(unit)
    with _shown(console, title, total, columns, "{:,}".format, f" {unit}") as update:
        yield update


@contextmanager
def _shown(
    console: Console,
    title: str,
    total: int | None,
    columns: tuple[ProgressColumn, ...],
    told: Callable[[int], str],
    unit: str = "",
) -> Iterator[Callable[[int], None]]:
    if not console.is_terminal:
        yield _lines(console, title, total, told, unit)
        return
    before = TextColumn("{task.description}", markup=False), BarColumn()
    with Progress(*before, *columns, TimeRemainingColumn(), console=console, transient=True) as bar:
        task = bar.add_task(title, total=total)
        yield lambda done: bar.update(task, completed=done)


def _lines(
    console: Console, title: str, total: int | None, told: Callable[[int], str], unit: str
) -> Callable[[int], None]:
    of = f" of {told(total)}" if total is not None else ""
    due = time.monotonic() + _SECONDS_BETWEEN_LINES

    def update(done: int) -> None:
        nonlocal due
        if time.monotonic() >= due:
            due = time.monotonic() + _SECONDS_BETWEEN_LINES
            say(console, f"{title}: {told(done)}{of}{unit}")

    return update
