"""What a training step costs, counted on a model without memory for its numbers."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from rmem_cli.models.batch import Batch, SourceBatch
from rmem_cli.models.model import Model
from rmem_cli.models.state import State, detach
from rmem_cli.recipe.kinds import OptimizerSettings
from rmem_cli.recipe.schema import RunSettings
from rmem_cli.runs.meta import KnownShapes
from rmem_cli.tasks.base import Task
from rmem_cli.training.backprop import build_backprop
from rmem_cli.training.optimizers import build_optimizer
from rmem_cli.world import ALONE


def _flops_of_product(added: Any, left: torch.Size, right: torch.Size, *_: Any, **__: Any) -> int:
    del added
    return 2 * prod(left) * right[-1]


# What torch's own counter leaves out.
_IN_PLACE = {torch.ops.aten.addmm_: _flops_of_product, torch.ops.aten.baddbmm_: _flops_of_product}
# Segments after the second cost what the second does.
_WALKED_SEGMENTS = 2
# Of a long segment that a core walks step by step, so many steps and twice as many are counted: each further
# step costs the same.
_COUNTED_STEPS = 16


@dataclass(frozen=True)
class Cost:
    """Of some computation.

    Attributes:
        flops: Floating-point operations.
        calls: Calls of torch's operations.
        bytes: Held at once.
        traffic: Bytes written and read again, which element-wise work is in proportion to.
    """

    flops: float
    calls: float
    bytes: float
    traffic: float

    def towards(self, other: "Cost", times: float) -> "Cost":
        """This cost, and so many times what another one is above it."""
        return Cost(
            self.flops + times * (other.flops - self.flops),
            self.calls + times * (other.calls - self.calls),
            self.bytes + times * (other.bytes - self.bytes),
            self.traffic + times * (other.traffic - self.traffic),
        )


def cost_of_step(walks: "Walks", batch: Batch, task: Task, settings: RunSettings) -> Cost:
    """What a training step on a batch costs; of the weights, only their update."""
    carried = carries(batch, task)
    shares = settings.train.accumulate
    batch = batch.rows(ALONE.as_several(shares)[-1].rows(len(batch.fresh)))  # of all shares, a largest one
    # Where documents begin differs from batch to batch, and costs little.
    dtype = next(walks.model.parameters()).dtype
    batch = replace(batch.to(torch.device("meta"), dtype), reset=None)
    backprop = build_backprop(settings.train.backprop)
    segments = backprop.segments(walks.model, batch)
    first, *later = walks.costs(segments[:_WALKED_SEGMENTS], carried)
    rest = later[0] if later else first
    kept, passes = backprop.effort(len(segments))
    count = len(segments) - 1
    update = update_cost(walks.model, settings.optimizer)
    return Cost(
        flops=shares * passes * (first.flops + count * rest.flops),
        calls=shares * passes * (first.calls + count * rest.calls) + update.calls,
        bytes=first.bytes + (kept - 1) * rest.bytes,
        traffic=shares * passes * (first.traffic + count * rest.traffic) + update.traffic,
    )


@torch.no_grad()
def cost_of_outputs(model: Model, batch: Batch) -> Cost:
    """What it costs to say what comes after each step of a batch that starts afresh, without gradients."""
    batch = batch.to(torch.device("meta"), next(model.parameters()).dtype)
    with (
        KnownShapes(),
        FlopCounterMode(display=False, custom_mapping=_IN_PLACE) as flops,
        _Calls() as calls,
    ):
        outputs, _ = model.outputs(batch, None)
        logits = model.logits(outputs)
    size = logits.numel() * logits.element_size()
    return Cost(float(flops.get_total_flops()), calls.count, size, size)


def carries(batch: Batch, task: Task) -> bool:
    """Whether a batch goes on from the state that an earlier one has left."""
    return task.carries_state and not bool(batch.fresh.all())


def kind(batch: Batch) -> object:
    """Equal for batches that cost the same, whatever the numbers in them; what is not dense is copied."""
    read = batch.inputs, batch.targets, batch.weight, batch.lengths, getattr(batch, "source", None)
    return tuple(None if each is None else (each.shape, each.stride(), each.dtype) for each in read)


class Walks:
    """What segments cost a model, forward and backward."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self._known: dict[object, list[Cost]] = {}

    def costs(self, segments: list[Batch], carried: bool) -> list[Cost]:
        """The cost of each of some segments that follow one another, counted once for all of their sizes.

        Args:
            segments: Of one batch, the first ones.
            carried: Whether earlier batches have left a state.
        """
        about = carried, tuple(map(kind, segments))
        if about not in self._known:
            self._known[about] = self._walk(segments, carried)
        return self._known[about]

    def _walk(self, segments: list[Batch], carried: bool) -> list[Cost]:
        state: State | None = None
        if carried:  # without values, an empty cache is like a full one
            state = detach(self.model.initial_state(len(segments[0].inputs)))
        costs = []
        self.model.op_paths()  # loads native operations, whose products their own functions count
        for segment in segments:
            cost, state = self._segment(segment, state)
            costs.append(cost)
        return costs

    def _segment(self, segment: Batch, state: State | None) -> tuple[Cost, State]:
        """The cost of a segment, and the state after it, or one like it."""
        time = segment.inputs.shape[1]
        # What is said about a source is scored in one piece while it is short, and in several behind that,
        # whose steps cost otherwise.
        if not self.model.stepwise or isinstance(segment, SourceBatch) or time <= 3 * _COUNTED_STEPS:
            return self._count(segment, state)
        some, _ = self._count(segment.beginning(_COUNTED_STEPS), state)
        more, after = self._count(segment.beginning(2 * _COUNTED_STEPS), state)
        if more.calls - some.calls < _COUNTED_STEPS:  # one call reads all steps
            return self._count(segment, state)
        return some.towards(more, (time - _COUNTED_STEPS) / _COUNTED_STEPS), after

    def _count(self, segment: Batch, state: State | None) -> tuple[Cost, State]:
        self.model.zero_grad()
        saved = _SavedBytes(self.model)
        with (
            KnownShapes(),
            FlopCounterMode(display=False, custom_mapping=_IN_PLACE) as flops,
            _Calls() as calls,
        ):
            with torch.autograd.graph.saved_tensors_hooks(saved.keep, saved.give_back):
                result = self.model.step(segment, state)
                loss = result.loss
            torch.autograd.backward(loss)
        cost = Cost(float(flops.get_total_flops()), calls.count, saved.bytes, saved.bytes)
        return cost, detach(result.state)


