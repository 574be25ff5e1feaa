"""What busy processes beside it cost a step: alone, on one thread, and beside them, in turn."""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from rmem_cli.bench.cases import Case, Step
from rmem_cli.bench.measure import seconds_of

_ROUNDS = 4
_LEAST_BLOCK_SECONDS = 1.0
# For as long after cores were taken, work may be left to fewer threads, and those that wait sleep: `cores.h`.
_SETTLING_SECONDS = 1.3
# Ends with the process that began it, even if that is killed, and without a word if both are interrupted.
_BUSY = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
while os.getppid() == int(sys.argv[1]):
    sum(range(100_000))
"""


@dataclass(frozen=True)
class BesideBusy:
    """One form of a case, alone and beside busy processes.

    Attributes:
        case: Name of the case.
        form: Name of the form.
        threads: On which a step runs.
        busy: Processes beside it that never wait.
        milliseconds: Median time of a step alone.
        one_thread: Median time of a step alone, on one thread, in milliseconds.
        beside: Median time of a step beside the busy processes, on all threads, in milliseconds.
        repeats: Steps that were timed of each kind, at least.
    """

    case: str
    form: str
    threads: int
    busy: int
    milliseconds: float
    one_thread: float
    beside: float
    repeats: int


def measure_beside(case: Case, busy: int, repeats: int, seconds: float) -> list[BesideBusy]:
    """Time each form of a case alone, on one thread, and beside busy processes, in blocks that take turns.

    Args:
        case: What to measure.
        busy: Processes that never wait.
        repeats: Steps of each kind, at least; as many more as a block of a second has room for.
        seconds: After which no further round of blocks begins.
    """
    torch.manual_seed(0)
    times = {form: _Times(case.make(case.size, form)) for form in case.forms_here()}
    started = time.perf_counter()
    for _ in range(_ROUNDS):
        for each in times.values():
            each.add_round(-(-repeats // _ROUNDS), busy)
        if time.perf_counter() - started >= seconds:
            break
    return [
        BesideBusy(
            case=case.name,
            form=form,
            threads=torch.get_num_threads(),
            busy=busy,
            milliseconds=1e3 * statistics.median(each.alone),
            one_thread=1e3 * statistics.median(each.one_thread),
            beside=1e3 * statistics.median(each.beside),
            repeats=min(len(each.alone), len(each.one_thread), len(each.beside)),
        )
        for form, each in times.items()
    ]


class _Times:
    """Times of a step, of each kind."""

    def __init__(self, step: Step) -> None:
        self.step = step
        self.alone: list[float] = []
        self.one_thread: list[float] = []
        self.beside: list[float] = []

    def add_round(self, least: int, busy: int) -> None:
        """A block of at least so many steps of each kind, that beside so many processes last."""
        self.alone += _block(self.step, least)
        with _on_one_thread():
            self.one_thread += _block(self.step, least)
        with busy_processes(busy):
            self.beside += _block(self.step, least)


def _block(step: Step, least: int) -> list[float]:
    """Times of as many steps as a block has room for, behind some that are not timed."""
    settled = time.perf_counter() + _SETTLING_SECONDS
    step()
    while time.perf_counter() < settled:
        step()
    times: list[float] = []
    while len(times) < least or sum(times) < _LEAST_BLOCK_SECONDS:
        times.append(seconds_of(step))
    return times


@contextmanager
def busy_processes(count: int) -> Iterator[None]:
    """So many processes keep a core busy each, until the end."""
    command = [sys.executable, "-c", _BUSY, str(os.getpid())]
    processes = [subprocess.Popen(command) for _ in range(count)]  # noqa: S603 - this program, by its own path
    try:
        yield
    finally:
        for process in processes:
            process.kill()
        for process in processes:
            process.wait()


@contextmanager
def _on_one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
