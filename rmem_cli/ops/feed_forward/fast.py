"""The feed-forward parts as they run: fewer passes over the inner units, and fewer of them kept.

The inner units are the largest tensors of a transformer's step. Here what is known of them is kept once, and
their gradient is made in place. `reference.py` holds the equations that they equal.
"""

from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.compiler import is_compiling
from torch.nn import functional

from rmem_cli.ops import autocast
from rmem_cli.ops.differentiation import recorded_gradients
from rmem_cli.ops.feed_forward import reference
from rmem_cli.ops.product.dispatch import linear, product
from rmem_cli.ops.root_mean_square_norm import fast as root_mean_square_norm


@autocast.in_lower_precision
def relu(
    x: Tensor,
    inner_weight: Tensor,
    inner_bias: Tensor,
    outer_weight: Tensor,
    outer_bias: Tensor,
    dropout: float = 0.0,
) -> Tensor:
    """The part of Vaswani et al.; arguments as in `reference.relu`."""
    flat = x.flatten(0, -2)  # [n, size]
    y: Tensor = _Relu.apply(flat, inner_weight, inner_bias, outer_weight, outer_bias, dropout)  # type: ignore[no-untyped-call]
    return y.view(*x.shape[:-1], y.shape[-1])  # [..., size]


def gated_gelu(
    x: Tensor, gain: Tensor, inner_weight: Tensor, outer_weight: Tensor, dropout: float = 0.0
) -> Tensor:
    """The gated part; arguments as in `reference.gated_gelu`."""
    if autocast.enabled(x.device.type):
        # The norm is taken before its result goes down, and so not in one operation with the products.
        return reference.gated_gelu(autocast.single_precision(x), gain, inner_weight, outer_weight, dropout)
    if is_compiling():  # which joins operations itself, and captures none into a part of a tensor
        return reference.gated_gelu(x, gain, inner_weight, outer_weight, dropout)
    flat = x.flatten(0, -2)  # [n, size]
    y: Tensor = _GatedGelu.apply(flat, gain, inner_weight, outer_weight, dropout)  # type: ignore[no-untyped-call]
    return y.view(*x.shape[:-1], y.shape[-1])  # [..., size]


class _Relu(torch.autograd.Function):
    """A unit above zero behind the dropout was kept and was above zero before it: no mask is needed."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        inner_weight: Tensor,
        inner_bias: Tensor,
        outer_weight: Tensor,
        outer_bias: Tensor,
        dropout: float,
    ) -> Tensor:
        inner = linear(x, inner_weight, inner_bias).relu_()
        if dropout:
            inner = functional.dropout(inner, dropout)
        ctx.dropout = dropout
        ctx.save_for_backward(x, inner_weight, inner_bias, outer_weight, outer_bias, inner)
        return linear(inner, outer_weight, outer_bias)

    @staticmethod
    @autocast.as_it_is
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        *inputs, inner = ctx.saved_tensors
        if torch.is_grad_enabled():
            form = partial(_relu_recorded, open_units=inner > 0, dropout=ctx.dropout)
            return *recorded_gradients(form, inputs, (gradient,)), None
        x, inner_weight, _, outer_weight, _ = inputs
        of_inner = product(gradient, outer_weight)
        torch.ops.aten.threshold_backward.grad_input(of_inner, inner, 0, grad_input=of_inner)
        if ctx.dropout:
            of_inner.mul_(1 / (1 - ctx.dropout))
        return (
            product(of_inner, inner_weight),
            product(of_inner.mT, x),
            of_inner.sum(0),
            product(gradient.mT, inner),
            gradient.sum(0),
            None,
        )


def _relu_recorded(
    x: Tensor,
    inner_weight: Tensor,
    inner_bias: Tensor,
    outer_weight: Tensor,
    outer_bias: Tensor,
    open_units: Tensor,
    dropout: float,
) -> tuple[Tensor]:
    """What `_Relu` gives, as torch can differentiate it; `open_units` are above zero and were not dropped."""
    inner = linear(x, inner_weight, inner_bias) * open_units / (1 - dropout)
    return (linear(inner, outer_weight, outer_bias),)


class _GatedGelu(torch.autograd.Function):
    """Values and gates are kept, neither the norm nor the product; their gradients lie side by side."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, gain: Tensor, inner_weight: Tensor, outer_weight: Tensor, dropout: float
    ) -> Tensor:
        inverse = root_mean_square_norm.inverse_of(x)
        inner = linear((x * inverse).mul_(gain), inner_weight)
        gated = _gated(inner)
        dropout_mask = functional.dropout(torch.ones_like(gated), dropout) if dropout else None
        ctx.save_for_backward(x, gain, inner_weight, outer_weight, inverse, inner, dropout_mask)
        return linear(gated if dropout_mask is None else gated.mul_(dropout_mask), outer_weight)

    @staticmethod
    @autocast.as_it_is
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        *inputs, inverse, inner, dropout_mask = ctx.saved_tensors
        if torch.is_grad_enabled():
            return *recorded_gradients(
                partial(_gated_gelu_recorded, dropout_mask=dropout_mask), inputs, (gradient,)
            ), None
        x, gain, inner_weight, outer_weight = inputs
        values, gates = inner.chunk(2, dim=-1)
        of_inner = torch.empty_like(inner)
        of_values, of_gates = of_inner.chunk(2, dim=-1)
        activated = torch.ops.aten.gelu.out(gates, out=of_values)
        gated = activated * values
        of_outer_weight = product(gradient.mT, gated if dropout_mask is None else gated.mul_(dropout_mask))
        del gated
        of_gated = product(gradient, outer_weight)
        if dropout_mask is not None:
            of_gated.mul_(dropout_mask)
        of_values.mul_(of_gated)
        torch.ops.aten.gelu_backward.grad_input(of_gated.mul_(values), gates, grad_input=of_gates)
        del of_gated
        of_inner_weight = product(of_inner.mT, (x * inverse).mul_(gain))
        of_x, of_gain = root_mean_square_norm.gradients(product(of_inner, inner_weight), x, inverse, gain)
        return of_x, of_gain, of_inner_weight, of_outer_weight, None


def _gated_gelu_recorded(
    x: Tensor, gain: Tensor, inner_weight: Tensor, outer_weight: Tensor, dropout_mask: Tensor | None
) -> tuple[Tensor]:
    """What `_GatedGelu` gives, as torch can differentiate it, after dropout."""
    values, gates = linear(root_mean_square_norm.normalize(x, gain), inner_weight).chunk(2, dim=-1)
    gated = functional.gelu(gates) * values
    return (linear(gated if dropout_mask is None else gated * dropout_mask, outer_weight),)


def _gated(inner: Tensor) -> Tensor:
    """`[n, 2 * inner]` values and gates to `[n, inner]`."""
    values, gates = inner.chunk(2, dim=-1)
    return functional.gelu(gates).mul_(values)
