"""What the generated tasks of the RMT paper share: rows of symbols with an answer at their end."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from rmem_cli.data.prepared import Prepared
from rmem_cli.models.batch import Batch
from rmem_cli.recipe.schema import Drawn
from rmem_cli.seeding import derive_seed
from rmem_cli.tasks.base import GeneratedTask

Draw = Callable[[np.random.Generator, int], np.ndarray]


class AlgorithmicTask(GeneratedTask[Tensor]):
    """Read a row of symbols, predict each next one; only the predictions at the end, the answer, count.

    The examples of a prepared set are read in its order, again and again, whatever the seed: so does the
    published code. Otherwise every batch is drawn anew, as the prepared sets were, whatever was drawn before.

    Args:
        draw_rows: From a generator and a number of rows to rows `[n, length + 1]` of symbols.
        symbols: How many different symbols there are.
        answer_length: How many predictions count: the last ones.
        prepared: The prepared set, if the examples are from there: an array of such rows for each split.

    Source: Bulatov et al. 2022, section 4 and appendix A.
    """

    def __init__(
        self, draw_rows: Draw, symbols: int, answer_length: int, prepared: Prepared | None = None
    ) -> None:
        self.draw_rows = draw_rows
        self.symbols = self.classes = symbols
        self.answer_length = answer_length
        self.prepared = prepared

    def evaluation_batches(
        self, split: str, examples: int | None, batch_size: int, seed: int, drawn: Drawn = "by_batch"
    ) -> Iterator[Batch]:
        """See `Task.evaluation_batches`; of a prepared set the first `examples`, or all if it has fewer.

        Raises:
            ValueError: `examples` is None.
        """
        if self.prepared is not None and examples is not None:
            examples, drawn = min(examples, len(self.prepared.tokens(split))), "by_batch"
        yield from super().evaluation_batches(split, examples, batch_size, seed, drawn)

    def draw(self, count: int, seed: int, split: str, number: int) -> Tensor:
        """See `GeneratedTask.draw`; `[count, length + 1]` symbols, of a prepared set from there on."""
        if self.prepared is None:
            purpose = type(self).__name__, split, number
            rows = self.draw_rows(np.random.default_rng(derive_seed(seed, *purpose)), count)
        else:
            rows = self.prepared.tokens(split)
            rows = rows[np.arange(number, number + count) % len(rows)]
        return torch.from_numpy(rows.astype(np.int64))

    def draw_number(self, step: int, batch_size: int) -> int:
        """See `GeneratedTask.draw_number`; the number of its first row."""
        return step * batch_size

    def batch(self, examples: Tensor) -> Batch:
        """See `GeneratedTask.batch`."""
        inputs, targets = examples[:, :-1], examples[:, 1:]
        weight = torch.zeros(targets.shape)
        weight[:, -self.answer_length :] = 1
        answer = self.counted(targets) & (weight > 0)
        return Batch(inputs, targets, weight, torch.ones(len(examples), dtype=torch.bool), answer)

    def counted(self, targets: torch.Tensor) -> torch.Tensor:
        """Which targets accuracy counts where they belong to the answer."""
        return torch.ones_like(targets, dtype=torch.bool)

    def exact(self, right: Tensor, batch: Batch, published: bool) -> Tensor:
        """See `Task.exact`; an answer is what stands at the end."""
        del batch
        return right[:, -self.exact_positions(published) :].all(1)

    def exact_positions(self, published: bool) -> int:
        """How many of the last positions of a row make the answer, by the published code or rightly."""
        del published
        return self.answer_length
