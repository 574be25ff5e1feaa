"""The rotational unit of memory in C++: all steps of a sequence in one call.

`rmem_cli/ops/native/rotation.cpp` computes and differentiates; here is what else torch needs to know of it:
the shapes of its results, and how many operations they take.
"""

from typing import Any, NoReturn

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from rmem_cli.ops.rotation.options import RUMOptions, RUMResult, RUMWeights

# Steps between two copies of a memory, as in the source.
_COPY_STEPS = 256


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
    if keep is not None:
        keep = keep.detach().expand(*x.shape[:2], hidden.shape[-1]).contiguous()
    if active is not None:
        active = active.detach().squeeze(-1).expand(x.shape[:2])
    maps = (*weights.embedding, *weights.target, *(weights.gate or (None, None)))
    operands = (x.contiguous(), hidden.contiguous(), memory, *maps, _norms(weights))
    keeps = torch.is_grad_enabled() and any(each is not None and each.requires_grad for each in operands)
    outputs, last, last_memory, cosines, *_ = torch.ops.rmem.rum(
        *operands, keep, active, options.activation, options.layer_norm, options.eta, options.eps, keeps
    )
    return RUMResult(outputs, last, None if memory is None else last_memory, cosines)


def register() -> None:
    """Tell torch about the loaded operations."""
    torch.library.register_fake("rmem::rum", _forward_shapes)
    torch.library.register_fake("rmem::rum_backward", _backward_shapes)
    torch.library.register_autograd("rmem::rum_backward", _no_second_derivative)
    register_flop_formula(torch.ops.rmem.rum)(_flops)
    register_flop_formula(torch.ops.rmem.rum_backward)(_backward_flops)


def _norms(weights: RUMWeights) -> Tensor | None:
    """Gains and biases of target, candidate and, if there is one, gate: `[norms, 2, hidden]`."""
    if weights.layer_norm is None:
        return None
    present = [each for each in weights.layer_norm if each is not None]
    return torch.stack(present).view(-1, 2, present[0].shape[0])


def _forward_shapes(
    x: Tensor,
    hidden: Tensor,
    memory: Tensor | None,
    embedding: Tensor,
    embedding_bias: Tensor | None,
    target: Tensor,
    target_bias: Tensor | None,
    gate: Tensor | None,
    gate_bias: Tensor | None,
    norms: Tensor | None,
    keep: Tensor | None,
    active: Tensor | None,
    activation: str,
    layer_norm: str,
    eta: float | None,
    eps: float,
    keeps: bool,
) -> tuple[Tensor, ...]:
    (batch, time, _), size = x.shape, hidden.shape[1]
    parts = (time, batch, 2 if gate is None else 3, size)
    as_matrix = memory is not None and 2 * time >= 3 * size
    copies = (time - 1) // _COPY_STEPS if keeps else 0
    shapes: list[tuple[int, ...]] = [
        (batch, time, size),
        (batch, size),
        (0,) if memory is None else (batch, size, size),
        (batch, time),
        parts if keeps else (0,),
        (batch if keeps and memory is not None else 0, time, size),
        (copies, batch, size, size) if as_matrix else (0,),
    ]
    return tuple(x.new_empty(shape) for shape in shapes)


def _flops(
    x: torch.Size,
    hidden: torch.Size,
    memory: torch.Size | None,
    embedding: torch.Size,
    embedding_bias: Any,
    target: torch.Size,
    target_bias: Any,
    gate: torch.Size | None,
    *_: Any,
    **__: Any,
) -> int:
    """Of the products of a sequence, and of its memory."""
    return sum(_products(x, embedding, target, gate)) + _memory_flops(x, memory)


def _backward_flops(
    outputs_grad: Any, hidden_grad: Any, memory_grad: Any, cosines_grad: Any, *operands: Any, **__: Any
) -> int:
    """Each product has two gradients, if both are wanted; a rotation is taken back besides."""
    x, _, memory, embedding, target, gate, *_, want_x, _, _, _ = operands
    of_inputs, of_states = _products(x, embedding, target, gate)
    return (1 + int(want_x)) * of_inputs + 2 * of_states + 3 * _memory_flops(x, memory)


def _products(
    x: torch.Size, embedding: torch.Size, target: torch.Size, gate: torch.Size | None
) -> tuple[int, int]:
    """Of each step and row with the rows of all kernels for the input, and for the state."""
    maps = 1 if gate is None else 2
    of_inputs = embedding[0] * (embedding[1] + maps * target[1])
    of_states = (target[0] - embedding[0]) * maps * target[1]
    return 2 * x[0] * x[1] * of_inputs, 2 * x[0] * x[1] * of_states


def _memory_flops(x: torch.Size, memory: torch.Size | None) -> int:
    """Of a memory as a matrix or, where they are fewer, as all rotations so far."""
    if memory is None:
        return 0
    (batch, time, _), size = x, memory[1]
    return batch * time * min(10 * size * size, 4 * size * time)


def _backward_shapes(
    outputs_grad: Tensor | None,
    hidden_grad: Tensor | None,
    memory_grad: Tensor | None,
    cosines_grad: Tensor | None,
    x: Tensor,
    hidden: Tensor,
    memory: Tensor | None,
    embedding: Tensor,
    target: Tensor,
    gate: Tensor | None,
    norms: Tensor | None,
    keep: Tensor | None,
    active: Tensor | None,
    outputs: Tensor,
    last_memory: Tensor,
    parts: Tensor,
    rotated: Tensor,
    copies: Tensor,
    activation: str,
    layer_norm: str,
    eta: float | None,
    eps: float,
    want_x: bool,
    want_memory: bool,
    want_embedding: bool,
    want_rotation: bool,
) -> tuple[Tensor, ...]:
    nothing: tuple[int, ...] = (0,)
    shapes = [
        tuple(x.shape) if want_x else nothing,
        tuple(hidden.shape),
        tuple(last_memory.shape) if want_memory else nothing,
    ]
    for kernel, wanted in ((embedding, want_embedding), (target, want_rotation), (gate, want_rotation)):
        if wanted and kernel is not None:
            shapes += [tuple(kernel.shape), (kernel.shape[1],)]
        else:
            shapes += [nothing, nothing]
    shapes.append(nothing if norms is None else tuple(norms.shape))
    return tuple(x.new_empty(shape) for shape in shapes)


def _no_second_derivative(ctx: Any, *gradients: Tensor | None) -> NoReturn:
    raise RuntimeError(
        "the native rotational unit of memory has no second derivatives; "
        "RMEM_NATIVE=off chooses the PyTorch form, which has"
    )
