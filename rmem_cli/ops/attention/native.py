"""Relative attention in C++: all heads of all examples in one call, each in the cache of a core.

`rmem_cli/ops/native/attention.cpp` computes and differentiates; here is what else torch needs to know of it:
the shapes of its results, and how many operations they take.
"""

from typing import Any, NoReturn

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula


def relative_attention(
    projected: Tensor,
    cached: Tensor | None,
    distances: Tensor,
    content_bias: Tensor,
    distance_bias: Tensor,
    blocked: Tensor | None,
) -> Tensor:
    """Attention by content and distance; arguments and result are those of `dispatch.relative_attention`."""
    operands = [projected, cached, distances, content_bias, distance_bias, blocked]
    keep = torch.is_grad_enabled() and any(each is not None and each.requires_grad for each in operands)
    attended: Tensor
    attended, _ = torch.ops.rmem.relative_attention(
        *(None if each is None else each.contiguous() for each in operands), keep
    )
    return attended


def register() -> None:
    """Tell torch about the loaded operations."""
    torch.library.register_fake("rmem::relative_attention", _forward_shapes)
    torch.library.register_fake("rmem::relative_attention_backward", _backward_shapes)
    torch.library.register_autograd("rmem::relative_attention_backward", _no_second_derivative)
    register_flop_formula(torch.ops.rmem.relative_attention)(_flops)
    register_flop_formula(torch.ops.rmem.relative_attention_backward)(_backward_flops)


def _forward_shapes(
    projected: Tensor,
    cached: Tensor | None,
    distances: Tensor,
    content_bias: Tensor,
    distance_bias: Tensor,
    blocked: Tensor | None,
    keep: bool,
) -> tuple[Tensor, Tensor]:
    batch, queries, _ = projected.shape
    heads, _, size = distances.shape
    keys = queries + (0 if cached is None else cached.shape[1])
    attended = projected.new_empty(batch, queries, heads * size)
    return attended, projected.new_empty((heads, batch, queries, keys) if keep else (0,))


def _flops(
    projected: torch.Size, cached: torch.Size | None, distances: torch.Size, *_: Any, **__: Any
) -> int:
    """Of the products with keys, distances and values, as if every query saw every key."""
    batch, queries = projected[:2]
    heads, width, size = distances
    keys = queries + (0 if cached is None else cached[1])
    return int(2 * heads * batch * queries * size * (2 * keys + width))


def _backward_flops(gradient: Any, *operands: Any, **_: Any) -> int:
    """Each product of the forward pass has two gradients."""
    return 2 * _flops(*operands)


def _backward_shapes(
    gradient: Tensor,
    projected: Tensor,
    cached: Tensor | None,
    distances: Tensor,
    content_bias: Tensor,
    distance_bias: Tensor,
    blocked: Tensor | None,
    kept: Tensor,
) -> tuple[Tensor, ...]:
    heads, width, size = distances.shape
    places = 0 if cached is None else cached.shape[1]
    return (
        torch.empty_like(projected),
        projected.new_empty(projected.shape[0], places, 2 * heads * size),
        torch.empty_like(distances),
        torch.empty_like(content_bias),
        projected.new_empty(heads, width),
    )


def _no_second_derivative(ctx: Any, *gradients: Tensor | None) -> NoReturn:
    raise RuntimeError(
        "the native relative attention has no second derivatives; "
        "RMEM_NATIVE=off chooses the PyTorch form, which has"
    )
