"""The rotational unit of memory in C++: all steps of a sequence in one call.

`rmem_cli/ops/native/rotation/rotation.cpp` computes and differentiates; here is what else torch needs to
know of it: the shapes of its results, and how many operations they take.
"""

from functools import cache

import torch
from torch import Tensor

from rmem_cli.ops.forms import note
from rmem_cli.ops.native.registration import (
    Arguments,
    is_differentiated,
    refuse_second_derivative,
    register_operation,
)
from rmem_cli.ops.rotation.options import RUMOptions, RUMResult, RUMWeights


def rum(
    x: Tensor,
    hidden: Tensor,
    memory: Tensor | None,
    weights: RUMWeights,
    options: RUMOptions,
    keep: Tensor | None = None,
    active: Tensor | None = None,
) -> RUMResult:
    """One layer over a sequence; arguments and result are those of `reference.rum`.

    No gradient reaches `keep` and `active`.
    """
    note("rotation", "native")
    if keep is not None:
        keep = keep.detach().expand(*x.shape[:2], hidden.shape[-1]).contiguous()
    if active is not None:
        active = active.detach().squeeze(-1).expand(x.shape[:2])
    gate, gate_bias = weights.gate or (None, None)
    kernels = (weights.embedding.kernel, weights.target.kernel, gate)
    biases = (weights.embedding.bias, weights.target.bias, gate_bias)
    operands = (x.contiguous(), hidden.contiguous(), memory, *kernels, _norms(weights))
    keeps = is_differentiated(*operands, *biases)
    # In the order of the source: by their names, torch takes ten microseconds longer to read them.
    choices = (options.activation, options.layer_norm, options.eta, options.eps)
    outputs, last, last_memory, cosines, *_ = torch.ops.rmem.rum(
        *operands, keep, active, *biases, *choices, keeps
    )
    return RUMResult(outputs, last, None if memory is None else last_memory, cosines)


def register() -> None:
    """Tell torch about the loaded operations."""
    _thresholds()
    register_operation("rum", _shapes, _flops)
    register_operation("rum_backward", _gradient_shapes, _gradient_flops)
    refuse_second_derivative("rum_backward", "the native rotational unit of memory")


@cache
def _thresholds() -> tuple[int, int, int]:
    """Steps between two copies of a memory; and how many steps, for how many units, make it a matrix."""
    copy_steps, steps, units = torch.ops.rmem.rum_thresholds()
    return copy_steps, steps, units


def _norms(weights: RUMWeights) -> Tensor | None:
    """Gains and biases of target, candidate and, if there is one, gate: `[norms, 2, hidden]`."""
    if weights.layer_norm is None:
        return None
    present = [each for each in weights.layer_norm if each is not None]
    return torch.stack(present).view(-1, 2, present[0].shape[0])  # [norms, 2, hidden]


def _shapes(given: Arguments) -> tuple[Tensor, ...]:
    (batch, time, _), size = given.x.shape, given.hidden.shape[1]
    copy_steps, steps, units = _thresholds()
    parts = (time, batch, 2 if given.gate is None else 3, size)
    as_matrix = given.memory is not None and units * time >= steps * size
    copies = (time - 1) // copy_steps if given.keeps else 0
    shapes: list[tuple[int, ...]] = [
        (batch, time, size),
        (batch, size),
        (0,) if given.memory is None else (batch, size, size),
        (batch, time),
        parts if given.keeps else (0,),
        (batch if given.keeps and given.memory is not None else 0, time, size),
        (copies, batch, size, size) if as_matrix else (0,),
    ]
    return tuple(given.x.new_empty(shape) for shape in shapes)


def _gradient_shapes(given: Arguments) -> tuple[Tensor, ...]:
    nothing: tuple[int, ...] = (0,)
    shapes = [
        tuple(given.x.shape) if given.want_x else nothing,
        tuple(given.hidden.shape),
        tuple(given.last_memory.shape) if given.want_memory else nothing,
    ]
    maps = (
        (given.embedding, given.want_embedding),
        (given.target, given.want_rotation),
        (given.gate, given.want_rotation),
    )
    for kernel, wanted in maps:
        if wanted and kernel is not None:
            shapes += [tuple(kernel.shape), (kernel.shape[1],)]
        else:
            shapes += [nothing, nothing]
    shapes.append(nothing if given.norms is None else tuple(given.norms.shape))
    return tuple(given.x.new_empty(shape) for shape in shapes)


def _flops(given: Arguments) -> int:
    """Of the products of a sequence, and of its memory."""
    return sum(_products(given)) + _memory_flops(given)


def _gradient_flops(given: Arguments) -> int:
    """Each product has two gradients, if both are wanted; a rotation is taken back besides."""
    of_inputs, of_states = _products(given)
    return (1 + int(given.want_x)) * of_inputs + 2 * of_states + 3 * _memory_flops(given)


def _products(given: Arguments) -> tuple[int, int]:
    """Of each step and row with the rows of all kernels for the input, and for the state."""
    (batch, time, _), embedding, target = given.x, given.embedding, given.target
    maps = 1 if given.gate is None else 2
    of_inputs = embedding[0] * (embedding[1] + maps * target[1])
    of_states = (target[0] - embedding[0]) * maps * target[1]
    return 2 * batch * time * of_inputs, 2 * batch * time * of_states


def _memory_flops(given: Arguments) -> int:
    """Of a memory as a matrix or, where they are fewer, as all rotations so far."""
    if given.memory is None:
        return 0
    (batch, time, _), size = given.x, given.memory[1]
    count: int = batch * time * min(10 * size * size, 4 * size * time)
    return count
