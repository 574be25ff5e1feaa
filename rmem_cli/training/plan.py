"""What a run would cost, before it is done: counted on a model without memory for its numbers."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.fx.experimental import _config as meta_config
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from rmem_cli.models.batch import Batch
from rmem_cli.models.sequence import SequenceModel
from rmem_cli.models.state import State, detach
from rmem_cli.ops.product.dispatch import product
from rmem_cli.recipe.resolve import RunSpec
from rmem_cli.recipe.schema import RunSettings
from rmem_cli.tasks.base import Task
from rmem_cli.training.loop import DTYPES, build_task, build_task_model, total_steps
from rmem_cli.training.optimizers import build_optimizer
from rmem_cli.training.stages import build_stages

# Of the rate of large products, what training reaches where products are most of it.
_SHARE_OF_PRODUCT_RATE = 0.5
_PRODUCT_SIZE = 1024


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
class Plan:
    """The size of a run.

    Attributes:
        parameters: Weights of the model.
        steps: Optimizer steps.
        batch_size: Examples (or text columns) of each.
        memory_mb: Weights, gradients, the optimizer's numbers and what back-propagation keeps, in megabytes.
        seconds: Time of all steps on a device, estimated from its operations.
    """

    parameters: int
    steps: int
    batch_size: int
    memory_mb: float
    seconds: float


def plan_of(spec: RunSpec, device: torch.device) -> Plan:
    """The size of a run, and an estimate of its time on a device.

    Raises:
        DataError: Its data, which the vocabulary comes from, or its pretrained model is missing.
    """
    settings = spec.settings
    task = build_task(settings)
    train = settings.train
    model = _without_memory(settings, task)
    steps = total_steps(train, task)
    stages = [stage for stage in build_stages(settings, task, steps) if stage.steps > 0]
    walks = _Walks(model)
    # Which classes an adaptive softmax gathers depends on the data: counted as if it were all of them.
    with meta_config.patch(  # type: ignore[attr-defined]
        meta_nonzero_assume_all_nonzero=True
    ):
        costs = [_cost_of_step(walks, stage.task, settings) for stage in stages]
    rate, call = _product_rate(device), _call_seconds(device)
    seconds = [cost.flops / (_SHARE_OF_PRODUCT_RATE * rate) + cost.calls * call for cost in costs]
    return Plan(
        parameters=model.parameter_count(),
        steps=steps,
        batch_size=train.batch_size,
        memory_mb=(max(cost.bytes for cost in costs) + _weight_bytes(model, settings)) / 1e6,
        seconds=sum(stage.steps * each for stage, each in zip(stages, seconds, strict=True)),
    )


def _without_memory(settings: RunSettings, task: Task) -> SequenceModel:
    """The model, its numbers without memory; a pretrained one is read from its files before."""
    pretrained = getattr(settings.model.core, "backbone", None) is not None
    with torch.device("cpu" if pretrained else "meta"):
        model = build_task_model(settings, task)
    return model.to("meta", DTYPES[settings.train.dtype])


@dataclass(frozen=True)
class _Cost:
    """Of some computation: floating-point operations, calls of torch's operations, bytes held at once."""

    flops: float
    calls: float
    bytes: float

    def towards(self, other: "_Cost", times: float) -> "_Cost":
        """This cost, and so many times what another one is above it."""
        return _Cost(
            self.flops + times * (other.flops - self.flops),
            self.calls + times * (other.calls - self.calls),
            self.bytes + times * (other.bytes - self.bytes),
        )


def _cost_of_step(walks: "_Walks", task: Task, settings: RunSettings) -> _Cost:
    """What a training step on a task costs, the weights and what belongs to them aside."""
    train = settings.train
    batch = task.training_batch(1, train.batch_size, seed=0)  # the first of a text starts afresh
    carried = task.carries_state and not bool(batch.fresh.all())
    # Where documents begin differs from batch to batch, and costs little.
    batch = replace(batch.to(torch.device("meta"), DTYPES[train.dtype]), reset=None)
    backprop: Any = train.backprop
    length = getattr(backprop, "segment_length", None) or walks.model.core.segment_length
    segments = batch.split(length)
    first, *later = walks.costs(segments[:_WALKED_SEGMENTS], carried)
    rest = later[0] if later else first
    kept, passes = _kept_segments(backprop, len(segments))
    count = len(segments) - 1
    return _Cost(
        flops=passes * (first.flops + count * rest.flops),
        calls=passes * (first.calls + count * rest.calls),
        bytes=first.bytes + (kept - 1) * rest.bytes,
    )


