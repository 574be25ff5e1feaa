"""What people see of a long transfer: a bar on a terminal, a line now and then elsewhere."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.filesize import decimal
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
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
    if not console.is_terminal:
        yield _lines(console, title, total)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as bar:
        task = bar.add_task(title, total=total)
        yield lambda done: bar.update(task, completed=done)


def _lines(console: Console, title: str, total: int | None) -> Callable[[int], None]:
    of = f" of {decimal(total)}" if total is not None else ""
    due = time.monotonic() + _SECONDS_BETWEEN_LINES

    def update(done: int) -> None:
        nonlocal due
        if time.monotonic() >= due:
            due = time.monotonic() + _SECONDS_BETWEEN_LINES
            say(console, f"{title}: {decimal(done)}{of}")

    return update
