"""Batches of examples of about one length, so that little of them is padding."""

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import torch

from rmem_cli.errors import UsageError


def too_few(examples: int, what: str, batch_size: int) -> UsageError:
    """What is raised where the examples to train on do not fill one batch.

    Args:
        examples: How many there are.
        what: What they are called.
        batch_size: How many are wanted.
    """
    if examples == 0:
        return UsageError(
            f"there are no {what} to train on: the training data has none, or none with anything in it; give "
            "it some"
        )
    return UsageError(
        f"there are {examples:,} {what} to train on, which do not fill one batch of {batch_size:,}; lower "
        "train.batch_size"
    )


class LikeLength:
    """Passes over some examples, each in an order of its own, a function of the seed and its number.

    In each, the examples of some batches are sorted by their length together; those that do not fill a batch
    are left out of it.

    Args:
        lengths: Of each example, `[examples]`.
        what: What the examples are called in messages.
        source: Gives the generator of a pass, from seed and number.
        pool: Batches whose examples are sorted together.
    """

    def __init__(
        self, lengths: np.ndarray, what: str, source: Callable[[int, int], torch.Generator], pool: int
    ) -> None:
        self._lengths, self._what, self._source, self._pool = lengths, what, source, pool
        self._order = lru_cache(2)(self._drawn_order)

    def steps(self, batch_size: int) -> int:
        """Batches of one pass.

        Raises:
            UsageError: There are not enough examples for one batch.
        """
        if len(self._lengths) < batch_size:
            raise too_few(len(self._lengths), self._what, batch_size)
        return len(self._lengths) // batch_size

    def batch(self, step: int, batch_size: int, seed: int) -> list[int]:
        """The examples of one training step, by their numbers."""
        epoch, step_of_epoch = divmod(step, self.steps(batch_size))
        return self._order(epoch, batch_size, seed)[step_of_epoch]

    def _drawn_order(self, epoch: int, batch_size: int, seed: int) -> list[list[int]]:
        """The examples of each batch of a pass."""
        source, steps = self._source(seed, epoch), self.steps(batch_size)
        order = torch.randperm(len(self._lengths), generator=source)[: steps * batch_size].numpy()
        size = self._pool * batch_size
        pools = [order[first:][:size] for first in range(0, len(order), size)]
        by_length = np.concatenate([pool[self._lengths[pool].argsort(kind="stable")] for pool in pools])
        batches: list[list[int]] = by_length.reshape(steps, batch_size).tolist()
        return [batches[each] for each in torch.randperm(steps, generator=source).tolist()]
