"""The rotational unit of memory in C++: all steps of a sequence in one call.

`rmem_cli/ops/native/rotation.cpp` computes; here is what torch needs to know of it: the shapes of its
results, and which of its operations is the gradient of which.
"""

from typing import Any, NoReturn

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from rmem_cli.ops.rotation.options import Affine, RUMOptions, RUMResult, RUMWeights

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
    inputs, size = x.shape[-1], hidden.shape[-1]
    maps = [weights.embedding, weights.target, *([] if weights.gate is None else [weights.gate])]
    input_weight = torch.cat([each.kernel[:inputs] for each in maps], dim=1)
    recurrent_weight = torch.cat([each.kernel[inputs:] for each in maps[1:]], dim=1)
    bias = torch.cat([_bias(each) for each in maps])
    norms = _norms(weights)
    if keep is not None:
        keep = keep.detach().expand(*x.shape[:2], size).contiguous()
    if active is not None:
        active = active.detach().squeeze(-1)
    operands = (x.contiguous(), hidden.contiguous(), memory, input_weight, bias, recurrent_weight, norms)
    keeps = torch.is_grad_enabled() and any(each is not None and each.requires_grad for each in operands)
    outputs, last, last_memory, cosines, *_ = torch.ops.rmem.rum(
        *operands, keep, active, options.activation, options.layer_norm, options.eta, options.eps, keeps
    )
    return RUMResult(outputs, last, None if memory is None else last_memory, cosines)


def register() -> None:
    """Tell torch about the loaded operations."""
    torch.library.register_fake("rmem::rum", _forward_shapes)
    torch.library.register_fake("rmem::rum_backward", _backward_shapes)
    torch.library.register_autograd("rmem::rum", _backward, setup_context=_setup_context)
    torch.library.register_autograd("rmem::rum_backward", _no_second_derivative)
    register_flop_formula(torch.ops.rmem.rum)(_flops)
    register_flop_formula(torch.ops.rmem.rum_backward)(_backward_flops)


def _bias(affine: Affine) -> Tensor:
    return affine.kernel.new_zeros(affine.kernel.shape[1]) if affine.bias is None else affine.bias


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
    input_weight: Tensor,
    bias: Tensor,
    recurrent_weight: Tensor,
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
    parts = (time, batch, input_weight.shape[1] // size, size)
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
    input_weight: torch.Size,
    bias: Any,
    recurrent_weight: torch.Size,
    *_: Any,
    **__: Any,
) -> int:
    """Of the products of a sequence, and of its memory."""
    of_inputs, of_states = _products(x, input_weight), _products(x, recurrent_weight)
    return of_inputs + of_states + _memory_flops(x, memory)


def _backward_flops(
    outputs_grad: Any, hidden_grad: Any, memory_grad: Any, cosines_grad: Any, *operands: Any, **__: Any
) -> int:
    """Each product has two gradients, if both are wanted; a rotation is taken back besides."""
    x, _, memory, input_weight, recurrent_weight, *_, want_x, _, _, _ = operands
    of_inputs, of_states = _products(x, input_weight), _products(x, recurrent_weight)
    return (1 + int(want_x)) * of_inputs + 2 * of_states + 3 * _memory_flops(x, memory)


def _products(x: torch.Size, weight: torch.Size) -> int:
    """Of each step and row with a matrix."""
    return 2 * x[0] * x[1] * weight[0] * weight[1]


def _memory_flops(x: torch.Size, memory: torch.Size | None) -> int:
    """Of a memory as a matrix or, where they are fewer, as all rotations so far."""
    if memory is None:
        return 0
    (batch, time, _), size = x, memory[1]
    return batch * time * min(10 * size * size, 4 * size * time)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    x, hidden, memory, input_weight, _, recurrent_weight, norms, keep, active, *form, _ = inputs
    outputs, _, last_memory, _, *kept = output
    # Zeros in the place of a gradient that nobody gave would be as large as the sequence.
    ctx.set_materialize_grads(False)
    ctx.mark_non_differentiable(*kept, *([] if memory is not None else [last_memory]))
    ctx.save_for_backward(
        *(x, hidden, memory, input_weight, recurrent_weight, norms, keep, active, outputs, last_memory), *kept
    )
    ctx.form = form


def _backward(
    ctx: Any,
    outputs_grad: Tensor | None,
    hidden_grad: Tensor | None,
    memory_grad: Tensor | None,
    cosines_grad: Tensor | None,
    *_: None,
) -> tuple[Tensor | None, ...]:
    wanted = ctx.needs_input_grad[:7]
    if outputs_grad is not None:
        outputs_grad = outputs_grad.contiguous()
    gradients = torch.ops.rmem.rum_backward(
        *(outputs_grad, hidden_grad, memory_grad, cosines_grad),
        *ctx.saved_tensors,
        *ctx.form,
        *(wanted[0], wanted[2], wanted[3] or wanted[4], wanted[5]),
    )
    return (*(each if want else None for each, want in zip(gradients, wanted, strict=True)), *[None] * 7)


def _backward_shapes(
    outputs_grad: Tensor | None,
    hidden_grad: Tensor | None,
    memory_grad: Tensor | None,
    cosines_grad: Tensor | None,
    x: Tensor,
    hidden: Tensor,
    memory: Tensor | None,
    input_weight: Tensor,
    recurrent_weight: Tensor,
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
    want_input_weight: bool,
    want_recurrent_weight: bool,
) -> tuple[Tensor, ...]:
    inputs, rows = input_weight.shape
    nothing: tuple[int, ...] = (0,)
    shapes = [
        tuple(x.shape) if want_x else nothing,
        tuple(hidden.shape),
        tuple(last_memory.shape) if want_memory else nothing,
        (inputs, rows) if want_input_weight else nothing,
        (rows,) if want_input_weight else nothing,
        tuple(recurrent_weight.shape) if want_recurrent_weight else nothing,
        nothing if norms is None else tuple(norms.shape),
    ]
    return tuple(x.new_empty(shape) for shape in shapes)


def _no_second_derivative(ctx: Any, *gradients: Tensor | None) -> NoReturn:
    raise RuntimeError(
        "the native rotational unit of memory has no second derivatives; RMEM_NATIVE=off chooses PyTorch's"
    )
