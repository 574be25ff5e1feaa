"""One run in several processes: started here, or by torchrun."""

import multiprocessing
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing import resource_tracker
from multiprocessing.process import BaseProcess

import torch
from rich.console import Console

from rmem_cli.errors import InterruptedRunError, RmemError, UsageError
from rmem_cli.recipe.own_core import allow_modules, allowed_modules
from rmem_cli.runs.machine import Deterministic, Machine, choose_machine
from rmem_cli.runs.run import follow_run
from rmem_cli.runs.signals import interrupts_held, release_interrupts, stop_requested
from rmem_cli.streams import guarded_streams
from rmem_cli.visible import say
from rmem_cli.world import LostProcessError, World, is_member, join, leave, meet, meeting

_SECONDS_TO_END = 10.0


@contextmanager
def together(machine: Machine, count: int) -> Iterator[Machine]:
    """The machine with the processes that train each run together, of which this is the first.

    Args:
        machine: Where each of them computes.
        count: How many; 1: as many as torchrun has started.

    Raises:
        UsageError: torchrun has started several, and more are asked for; or they cannot meet.
    """
    if count > 1 and is_member():
        raise UsageError(
            "--nproc starts processes, and RANK or WORLD_SIZE say that torchrun has done so; leave one out"
        )
    others: list[BaseProcess] = []
    try:
        if count > 1:
            first = World(0, count)
            store = meeting(first)
            others = [_started(machine, World(rank, count), store.port) for rank in range(1, count)]
            world = meet(first, torch.device(machine.device), store)
        else:
            world = join(torch.device(machine.device))
        yield replace(machine, world=world)
    finally:
        leave()
        for process in others:
            process.join(_SECONDS_TO_END)
            process.kill()


def local_processes() -> int:
    """How many processes torchrun has started on this machine."""
    number = os.environ.get("LOCAL_WORLD_SIZE", "")
    return int(number) if number.isdecimal() and int(number) else 1


def own_device(device: str, rank: int) -> str:
    """The device of one of several processes on a machine: each has a GPU of its own."""
    return f"cuda:{rank}" if device == "cuda" else device


def follow(device: str, *, compile: bool, deterministic: Deterministic = "warn") -> None:  # noqa: A002
    """Train what the first process of torchrun's says, as another one of them.

    Args:
        device: As `--device`.
        compile: Whether `torch.compile` translates the model.
        deterministic: As `--deterministic`.

    Raises:
        RmemError: As `follow_run`.
    """
    own = own_device(device, int(os.environ.get("LOCAL_RANK") or 0))
    machine = choose_machine(own, local_processes(), compile=compile, deterministic=deterministic)
    try:
        _follow(replace(machine, world=join(torch.device(own))))
    finally:
        leave()


def _follow(machine: Machine) -> None:
    with stop_requested() as stop:
        release_interrupts()
        while (spec := machine.world.told()) is not None:
            try:
                follow_run(spec, machine, stop)
            except InterruptedRunError:
                raise
            except RmemError as error:
                error.args = (f"process {machine.world.rank} of {machine.world.size}: {error}",)
                raise


def _started(machine: Machine, world: World, port: int) -> BaseProcess:
    resource_tracker.ensure_running()  # with a process, it would let the interrupts held then come
    own = replace(machine, device=own_device(machine.device.removesuffix(":0"), world.rank))
    given = own, world, port, allowed_modules()
    process = multiprocessing.get_context("spawn").Process(target=_work, args=given, daemon=True)
    with interrupts_held():
        process.start()
    return process


def _work(machine: Machine, world: World, port: int, modules: frozenset[str]) -> None:
    """A process beside the first."""
    allow_modules(modules)
    torch.set_num_threads(machine.threads)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)  # what the process that started this one says is enough
    with guarded_streams():
        try:
            _follow(replace(machine, world=meet(world, torch.device(machine.device), meeting(world, port))))
        except RmemError as error:
            parent = multiprocessing.parent_process()
            told = isinstance(error, InterruptedRunError | LostProcessError)
            if not told or parent is None or not parent.is_alive():
                say(Console(stderr=True, force_terminal=False), f"rmem: {error}")
            raise SystemExit(error.exit_code) from None
        finally:
            leave()
