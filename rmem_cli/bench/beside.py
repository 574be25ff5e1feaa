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

_BLOCKS = 4
# Shorter ones would show how threads find out that cores are taken, not how they do from then on.
_LEAST_BLOCK_SECONDS = 1.0
_SETTLING_SECONDS = 0.3
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
        seconds: After which no further round of blocks of a form begins.
    """
    torch.manual_seed(0)
    return [_measure_form(case, form, busy, repeats, seconds) for form in case.forms_here()]


def _measure_form(case: Case, form: str, busy: int, repeats: int, seconds: float) -> BesideBusy:
    step, threads = case.make(case.size, form), torch.get_num_threads()
    step()
    alone: list[float] = []
    one_thread: list[float] = []
    beside: list[float] = []
    each = -(-repeats // _BLOCKS)
    started = time.perf_counter()
    for _ in range(_BLOCKS):
        alone += _block(step, each)
        with _on_one_thread():
            one_thread += _block(step, each)
        with busy_processes(busy):
            beside += _block(step, each)
        if time.perf_counter() - started >= seconds:
            break
    return BesideBusy(
        case=case.name,
        form=form,
        threads=threads,
        busy=busy,
        milliseconds=1e3 * statistics.median(alone),
        one_thread=1e3 * statistics.median(one_thread),
        beside=1e3 * statistics.median(beside),
        repeats=min(len(alone), len(one_thread), len(beside)),
    )


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