class _SavedBytes:
    """Counts what automatic differentiation keeps, each storage once; weights are there anyway."""

    def __init__(self, model: Model) -> None:
        self.bytes = 0
        self._storages: list[torch.UntypedStorage] = []
        self._seen = {weight.untyped_storage()._cdata for weight in model.parameters()}

    def keep(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in self._seen:
            self._seen.add(storage._cdata)
            self._storages.append(storage)
            self.bytes += storage.nbytes()
        return tensor

    @staticmethod
    def give_back(tensor: Tensor) -> Tensor:
        return tensor


class _Calls(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts calls of torch's operations."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count = 0

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        del types
        self.count += 1
        return func(*args, **(kwargs or {}))


def weight_bytes(model: Model, optimizer: OptimizerSettings) -> int:
    """Weights, gradients and the optimizer's numbers."""
    per_weight = 1 + _of_one_tensor(optimizer)[0]
    of_all = sum(weight.numel() * weight.element_size() for weight in model.parameters())
    return of_all + per_weight * _trainable_bytes(model)


def update_cost(model: Model, optimizer: OptimizerSettings) -> Cost:
    """What the optimizer does in a step."""
    numbers, calls = _of_one_tensor(optimizer)
    tensors = sum(weight.requires_grad for weight in model.parameters())
    return Cost(0.0, calls * tensors, 0.0, (2 + numbers) * _trainable_bytes(model))


def _trainable_bytes(model: Model) -> int:
    trainable = [weight for weight in model.parameters() if weight.requires_grad]
    return sum(weight.numel() * weight.element_size() for weight in trainable)


@cache
def _of_one_tensor(optimizer: OptimizerSettings) -> tuple[int, int]:
    """How many numbers the optimizer keeps for each weight, and its calls for a tensor: tried on a few."""
    weights = torch.zeros(100, requires_grad=True)
    weights.grad = torch.zeros(100)
    tried = build_optimizer(optimizer, [weights])
    tried.step()
    with _Calls() as calls:
        tried.step()
    numbers = [value for state in tried.state.values() for value in state.values()]
    kept = sum(each.numel() for each in numbers if isinstance(each, Tensor))
    return kept // weights.numel(), calls.count