def _kept_segments(backprop: Any, segments: int) -> tuple[int, float]:
    """How many segments' activations are held at once, and how often a segment is gone through."""
    if backprop.kind == "truncated":
        return min(backprop.segments, segments), 1
    if backprop.kind == "sliding":
        depth = backprop.depth + 1
        return depth, depth
    if backprop.kind == "replay":
        # Once more forward, a third of forward and backward, for all segments but the last.
        return 1, 1 + (segments - 1) / (3 * segments)
    return segments, 1


class _Walks:
    """What segments cost a model, forward and backward."""

    def __init__(self, model: SequenceModel) -> None:
        self.model = model
        self._known: dict[tuple[bool, tuple[torch.Size, ...]], list[_Cost]] = {}

    def costs(self, segments: list[Batch], carried: bool) -> list[_Cost]:
        """The cost of each of some segments that follow one another, counted once for all of their sizes.

        Args:
            segments: Of one batch, the first ones.
            carried: Whether earlier batches have left a state.
        """
        kind = carried, tuple(segment.inputs.shape for segment in segments)
        if kind not in self._known:
            self._known[kind] = self._walk(segments, carried)
        return self._known[kind]

    def _walk(self, segments: list[Batch], carried: bool) -> list[_Cost]:
        state: State | None = None
        if carried:  # without values, an empty cache is like a full one
            state = detach(self.model.core.initial_state(len(segments[0].inputs)))
        costs = []
        self.model.core.op_paths()  # loads native operations, whose products their own functions count
        for segment in segments:
            cost, state = self._segment(segment, state)
            costs.append(cost)
        return costs

    def _segment(self, segment: Batch, state: State | None) -> tuple[_Cost, State]:
        """The cost of a segment, and the state after it, or one like it."""
        time = segment.inputs.shape[1]
        if not self.model.core.stepwise or time <= 3 * _COUNTED_STEPS:
            return self._count(segment, state)
        some, _ = self._count(segment.split(_COUNTED_STEPS)[0], state)
        more, after = self._count(segment.split(2 * _COUNTED_STEPS)[0], state)
        if more.calls - some.calls < _COUNTED_STEPS:  # one call reads all steps
            return self._count(segment, state)
        return some.towards(more, (time - _COUNTED_STEPS) / _COUNTED_STEPS), after

    def _count(self, segment: Batch, state: State | None) -> tuple[_Cost, State]:
        self.model.zero_grad()
        saved = _SavedBytes(self.model)
        with FlopCounterMode(display=False, custom_mapping=_IN_PLACE) as flops, _Calls() as calls:
            with torch.autograd.graph.saved_tensors_hooks(saved.keep, saved.give_back):
                result = self.model.step(segment, state)
                loss = result.nll_sum + sum(result.auxiliary.values())
            torch.autograd.backward(loss)
        return _Cost(float(flops.get_total_flops()), calls.count, saved.bytes), detach(result.state)


class _SavedBytes:
    """Counts what automatic differentiation keeps, each storage once; weights are there anyway."""

    def __init__(self, model: SequenceModel) -> None:
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


def _weight_bytes(model: SequenceModel, settings: RunSettings) -> int:
    """Weights, gradients and the optimizer's numbers."""
    trainable = [weight for weight in model.parameters() if weight.requires_grad]
    per_weight = 1 + _numbers_per_weight(settings)
    of_all = sum(weight.numel() * weight.element_size() for weight in model.parameters())
    return of_all + per_weight * sum(weight.numel() * weight.element_size() for weight in trainable)


def _numbers_per_weight(settings: RunSettings) -> int:
    """How many numbers the optimizer keeps for each weight: tried on a few."""
    weights = torch.zeros(100, requires_grad=True)
    weights.grad = torch.zeros(100)
    optimizer = build_optimizer(settings.optimizer, [weights])
    optimizer.step()
    numbers = [value for state in optimizer.state.values() for value in state.values()]
    return sum(each.numel() for each in numbers if isinstance(each, Tensor)) // weights.numel()


@cache
def _product_rate(device: torch.device) -> float:
    """Floating-point operations a second of a large product."""
    matrix = torch.ones(_PRODUCT_SIZE, _PRODUCT_SIZE, device=device)
    # The best of several: what else the machine does at this moment should not count.
    return 2 * _PRODUCT_SIZE**3 / min(_seconds(lambda: product(matrix, matrix), repeats=2) for _ in range(5))


@cache
def _call_seconds(device: torch.device) -> float:
    """Time of one call of an operation, its arithmetic aside."""
    number = torch.ones(1, device=device)
    return min(_seconds(lambda: number + number, repeats=1000) for _ in range(5))


def _seconds(operation: Callable[[], Tensor], repeats: int) -> float:
    """Of one call, once everything is warm."""
    operation().sum().item()
    started = time.perf_counter()
    for _ in range(repeats):
        result = operation()
    result.sum().item()
    return (time.perf_counter() - started) / repeats
