"""Times and memory of steps, beside the rates at which this machine multiplies matrices."""

import multiprocessing
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import torch
from torch import Tensor

from rmem_cli.bench.cases import Case, Step
from rmem_cli.ops.native import build
from rmem_cli.ops.product.dispatch import product
from rmem_cli.runs.peak_memory import peak_memory_mb, reset_peak_memory

_PRODUCT_SIZE = 2048
_LEAST_REPEATS = 3


@dataclass(frozen=True)
class Timing:
    """One form of a case.

    Attributes:
        case: Name of the case.
        form: Name of the form.
        milliseconds: Median time of a step.
        fastest: Least time of a step, in milliseconds.
        repeats: Steps that were timed.
        memory_mb: What the first step of a fresh process adds to its memory, or that of its GPU, at most;
            None: not measured.
        gigaflops: Rate of the operations that a step cannot do without, in 10^9 a second.
        share: Of the rate at which torch multiplies large matrices on this device, in the same minutes.
        share_of_fastest: Of the rate at which the tool multiplies them, if that is higher; no step outruns
            it.
    """

    case: str
    form: str
    milliseconds: float
    fastest: float
    repeats: int
    memory_mb: float | None
    gigaflops: float
    share: float
    share_of_fastest: float


def measure(
    case: Case, repeats: int, seconds: float, *, memory: bool = True, device: str = "cpu"
) -> list[Timing]:
    """Time all forms of a case and both products in turn, so that what slows the machine slows them all.

    Args:
        case: What to measure.
        repeats: Steps of each form.
        seconds: After which no further round begins, once each form has had three.
        memory: Whether to measure memory too, each form in a process of its own.
        device: Where to compute.
    """
    forms = case.forms_here(device)
    times: dict[str, list[float]] = {form: [] for form in forms}
    rates: list[float] = []
    fastest_rates: list[float] = []
    with torch.device(device):
        torch.manual_seed(0)
        steps = {form: case.make(case.size, form) for form in forms}
        started = time.perf_counter()
        for step in steps.values():
            step()
        while len(rates) < repeats and (
            len(rates) < _LEAST_REPEATS or time.perf_counter() - started < seconds
        ):
            rates.append(product_rate(device=device))
            fastest_rates.append(product_rate(product, device))
            for form, step in steps.items():
                times[form].append(seconds_of(step, device))
    flops, rate = case.flops(case.size), statistics.median(rates)
    fastest_rate = max(rate, statistics.median(fastest_rates))
    return [
        Timing(
            case=case.name,
            form=form,
            milliseconds=1e3 * statistics.median(times[form]),
            fastest=1e3 * min(times[form]),
            repeats=len(times[form]),
            memory_mb=_in_fresh_process(case, form, device) if memory else None,
            gigaflops=flops / statistics.median(times[form]) / 1e9,
            share=flops / statistics.median(times[form]) / rate,
            share_of_fastest=flops / statistics.median(times[form]) / fastest_rate,
        )
        for form in forms
    ]


def product_rate(multiply: Callable[[Tensor, Tensor], Tensor] = torch.mm, device: str = "cpu") -> float:
    """Floating-point operations a second of one product of two 2048 x 2048 matrices in single precision."""
    matrix = torch.ones(_PRODUCT_SIZE, _PRODUCT_SIZE, device=device)
    multiply(matrix, matrix)
    return 2 * _PRODUCT_SIZE**3 / seconds_of(lambda: multiply(matrix, matrix), device)


def seconds_of(step: Callable[[], object], device: str = "cpu") -> float:
    """How long a step takes, until the device has done all that it was asked for."""
    wait_for(device)
    started = time.perf_counter()
    step()
    wait_for(device)
    return time.perf_counter() - started


def wait_for(device: str) -> None:
    """Wait until a device has done what it was asked for; a CPU has."""
    if device != "cpu":
        torch.accelerator.synchronize(torch.device(device))


def _in_fresh_process(case: Case, form: str, device: str) -> float:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(first_step_memory, case, form, torch.get_num_threads(), device).result()


def first_step_memory(case: Case, form: str, threads: int, device: str = "cpu") -> float:
    """By how many megabytes the first step raises the peak memory of this process, or of its GPU."""
    torch.set_num_threads(threads)
    if form == "native":
        build.status(case.family)
    there = torch.device(device)
    with there:
        step: Step = case.make(case.size, form)
        product_rate(device=device)
        reset_peak_memory(there)
        before = peak_memory_mb(there)
        step()
        wait_for(device)
    return peak_memory_mb(there) - before
