"""Gradients through time: the only place that calls backward."""

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor

from rmem_cli.errors import UsageError
from rmem_cli.models.batch import Batch
from rmem_cli.models.model import Model, StepResult
from rmem_cli.models.state import State, detach, on_device, reset
from rmem_cli.ops import autocast
from rmem_cli.recipe.registry import build
from rmem_cli.recipe.schema import Reduction
from rmem_cli.recipe.settings import Component
from rmem_cli.seeding import seed_dropout
from rmem_cli.training.config import FullSettings, ReplaySettings, SlidingSettings, TruncatedSettings


@dataclass(frozen=True)
class TrainingStep:
    """Which step of which run this is, and in which of its processes: all that dropout depends on."""

    seed: int
    step: int
    rank: int = 0


@dataclass(frozen=True)
class Gradient:
    """What is known once the gradients of a batch are in the parameters.

    Attributes:
        losses: What was differentiated piece by piece, on the model's device, each a number.
        nll_sums: Weighted negative log-likelihood of each segment, in nats, likewise.
        divisor: What the sum of the losses is divided by.
        weight_sum: Sum of the weights.
        state: State after the batch, without its graph.
    """

    losses: list[Tensor]
    nll_sums: list[Tensor]
    divisor: float
    weight_sum: float
    state: State

    @property
    def loss(self) -> float:
        """The number whose gradient was taken; an accelerator is waited for."""
        return _total(self.losses) / self.divisor

    @property
    def nll_sum(self) -> float:
        """Negative log-likelihood of the batch; an accelerator is waited for."""
        return _total(self.nll_sums)


def _total(values: list[Tensor]) -> float:
    total: float = sum(torch.stack(values).tolist(), start=0.0)
    return total


@dataclass(frozen=True)
class _Wanted:
    """What a gradient is asked for; see `BackPropagation.gradient`."""

    model: Model
    batch: Batch
    state: State | None
    reduction: Reduction
    at: TrainingStep
    whole: Batch
    lower: torch.dtype | None

    @cached_property
    def weight_sum(self) -> float:
        return float(self.whole.weight.sum())

    @property
    def divisor(self) -> float:
        """What the sum of all losses is divided by."""
        return self.weight_sum if self.reduction == "mean" else self.whole.inputs.shape[0]

    def seed_dropout(self, index: int) -> None:
        """Before the segment of this number is run."""
        seed_dropout(self.at.seed, self.at.step, index, self.at.rank)

    def step(self, segment: Batch, state: State | None) -> StepResult:
        """That of the model, in the lower precision where one is wanted; states are carried in their own."""
        with self._autocast():
            result = self.model.step(segment, state)
        return replace(result, state=self._carried(result.state))

    def state_after(self, segment: Batch, state: State | None) -> State:
        """What `step` leaves, without a loss."""
        with self._autocast():
            return self._carried(self.model.outputs(segment, state)[1])

    def _autocast(self) -> AbstractContextManager[object]:
        return autocast.lowering(self.lower, self.batch.inputs.device.type)

    def _carried(self, state: State) -> State:
        return {
            name: value.to(self.batch.weight.dtype) if value.dtype == self.lower else value
            for name, value in state.items()
        }

    def gradient(self, losses: list[Tensor], nll_sums: list[Tensor], state: State) -> Gradient:
        """What was found."""
        return Gradient(losses, nll_sums, self.divisor, self.weight_sum, state)


class Effort(NamedTuple):
    """What the gradient of a batch takes.

    Attributes:
        kept: Segments whose activations are held at once.
        passes: How often a segment is gone through, forward and backward.
    """

    kept: int
    passes: float


