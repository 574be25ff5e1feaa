"""What a model is to those who train, evaluate, plan and sample it."""

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from rmem_cli.models.batch import Batch
from rmem_cli.models.state import MEMORY, State


@dataclass(frozen=True)
class StepResult:
    """What one segment gives.

    Attributes:
        losses: Weighted negative log-likelihood in nats (or squared error) of each position, `[batch, time]`:
            in evaluation of all of them, in training at least of those with a weight.
        weights: Of these positions.
        outputs: Of these positions, `[batch, time, ...]`, for `Model.answers` and `Model.logits`; None in the
            training of a model whose losses need less.
        state: State after the segment.
        auxiliary: Further losses, by name: what training adds to the sum, and what no metric counts.
    """

    losses: Tensor
    weights: Tensor
    outputs: Tensor | None
    state: State
    auxiliary: dict[str, Tensor] = field(default_factory=dict)

    @cached_property
    def nll_sum(self) -> Tensor:
        """Sum of the losses of all positions."""
        return self.losses.sum()

    @cached_property
    def loss(self) -> Tensor:
        """What the segment adds to the loss that is trained: its auxiliary losses count."""
        loss = self.nll_sum
        for auxiliary in self.auxiliary.values():
            loss = loss + auxiliary
        return loss


class Model(nn.Module, ABC):
    """Reads a batch segment by segment, carries a state between segments, and says what it costs.

    What trains, evaluates, plans or samples a model knows this much of it and no more: of what parts it is
    made is its own affair. Its weights are all of one type, on one device.

    Attributes:
        compiled: Whether parts of it have been handed to `torch.compile`.
    """

    compiled: bool = False

    @property
    @abstractmethod
    def segment_length(self) -> int | None:
        """Steps of one segment; None if any length will do."""

    @property
    @abstractmethod
    def causal(self) -> bool:
        """Whether no output depends on later inputs of its segment."""

    @property
    @abstractmethod
    def stepwise(self) -> bool:
        """Whether a segment read in parts gives the outputs and the state that it gives as a whole."""

    def initial_state(
        self, rows: int, *, device: torch.device | None = None, dtype: torch.dtype | None = None
    ) -> State:
        """The state before the first segment; device and dtype default to those of the weights.

        Nothing, where all that an answer needs is in its segment, or in the source that comes with it.
        """
        del rows, device, dtype
        return {}

    @abstractmethod
    def outputs(self, batch: Batch, state: State | None) -> tuple[Tensor, State]:
        """Read one segment, without its targets.

        Args:
            batch: The segment, on the model's device.
            state: State before it; None starts afresh.

        Returns:
            For each position of the targets, `[batch, time, ...]`, what `answers` and `logits` take; and the
            state after the segment. Both of a row do not depend on where others start afresh.

        Raises:
            ValueError: The state is that of another model, or of other rows.
        """

    @abstractmethod
    def step(self, batch: Batch, state: State | None) -> StepResult:
        """Read one segment and say what it costs: the loss that is trained is the one that is measured.

        Arguments and errors are those of `outputs`.
        """

    @abstractmethod
    def logits(self, outputs: Tensor) -> Tensor:
        """Logarithms of probabilities, up to a constant: `[..., classes]`.

        Raises:
            TypeError: The model predicts numbers.
        """

    def predictions(self, outputs: Tensor) -> Tensor:
        """`logits`, or the numbers that the model predicts, `[...]`."""
        return self.logits(outputs)

    def answers(self, outputs: Tensor) -> Tensor | None:
        """The most probable class of each position; None: the model predicts numbers."""
        return self.logits(outputs).argmax(-1)

    def memory(self) -> frozenset[str]:
        """Entries of a state that are memory tokens; the others are caches to the published training loops.

        Those leave caches out, or take old ones, where they run segments again (`published_caches` of
        `Replay`, `published_restart` of `Sliding`).
        """
        return frozenset({MEMORY} & self.initial_state(1, device=torch.device("meta")).keys())

    def constant_weights(self) -> AbstractContextManager[None]:
        """Meanwhile the weights stay as they are, and gradients are taken by `backward` alone.

        What depends on nothing but weights may be computed once for all segments that are read meanwhile.
        """
        return nullcontext()

    def begin_training_step(self, step: int) -> None:
        """Told before each training step, however many segments and shares of a batch it reads.

        Args:
            step: How many training steps there were before it.
        """
        del step

    def cover(self, known: bool) -> None:
        """Say whether a model that has coverage knows it from now on; at first, it does.

        Args:
            known: False: the model is what it would be without coverage, but for the weights that it has.
        """
        del known

    def op_paths(self) -> dict[str, str]:
        """Each op that has several forms, with those in which it runs in training, such as `fast+native`."""
        return {}

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Have `torch.compile` translate each part of the model when it first runs."""
        self.compiled = True
        for part in self.children():
            part.compile(*args, **kwargs)

    def parameter_count(self) -> int:
        """Number of weights, frozen ones included."""
        return sum(parameter.numel() for parameter in self.parameters())
