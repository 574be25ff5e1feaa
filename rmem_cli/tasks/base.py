"""The interface of every task."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from functools import lru_cache, partial
from itertools import chain
from typing import Any, Generic, TypeVar, cast

import torch
from torch import Tensor

from rmem_cli.data.task_tokenizers import TaskTokenizer
from rmem_cli.models.batch import Batch
from rmem_cli.recipe.schema import Drawn
from rmem_cli.seeding import derive_seed
from rmem_cli.tasks.training_set import TrainingSet

Examples = TypeVar("Examples", bound=Tensor | Sequence[Any])

_BLOCK = 64  # examples that one generator draws; another number makes other examples


class Task(ABC):
    """What is learned: batches for training and for evaluation.

    Attributes:
        symbols: How many input symbols there are; how many features a step has if inputs are numbers.
        classes: How many classes the targets have; 1 if they are numbers.
        carries_state: Whether the state after a training batch is the state before the next one.
    """

    symbols: int
    classes: int
    carries_state: bool = False

    @property
    def tokenizer(self) -> TaskTokenizer | None:
        """How its texts become symbols and back; None: it has no texts."""
        return None

    @property
    def class_names(self) -> list[str] | None:
        """What each class is called; None: classes are symbols, numbers, or have no names."""
        return None

    @abstractmethod
    def training_batch(self, step: int, batch_size: int, seed: int) -> Batch:
        """The batch of one training step: a function of its arguments and the data alone."""

    @abstractmethod
    def evaluation_batches(
        self, split: str, examples: int | None, batch_size: int, seed: int, drawn: Drawn = "by_batch"
    ) -> Iterator[Batch]:
        """The batches of one evaluation; a row's state goes on from batch to batch unless it is fresh.

        Args:
            split: `train`, `valid` or `test`.
            examples: How many; None takes all of a data set's split.
            batch_size: Examples (or text columns) at a time; the last batch may be smaller.
            seed: Of the run; examples that are made depend on it.
            drawn: How examples are made; see `EvalProtocol.examples_drawn`. Those of a data set are read in
                its order.
        """

    def steps_per_epoch(self, batch_size: int) -> int | None:
        """Training steps of one pass over the data; None for tasks that make their examples."""
        del batch_size
        return None

    def examples_in(self, batch: Batch) -> int:
        """How many examples of an evaluation a batch holds."""
        return batch.inputs.shape[0]

    def told_in(self, batch: Batch) -> int:
        """How many things an evaluation's batch tells, one of which each example is asked for; 0: none."""
        del batch
        return 0

    def exact(self, right: Tensor, batch: Batch, published: bool) -> Tensor | None:
        """Which rows have a right answer as a whole, `[batch]`, for `exact_match`; None: that has no meaning.

        Args:
            right: Which positions are right, `[batch, time]`, others than answers among them.
            batch: What was read.
            published: Whether to count as the published code does, where that is odd.
        """
        del right, batch, published
        return None


class GeneratedTask(Task, Generic[Examples]):
    """A task whose examples are made from (seed, split, number).

    Attributes:
        training_set: Examples that training reads again and again, and an evaluation of the split `train` in
            their order; None: training makes new ones.
    """

    training_set: TrainingSet[Examples] | None = None

    @abstractmethod
    def draw(self, count: int, seed: int, split: str, number: int) -> Examples:
        """Examples of a split: all of their randomness, and no padding.

        Args:
            count: How many; with another count, all of them may be others.
            seed: Of the run, or derived from it.
            split: `train`, `valid` or `test`.
            number: What tells these draws from others of the split; see `draw_number`.
        """

    @abstractmethod
    def batch(self, examples: Examples) -> Batch:
        """Examples as a batch."""

    def make(self, batch_size: int, seed: int, split: str, step: int) -> Batch:
        """The batch number `step` of a split."""
        return self.batch(self.draw(batch_size, seed, split, self.draw_number(step, batch_size)))

    def draw_number(self, step: int, batch_size: int) -> int:
        """What the draws of the batch number `step` are called by."""
        del batch_size
        return step

    def training_batch(self, step: int, batch_size: int, seed: int) -> Batch:
        """See `Task.training_batch`."""
        if self.training_set is not None:
            return self.batch(self.training_set.batch(step, batch_size, seed))
        return self.make(batch_size, seed, "train", step)

    def evaluation_batches(
        self, split: str, examples: int | None, batch_size: int, seed: int, drawn: Drawn = "by_batch"
    ) -> Iterator[Batch]:
        """See `Task.evaluation_batches`.

        Raises:
            ValueError: `examples` is None.
        """
        yield from map(self.batch, self.evaluated(split, examples, batch_size, seed, drawn))

    def evaluated(
        self, split: str, examples: int | None, batch_size: int, seed: int, drawn: Drawn
    ) -> Iterator[Examples]:
        """The examples of each batch of an evaluation; see `Task.evaluation_batches`.

        Those of a training set are its first ones, or all if it has fewer. Drawn by number, they come in
        blocks of one size, each with a generator of its own: an example depends on its number, whatever the
        size of the batches and however many are asked for.

        Raises:
            ValueError: `examples` is None.
        """
        if examples is None:
            raise ValueError("a task that makes its examples needs to know how many")
        if split == "train" and self.training_set is not None:
            yield from self.training_set.in_order(min(examples, self.training_set.size), batch_size, seed)
            return
        block = lru_cache(1)(partial(self.draw, _BLOCK, derive_seed(seed, "by number"), split))
        for step, first in enumerate(range(0, examples, batch_size)):
            count = min(batch_size, examples - first)
            if drawn == "by_batch":
                yield self.draw(count, seed, split, self.draw_number(step, batch_size))
            else:
                begin, skipped = divmod(first, _BLOCK)
                blocks = [block(number) for number in range(begin, (first + count - 1) // _BLOCK + 1)]
                yield cast(Examples, _joined(blocks)[skipped : skipped + count])


def _joined(blocks: list[Examples]) -> Examples:
    if isinstance(blocks[0], Tensor):
        return cast(Examples, torch.cat(cast(list[Tensor], blocks)))
    return cast(Examples, list(chain.from_iterable(blocks)))
