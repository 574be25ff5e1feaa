"""What the generated tasks of the RMT paper share: rows of symbols with an answer at their end."""

from collections.abc import Callable, Iterator
from typing import cast

import numpy as np
import torch

from rmem_cli.data.algorithmic import Algorithmic
from rmem_cli.models.batch import Batch
from rmem_cli.seeding import derive_seed
from rmem_cli.tasks.base import Task

Draw = Callable[[np.random.Generator, int], np.ndarray]


class AlgorithmicTask(Task):
    """Read a row of symbols, predict each next one; only the predictions at the end, the answer, count.

    The examples of a prepared set are read in its order, again and again, whatever the seed: so does the
    published code. Otherwise every batch is drawn anew, as the prepared sets were.

    Args:
        draw: From a generator and a number of rows to rows `[n, length + 1]` of symbols.
        symbols: How many different symbols there are.
        answer_length: How many predictions count: the last ones.
        prepared: The prepared set, if the examples are from there.

    Source: Bulatov et al. 2022, section 4 and appendix A.
    """

    predicts_future = True

    def __init__(
        self, draw: Draw, symbols: int, answer_length: int, prepared: Algorithmic | None = None
    ) -> None:
        self.draw = draw
        self.symbols = self.classes = symbols
        self.answer_length = answer_length
        self.prepared = prepared

    def training_batch(self, step: int, batch_size: int, seed: int) -> Batch:
        """See `Task.training_batch`."""
        return self.batch(self._rows("train", step * batch_size, batch_size, seed))

    def evaluation_batches(
        self, split: str, examples: int | None, batch_size: int, seed: int
    ) -> Iterator[Batch]:
        """See `Task.evaluation_batches`; of a prepared set the first `examples`, or all if it has fewer.

        Raises:
            ValueError: `examples` is None.
        """
        if examples is None:
            raise ValueError("a task that makes its examples needs to know how many")
        if self.prepared is not None:
            examples = min(examples, len(self.prepared.inputs(split)))
        for first in range(0, examples, batch_size):
            yield self.batch(self._rows(split, first, min(batch_size, examples - first), seed))

    def batch(self, rows: np.ndarray) -> Batch:
        """Rows `[batch, length + 1]` as a batch."""
        symbols = torch.from_numpy(rows.astype(np.int64))
        inputs, targets = symbols[:, :-1], symbols[:, 1:]
        weight = torch.zeros(targets.shape)
        weight[:, -self.answer_length :] = 1
        answer = self.counted(targets) & (weight > 0)
        return Batch(inputs, targets, weight, torch.ones(len(rows), dtype=torch.bool), answer)

    def counted(self, targets: torch.Tensor) -> torch.Tensor:
        """Which targets accuracy counts where they belong to the answer."""
        return torch.ones_like(targets, dtype=torch.bool)

    def exact_positions(self, published: bool) -> int:
        """See `Task.exact_positions`; the whole answer."""
        del published
        return self.answer_length

    def _rows(self, split: str, first: int, count: int, seed: int) -> np.ndarray:
        """Rows number `first` to `first + count` of a split."""
        if self.prepared is None:
            name = type(self).__name__
            return self.draw(np.random.default_rng(derive_seed(seed, name, split, first)), count)
        rows = self.prepared.prepared.tokens(split)
        return cast(np.ndarray, rows[np.arange(first, first + count) % len(rows)])
