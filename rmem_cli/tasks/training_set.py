"""A training set of a generated task: examples that are drawn once and read again in every pass."""

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any, Generic, TypeVar, cast

import torch
from torch import Tensor

from rmem_cli.seeding import generator

Examples = TypeVar("Examples", bound=Tensor | Sequence[Any])


class TrainingSet(Generic[Examples]):
    """Passes over a fixed number of examples, each pass in an order of its own.

    A batch that begins in one pass may end in the next, so that each pass reads every example once.

    Args:
        size: How many examples there are.
        draw: From a seed to that many examples.
    """

    def __init__(self, size: int, draw: Callable[[int], Examples]) -> None:
        self.size = size
        self._examples = lru_cache(1)(draw)
        self._order = lru_cache(2)(self._drawn_order)

    def batch(self, step: int, batch_size: int, seed: int) -> Examples:
        """The examples of one training step: a function of the arguments alone."""
        examples = self._examples(seed)
        numbers = torch.cat(
            [
                self._order(seed, number)[first:last]
                for number, first, last in _passes(step * batch_size, batch_size, self.size)
            ]
        )
        if isinstance(examples, Tensor):
            return cast(Examples, examples[numbers])
        return cast(Examples, [examples[number] for number in numbers.tolist()])

    def in_order(self, count: int, batch_size: int, seed: int) -> Iterator[Examples]:
        """The first examples, in batches, of which the last may be smaller."""
        examples = self._examples(seed)
        for first in range(0, count, batch_size):
            yield cast(Examples, examples[first : min(first + batch_size, count)])

    def _drawn_order(self, seed: int, number: int) -> Tensor:
        source = generator(seed, "order of the training set", number)
        return torch.randperm(self.size, generator=source)


def _passes(begin: int, count: int, size: int) -> list[tuple[int, int, int]]:
    """Where `count` positions from `begin` on lie: number of the pass, and from where to where in it."""
    found = []
    while count:
        number, first = divmod(begin, size)
        length = min(count, size - first)
        found.append((number, first, first + length))
        begin, count = begin + length, count - length
    return found