class BackPropagation(ABC):
    """A way of taking the gradient of a batch, segment by segment."""

    def gradient(
        self,
        model: Model,
        batch: Batch,
        state: State | None,
        reduction: Reduction,
        at: TrainingStep,
        whole: Batch | None = None,
        lower: torch.dtype | None = None,
    ) -> Gradient:
        """Add the gradient of the batch's loss to the parameters.

        Args:
            model: In training mode.
            batch: On the model's device.
            state: State before the batch; None starts afresh.
            reduction: `mean` over all weights, or `sum_over_time` (mean over the rows).
            at: Which step of which run.
            whole: What the batch is some rows of, whose weights and rows the mean is over; on the CPU, no
                accelerator is waited for. None: the batch itself.
            lower: Type to which `torch.autocast` lowers products and attention; None: they stay as they are.
        """
        with model.constant_weights():
            return self._gradient(_Wanted(model, batch, state, reduction, at, whole or batch, lower))

    @abstractmethod
    def _gradient(self, wanted: _Wanted) -> Gradient:
        """`gradient`, of what it is asked for, while the weights stay as they are."""

    def segments(self, model: Model, batch: Batch) -> list[Batch]:
        """The segments that a batch is cut into."""
        return batch.split(model.segment_length)

    @abstractmethod
    def effort(self, segments: int) -> Effort:
        """What a batch of so many segments takes."""

    def state_dict(self) -> dict[str, Any]:
        """What has to be remembered between two batches, beside the recurrent state."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a `state_dict`.

        Raises:
            ValueError: It is not one of this form.
        """
        if state:
            raise ValueError("this back-propagation keeps nothing")

    def kept(self) -> list[tuple[Batch, State | None]]:
        """The segments that it remembers between two batches, each with the state before it."""
        return []


class Full(BackPropagation):
    """The gradient of the whole batch, through all of its segments.

    Args:
        settings: Nothing but the kind.
    """

    def __init__(self, settings: FullSettings) -> None:
        del settings

    def _gradient(self, wanted: _Wanted) -> Gradient:
        segments = self.segments(wanted.model, wanted.batch)
        return _piecewise(wanted, segments, len(segments))

    def effort(self, segments: int) -> Effort:
        """All is held."""
        return Effort(kept=segments, passes=1)


class Truncated(BackPropagation):
    """The gradient within pieces of a batch; the state goes from piece to piece without one.

    Args:
        settings: Length of a segment, and segments of a piece.
    """

    def __init__(self, settings: TruncatedSettings) -> None:
        self.segment_length = settings.segment_length
        self.piece = settings.segments

    def _gradient(self, wanted: _Wanted) -> Gradient:
        return _piecewise(wanted, self.segments(wanted.model, wanted.batch), self.piece)

    def segments(self, model: Model, batch: Batch) -> list[Batch]:
        """Those of its own length."""
        del model
        return batch.split(self.segment_length)

    def effort(self, segments: int) -> Effort:
        """One piece is held."""
        return Effort(kept=min(self.piece, segments), passes=1)


@dataclass(frozen=True)
class _Past:
    """A segment that may be run again, and the state before it."""

    segment: Batch
    state: State | None

    def like(self, weight: Tensor) -> "_Past":
        """The same where a weight of the loss is, and in its type: a checkpoint is loaded on the CPU."""
        state = None if self.state is None else on_device(self.state, weight.device)
        return _Past(self.segment.to(weight.device, weight.dtype), state)


