"""The processes that train a run together, by torch's own collectives."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar, cast

import torch
from torch import Tensor
from torch import distributed as group
from torch.distributed import Store, TCPStore  # type: ignore[attr-defined]  # as its manual has them

from rmem_cli.errors import RunsFailedError, UsageError

_MEETING = timedelta(minutes=5)
_TIMEOUT = timedelta(days=1)  # the first process may decode summaries alone; one that ends is noticed at once
_NEEDED = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")

_Value = TypeVar("_Value")
Stop = Callable[[], bool]
"""Whether a run is to save what it has and end."""


class LostProcessError(RunsFailedError):
    """Another process that trains the same run has ended, or does not answer."""


@dataclass(frozen=True)
class World:
    """This process among those that train a run together.

    Every method but `rows` and `as_several` is a collective: it returns when all processes have called it.

    Attributes:
        rank: Number of this process; the first one, 0, writes.
        size: How many there are.
    """

    rank: int = 0
    size: int = 1

    @property
    def writes(self) -> bool:
        """Whether files are this process's to write."""
        return self.rank == 0

    def rows(self, count: int) -> slice:
        """Which of so many rows are this process's: as many as every other's, or one more."""
        return slice(count * self.rank // self.size, count * (self.rank + 1) // self.size)

    def as_several(self, count: int) -> "list[World]":
        """This process as so many of a larger world, in which every process is as many."""
        return [World(self.rank * count + one, self.size * count) for one in range(count)]

    def add(self, values: Tensor) -> None:
        """Replace a tensor by its sum over all processes."""
        if self.size > 1:
            with _others():
                group.all_reduce(values)

    def any(self, flags: Sequence[bool]) -> list[bool]:
        """Of each flag, whether it is set in some process."""
        if self.size == 1:
            return list(flags)
        counts = torch.tensor(flags, dtype=torch.int32)  # on the CPU: no accelerator waits
        self.add(counts)
        return [count > 0 for count in counts.tolist()]

    def agreed(self, stop: Stop) -> Stop:
        """`stop` for all processes: true as soon as it is in one of them."""
        return stop if self.size == 1 else lambda: self.any([stop()])[0]

    def all(self, value: _Value) -> list[_Value]:
        """The values of all processes, in the order of their numbers; tensors on the CPU."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        with _others():
            group.all_gather_object(values, value)
        return cast("list[_Value]", values)

    def told(self, order: _Value | None = None) -> _Value | None:
        """What the first process tells the others; None: that there is nothing more to do."""
        if self.size == 1:
            return order
        orders = [order]
        with _others():
            group.broadcast_object_list(orders)
        return orders[0]


ALONE = World()


@contextmanager
def _others() -> Iterator[None]:
    """Inside, what torch says of a process that is gone becomes a sentence."""
    try:
        yield
    except RuntimeError as error:
        raise LostProcessError(
            "another process of this run has ended or does not answer, and what it said is above "
            f"({str(error).strip().splitlines()[0]}); the same command goes on from the last checkpoint"
        ) from error


def is_member() -> bool:
    """Whether whoever started this process, such as torchrun, says that it is one of several."""
    return any(name in os.environ for name in ("RANK", "WORLD_SIZE"))


def join(device: torch.device) -> World:
    """Meet the other processes, as the variables of torchrun say; alone, if there are none.

    Args:
        device: Of what is added up.

    Raises:
        UsageError: Some variable is missing or no number, or the others cannot be met.
    """
    if not is_member():
        return ALONE
    missing = [name for name in _NEEDED if not os.environ.get(name)]
    if missing:
        raise UsageError(
            f"RANK or WORLD_SIZE is set, but not {', '.join(missing)}: torchrun sets all of them; unset them "
            "to train in one process, or use --nproc"
        )
    numbers = [os.environ[name] for name in ("RANK", "WORLD_SIZE")]
    if not all(number.isdecimal() for number in numbers) or int(numbers[0]) >= int(numbers[1]):
        raise UsageError(
            f"RANK is {numbers[0]!r} and WORLD_SIZE {numbers[1]!r}; RANK counts from 0 to WORLD_SIZE - 1, "
            "and torchrun sets both"
        )
    return meet(World(*map(int, numbers)), device)


def meeting(world: World, port: int = 0) -> TCPStore:
    """Where processes of this machine meet: opened by the first one, at a port that it tells the others."""
    return TCPStore("127.0.0.1", port, world.size, world.writes, _MEETING, wait_for_workers=False)


def meet(world: World, device: torch.device, store: Store | None = None) -> World:
    """Meet the other processes.

    Args:
        world: Which of them this is.
        device: Of what is added up.
        store: Where they meet; None: where the variables of torchrun say.

    Raises:
        UsageError: Some of them do not come.
    """
    if world.size == 1:
        return world
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    try:
        group.init_process_group(
            backend, store=store, rank=world.rank, world_size=world.size, timeout=_TIMEOUT
        )
    except (ValueError, RuntimeError) as error:
        raise UsageError(
            f"the {world.size} processes of this run cannot meet ({str(error).splitlines()[0]}); are all of "
            "them running?"
        ) from error
    return world


def leave() -> None:
    """Part from the other processes, who learn that this one has ended."""
    if group.is_initialized():
        group.destroy_process_group()
