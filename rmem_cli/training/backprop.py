"""Gradients through time: the only place that walks segments and calls backward."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from rmem_cli.models.batch import Batch
from rmem_cli.models.sequence import SequenceModel, StepResult
from rmem_cli.models.state import State, detach
from rmem_cli.recipe.registry import import_object
from rmem_cli.recipe.settings import Component
from rmem_cli.seeding import seed_dropout
from rmem_cli.training.config import FullSettings, TruncatedSettings

Reduction = Literal["mean", "sum_over_time"]


@dataclass(frozen=True)
class TrainingStep:
    """Which step of which run this is: all that dropout depends on."""

    seed: int
    step: int


@dataclass(frozen=True)
class Gradient:
    """What is known once the gradients of a batch are in the parameters.

    Attributes:
        loss: The number whose gradient was taken.
        nll_sum: Weighted negative log-likelihood of the batch, in nats.
        weight_sum: Sum of the weights.
        state: State after the batch, without its graph.
    """

    loss: float
    nll_sum: float
    weight_sum: float
    state: State


class BackPropagation(ABC):
    """A way of taking the gradient of a batch, segment by segment."""

    @abstractmethod
    def gradient(
        self,
        model: SequenceModel,
        batch: Batch,
        state: State | None,
        reduction: Reduction,
        at: TrainingStep,
    ) -> Gradient:
        """Add the gradient of the batch's loss to the parameters.

        Args:
            model: In training mode.
            batch: On the model's device.
            state: State before the batch; None starts afresh.
            reduction: `mean` over all weights, or `sum_over_time` (mean over the rows).
            at: Which step of which run.
        """

    def state_dict(self) -> dict[str, Any]:
        """What has to be remembered between two batches, beside the recurrent state."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:  # noqa: B027 - nothing to recall is usual
        """Go on from a `state_dict`."""


class Full(BackPropagation):
    """The gradient of the whole batch, through all of its segments."""

    @classmethod
    def from_settings(cls, settings: FullSettings) -> "Full":
        """The form that a recipe describes."""
        del settings  # it has no fields but its kind
        return cls()

    def gradient(
        self,
        model: SequenceModel,
        batch: Batch,
        state: State | None,
        reduction: Reduction,
        at: TrainingStep,
    ) -> Gradient:
        """See `BackPropagation.gradient`."""
        segments = batch.split(model.core.segment_length)
        return _piecewise(model, batch, segments, len(segments), state, reduction, at)


class Truncated(BackPropagation):
    """The gradient within pieces of a batch; the state goes from piece to piece without one.

    Args:
        segment_length: Steps of one segment.
        segments: Segments of one piece.
    """

    def __init__(self, segment_length: int, segments: int) -> None:
        self.segment_length = segment_length
        self.segments = segments

    @classmethod
    def from_settings(cls, settings: TruncatedSettings) -> "Truncated":
        """The form that a recipe describes."""
        return cls(settings.segment_length, settings.segments)

    def gradient(
        self,
        model: SequenceModel,
        batch: Batch,
        state: State | None,
        reduction: Reduction,
        at: TrainingStep,
    ) -> Gradient:
        """See `BackPropagation.gradient`."""
        segments = batch.split(self.segment_length)
        return _piecewise(model, batch, segments, self.segments, state, reduction, at)


def build_backprop(settings: Component) -> BackPropagation:
    """The form of back-propagation that a recipe describes."""
    form: BackPropagation = import_object(settings.implementation).from_settings(settings)
    return form


@torch.no_grad()
def stream(model: SequenceModel, batch: Batch, state: State | None) -> Iterator[tuple[Batch, Tensor, State]]:
    """Walk a batch segment by segment without gradients, in the memory of one segment.

    Yields:
        Each segment, the core's outputs for it, and the state after it.
    """
    for segment in batch.split(model.core.segment_length):
        outputs, state = model.outputs(segment, state)
        yield segment, outputs, state


def _piecewise(
    model: SequenceModel,
    batch: Batch,
    segments: list[Batch],
    piece_length: int,
    state: State | None,
    reduction: Reduction,
    at: TrainingStep,
) -> Gradient:
    """One backward pass for every `piece_length` segments; all of them together make the batch's loss."""
    weight_sum = float(batch.weight.sum())
    divisor = weight_sum if reduction == "mean" else batch.inputs.shape[0]
    nll_sum = 0.0
    for first in range(0, len(segments), piece_length):
        if first and state is not None:
            state = detach(state)
        piece = batch.weight.new_zeros(())
        for index in range(first, min(first + piece_length, len(segments))):
            seed_dropout(at.seed, at.step, index)
            result: StepResult = model.step(segments[index], state)
            state = result.state
            piece = piece + result.nll_sum + sum(result.auxiliary.values())
            nll_sum += float(result.nll_sum.detach())
        torch.autograd.backward(piece / divisor)
    return Gradient(nll_sum / divisor, nll_sum, weight_sum, detach(state or {}))