class Sliding(BackPropagation):
    """The gradient of each segment's loss, through the segments before it, which are run again.

    Each of them starts with the weights of now from the state that was before it then. Nothing else is
    trained to be remembered for longer than `depth` segments, whatever the length of a text.

    Args:
        settings: All options. By default, segments are run again as in the paper: one forward pass through
            the last segments with the weights of now, which alone is what evaluation computes.

    Source: Bulatov et al. 2022, section 4, and the published training loop for language models.
    """

    def __init__(self, settings: SlidingSettings) -> None:
        self.depth = settings.depth
        self.all_losses = settings.all_losses
        self.published_restart = settings.published_restart
        self._past: list[_Past] = []

    def _gradient(self, wanted: _Wanted) -> Gradient:
        model, state = wanted.model, wanted.state
        if state is None:
            self._past = []
        nll_sums: list[Tensor] = []
        trained: list[Tensor] = []
        runs = 0
        for segment in self.segments(model, wanted.batch):
            losses = []
            again = [past.like(segment.weight) for past in self._past]
            current = again[0].state if again and not self.published_restart else state
            for past in again:
                wanted.seed_dropout(runs)
                if self.published_restart:
                    past = _with_memory_of(current, past, model)
                    current = past.state
                result = wanted.step(past.segment, current)
                current, runs = result.state, runs + 1
                losses.append(result.loss)
            wanted.seed_dropout(runs)
            result = wanted.step(segment, current)
            runs += 1
            losses.append(result.loss)
            self._past.append(_Past(segment, state))
            nll_sums.append(result.nll_sum.detach())
            loss = torch.stack(losses if self.all_losses else losses[-1:]).sum()
            trained.append(loss.detach())
            torch.autograd.backward(loss / wanted.divisor)
            state = detach(result.state)
            self._past = self._past[-self.depth :] if self.depth else []
        return wanted.gradient(trained, nll_sums, state or {})

    def effort(self, segments: int) -> Effort:
        """Those that are run again and the newest are held, and all of them gone through for each."""
        del segments
        return Effort(kept=self.depth + 1, passes=self.depth + 1)

    def state_dict(self) -> dict[str, Any]:
        """The segments to run again, and the states before them."""
        return {"past": [{"segment": _trained(each.segment), "state": each.state} for each in self._past]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See `BackPropagation.load_state_dict`."""
        if len(state["past"]) > self.depth:
            raise ValueError("this back-propagation keeps fewer segments")
        past = [_Past(Batch(**each["segment"]), each["state"]) for each in state["past"]]
        if past and len(past) < self.depth and past[0].state is not None:
            raise ValueError("segments that come before those kept are missing")
        self._past = past

    def kept(self) -> list[tuple[Batch, State | None]]:
        """See `BackPropagation.kept`."""
        return [(past.segment, past.state) for past in self._past]


class Replay(BackPropagation):
    """The gradient of the whole batch, with the activations of one segment at a time.

    A first pass keeps nothing but the state before each segment. Then each segment is run again with
    gradients, the last one first, and is handed the gradient of the state that it leaves to the next. Dropout
    is seeded anew for each segment, so both passes drop the same units.

    Args:
        settings: All options.

    Source: Wu et al. 2020 (Memformer), algorithm 1. The last segment, which the first pass needs no state
    from, is run once.
    """

    def __init__(self, settings: ReplaySettings) -> None:
        self.segment_length = settings.segment_length
        self.piece = settings.segments
        self.published_caches = settings.published_caches

    def _gradient(self, wanted: _Wanted) -> Gradient:
        model = wanted.model
        segments = self.segments(model, wanted.batch)
        before = self._states_before(wanted, segments)
        final: State = {}
        incoming: State = {}
        losses: list[Tensor] = []
        nll_sums: list[Tensor] = []
        for index in reversed(range(len(segments))):
            given, leaves = before.pop(), State()
            if given is not None and not self._cut_before(index):
                leaves = _leaves(given, _with_graph(final))
            wanted.seed_dropout(index)
            result = wanted.step(segments[index], None if given is None else {**given, **leaves})
            nll_sums.append(result.nll_sum.detach())
            losses.append(result.loss.detach())
            loss = result.loss / wanted.divisor
            handed_on = {name: incoming[name] for name in _with_graph(result.state) if name in incoming}
            outputs = [loss, *(result.state[name] for name in handed_on)]
            torch.autograd.backward(outputs, [torch.ones_like(loss), *handed_on.values()])
            incoming = {name: leaf.grad for name, leaf in leaves.items() if leaf.grad is not None}
            final = final or result.state
        return wanted.gradient(losses, nll_sums, detach(final))

    def _cut_before(self, index: int) -> bool:
        return index % (self.piece or index + 1) == 0

    def segments(self, model: Model, batch: Batch) -> list[Batch]:
        """Those of its own length, or of the model's."""
        return batch.split(self.segment_length or model.segment_length)

    def effort(self, segments: int) -> Effort:
        """One is held; all but the last are run once more forward, a third of forward and backward."""
        return Effort(kept=1, passes=1 + (segments - 1) / (3 * segments))

    @torch.no_grad()
    def _states_before(self, wanted: _Wanted, segments: list[Batch]) -> list[State | None]:
        """The state before each segment."""
        state = wanted.state
        states = [state]
        for index, segment in enumerate(segments[:-1]):
            wanted.seed_dropout(index)
            seen = _without_caches(wanted.model, state) if self.published_caches else state
            state = wanted.state_after(segment, seen)
            states.append(state)
        return states


def build_backprop(settings: Component) -> BackPropagation:
    """The form of back-propagation that a recipe describes."""
    form: BackPropagation = build(settings)
    return form


def _trained(segment: Batch) -> dict[str, Tensor | None]:
    """What a segment is trained by: of which part of the task its rows are changes no gradient."""
    return {name: value for name, value in vars(segment).items() if name != "part"}


def _piecewise(wanted: _Wanted, segments: list[Batch], piece_length: int) -> Gradient:
    """One backward pass for every `piece_length` segments; all of them together make the batch's loss."""
    state = wanted.state
    losses: list[Tensor] = []
    nll_sums: list[Tensor] = []
    for first in range(0, len(segments), piece_length):
        if first and state is not None:
            state = detach(state)
        piece = wanted.batch.weight.new_zeros(())
        for index in range(first, min(first + piece_length, len(segments))):
            wanted.seed_dropout(index)
            result = wanted.step(segments[index], state)
            state = result.state
            piece = piece + result.loss
            nll_sums.append(result.nll_sum.detach())
        losses.append(piece.detach())
        torch.autograd.backward(piece / wanted.divisor)
    return wanted.gradient(losses, nll_sums, detach(state or {}))


def _without_caches(model: Model, state: State | None) -> State | None:
    """A state of which nothing but its memory tokens is left."""
    if state is None:
        return None
    memory = _memory_of(model, state, "published_caches")
    return {**_initial_like(model, memory), **memory}


def _with_memory_of(newer: State | None, past: _Past, model: Model) -> _Past:
    """A segment and the state before it, but with a newer memory, even in rows that start afresh there."""
    memory = _memory_of(model, newer or {}, "published_restart")
    initial = _initial_like(model, memory)
    before = initial if past.state is None else reset(past.state, initial, past.segment.fresh)
    going_on = replace(past.segment, fresh=torch.zeros_like(past.segment.fresh))
    return _Past(going_on, {**before, **memory})


def _memory_of(model: Model, state: State, option: str) -> State:
    memory = {name: value for name, value in state.items() if name in model.memory()}
    if not memory:
        raise UsageError(
            f"train.backprop.{option} is about memory tokens that go from segment to segment, and "
            "the core has none; leave it out, or choose rmt or prenorm_rmt with memory_tokens"
        )
    return memory


def _initial_like(model: Model, memory: State) -> State:
    """The state before the first segment, of as many rows as a memory, in its place and type."""
    some = next(iter(memory.values()))
    return model.initial_state(len(some), device=some.device, dtype=some.dtype)


def _with_graph(state: State) -> list[str]:
    """The entries through which a gradient can go back."""
    return [name for name, value in state.items() if value.requires_grad]


def _leaves(state: State, names: list[str]) -> State:
    """Entries of a state without their graph, to take gradients of; all floating ones if none is named."""
    names = names or [name for name, value in state.items() if value.is_floating_point()]
    return {name: state[name].detach().requires_grad_() for name in names}
