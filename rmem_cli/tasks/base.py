"""The interface of every task."""

from abc import ABC, abstractmethod
from collections.abc import Iterator

from rmem_cli.models.batch import Batch


class Task(ABC):
    """What is learned: batches for training and for evaluation.

    Attributes:
        symbols: How many input symbols there are; how many features a step has if inputs are numbers.
        classes: How many classes the targets have; 1 if they are numbers.
        carries_state: Whether the state after a training batch is the state before the next one.
        predicts_future: Whether targets are later inputs, which rules out cores that are not causal.
    """

    symbols: int
    classes: int
    carries_state: bool = False
    predicts_future: bool = False

    @abstractmethod
    def training_batch(self, step: int, batch_size: int, seed: int) -> Batch:
        """The batch of one training step: a function of its arguments and the data alone."""

    @abstractmethod
    def evaluation_batches(
        self, split: str, examples: int | None, batch_size: int, seed: int
    ) -> Iterator[Batch]:
        """The batches of one evaluation; a row's state goes on from batch to batch unless it is fresh.

        Args:
            split: `train`, `valid` or `test`.
            examples: How many; None takes all of a data set's split.
            batch_size: Examples (or text columns) at a time; the last batch may be smaller.
            seed: Of the run; examples that are made depend on it.
        """

    def steps_per_epoch(self, batch_size: int) -> int | None:
        """Training steps of one pass over the data; None for tasks that make their examples."""
        del batch_size
        return None

    def examples_in(self, batch: Batch) -> int:
        """How many examples of an evaluation a batch holds."""
        return batch.inputs.shape[0]

    def exact_positions(self, published: bool) -> int:
        """How many of the last positions of a row `exact_match` wants to be right; 0 if it has no meaning.

        Args:
            published: Whether to count as the published code does, where that is odd.
        """
        del published
        return 0


class GeneratedTask(Task):
    """A task whose examples are made from (seed, split, step)."""

    @abstractmethod
    def make(self, batch_size: int, seed: int, split: str, step: int) -> Batch:
        """Examples number `step` of a split."""

    def training_batch(self, step: int, batch_size: int, seed: int) -> Batch:
        """See `Task.training_batch`."""
        return self.make(batch_size, seed, "train", step)

    def evaluation_batches(
        self, split: str, examples: int | None, batch_size: int, seed: int
    ) -> Iterator[Batch]:
        """See `Task.evaluation_batches`.

        Raises:
            ValueError: `examples` is None.
        """
        if examples is None:
            raise ValueError("a task that makes its examples needs to know how many")
        for step, start in enumerate(range(0, examples, batch_size)):
            yield self.make(min(batch_size, examples - start), seed, split, step)
