"""The recurrence of the rotational unit of memory as it runs.

The README beside this file derives the formulas; `reference.py` holds the equations that they equal.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from rmem_cli.ops.forms import note
from rmem_cli.ops.rotation.memory import RotationMemory
from rmem_cli.ops.rotation.options import ACTIVATIONS, RUMOptions, RUMResult, RUMWeights, layer_norm
from rmem_cli.ops.rotation.rotate import (
    Direction,
    Rotate,
    direction_of,
    normalized,
    rotate,
    rotation_components,
    rotation_of,
    rotation_operator,
)

__all__ = ["rotate", "rotation_components", "rotation_operator", "rum"]


def rum(
    x: Tensor,
    hidden: Tensor,
    memory: Tensor | None,
    weights: RUMWeights,
    options: RUMOptions,
    keep: Tensor | None = None,
    active: Tensor | None = None,
) -> RUMResult:
    """One layer over a sequence; arguments and result are those of `reference.rum`."""
    note("rotation", "fast")
    inputs = _project(x, weights)
    if active is not None:
        # The rotation from a zero vector is the identity.
        # active as [time, batch, 1]
        inputs = inputs._replace(embedded=active.transpose(0, 1) * inputs.embedded)
        keep = active if keep is None else active * keep
    if keep is not None:
        inputs = inputs._replace(keep=keep.transpose(0, 1).contiguous())  # [time, batch, hidden]
    step = _Step(weights, options)
    if memory is None:
        outputs, hidden, cosines = _without_memory(step, inputs, hidden)
    else:
        outputs, hidden, memory, cosines = _with_memory(step, inputs, hidden, memory)
    return RUMResult(torch.stack(outputs, dim=1), hidden, memory, torch.cat(cosines, dim=1))


class _Inputs(NamedTuple):
    """What the steps read, time first so that each step's part is contiguous: `[time, batch, hidden]`.

    Attributes:
        target: The inputs' share of the targets, with the bias.
        embedded: The embedded inputs.
        gate: The inputs' share of the gates, with the bias; None without the update gate.
        keep: What zoneout lets through; None for everything.
    """

    target: Tensor
    embedded: Tensor
    gate: Tensor | None = None
    keep: Tensor | None = None

    def steps(self) -> Iterator["_Inputs"]:
        """Those of each step."""
        # Taken apart at once: cutting each step from the whole would cost it a gradient of the whole.
        fields = [None if each is None else each.unbind() for each in self]
        for index in range(self.target.shape[0]):
            yield _Inputs(*(None if field is None else field[index] for field in fields))  # type: ignore[arg-type]


def _project(x: Tensor, weights: RUMWeights) -> _Inputs:
    """What the inputs contribute to targets, gates and rotations: one product for all steps."""
    maps = [weights.target, weights.embedding, *([] if weights.gate is None else [weights.gate])]
    width, size = weights.embedding.kernel.shape
    kernels = torch.stack([each.kernel[:width] for each in maps])
    joined = x.transpose(0, 1).flatten(0, 1).unsqueeze(0) @ kernels  # [maps, time * batch, hidden]
    parts = joined.view(len(maps), x.shape[1], x.shape[0], size).unbind(0)  # maps of [time, batch, hidden]
    return _Inputs(
        *(part if each.bias is None else part + each.bias for part, each in zip(parts, maps, strict=True))
    )


class _Step:
    """What every step of one sequence does around the rotation."""

    def __init__(self, weights: RUMWeights, options: RUMOptions) -> None:
        self.options = options
        self.layer_norm = weights.layer_norm
        self.activation = ACTIVATIONS[options.activation]
        size = weights.target.kernel.shape[1]
        self.target_kernel = weights.target.kernel[-size:]
        self.gate_kernel = None if weights.gate is None else weights.gate.kernel[-size:]

    def target(self, inputs: _Inputs, hidden: Tensor) -> Tensor:
        target = torch.addmm(inputs.target, hidden, self.target_kernel)
        if self.layer_norm is None:
            return target
        return layer_norm(target, self.layer_norm.target_gain, self.layer_norm.target_bias)

    def new_hidden(self, inputs: _Inputs, hidden: Tensor, rotated: Tensor) -> Tensor:
        candidate = inputs.embedded + rotated
        if self.layer_norm is not None:
            candidate = layer_norm(candidate, self.layer_norm.candidate_gain, self.layer_norm.candidate_bias)
        new = self.activation(candidate)
        if inputs.gate is not None and self.gate_kernel is not None:
            gate = self._gate(torch.addmm(inputs.gate, hidden, self.gate_kernel))
            new = torch.lerp(new, hidden, gate)
        if self.options.eta is not None:
            new = self.options.eta * normalized(new, self.options.eps)
        return new if inputs.keep is None else torch.lerp(hidden, new, inputs.keep)

    def _gate(self, gate: Tensor) -> Tensor:
        if self.layer_norm is None:
            return torch.sigmoid(gate)
        gain, bias = self.layer_norm.gate_gain, self.layer_norm.gate_bias
        if self.options.layer_norm == "after_gate":
            return layer_norm(torch.sigmoid(gate), gain, bias)
        return torch.sigmoid(layer_norm(gate, gain, bias))


def _without_memory(
    step: _Step, inputs: _Inputs, hidden: Tensor
) -> tuple[list[Tensor], Tensor, list[Tensor]]:
    outputs, cosines = [], []
    eps = step.options.eps
    for now, direction in zip(inputs.steps(), _directions(inputs, eps), strict=True):
        target = step.target(now, hidden)
        rotated, versine = Rotate.apply(*direction, target, hidden, eps)  # type: ignore[no-untyped-call]
        hidden = step.new_hidden(now, hidden, rotated)
        outputs.append(hidden)
        cosines.append(versine + 1)
    return outputs, hidden, cosines


def _with_memory(
    step: _Step, inputs: _Inputs, hidden: Tensor, initial: Tensor
) -> tuple[list[Tensor], Tensor, Tensor, list[Tensor]]:
    outputs, cosines = [], []
    eps = step.options.eps
    memory = RotationMemory(initial)
    for now, direction in zip(inputs.steps(), _directions(inputs, eps), strict=True):
        rotation = rotation_of(direction, step.target(now, hidden), eps)
        rotated = memory.turn(*rotation.factors(), hidden)
        hidden = step.new_hidden(now, hidden, rotated)
        outputs.append(hidden)
        cosines.append(rotation.versine + 1)
    return outputs, hidden, memory.value(), cosines


def _directions(inputs: _Inputs, eps: float) -> Iterator[Direction]:
    """The direction of the embedded input of each step."""
    return map(Direction, *(each.unbind() for each in direction_of(inputs.embedded, eps)))
