"""Relative attention in C++: all heads of all examples in one call, each in the cache of a core.

`rmem_cli/ops/native/attention/attention.cpp` computes and differentiates; here is what else torch needs to
know of it: the shapes of its results, and how many operations they take.
"""

import torch
from torch import Tensor

from rmem_cli.ops.forms import note
from rmem_cli.ops.native.registration import (
    Arguments,
    is_differentiated,
    refuse_second_derivative,
    register_operation,
)


def relative_attention(
    projected: Tensor,
    cached: Tensor | None,
    distances: Tensor,
    content_bias: Tensor,
    distance_bias: Tensor,
    mask: Tensor | None,
) -> Tensor:
    """Attention by content and distance; arguments and result are those of `dispatch.relative_attention`."""
    note("attention", "native")
    operands = [projected, cached, distances, content_bias, distance_bias, mask]
    keep = is_differentiated(*operands)
    attended: Tensor
    attended, _ = torch.ops.rmem.relative_attention(
        *(None if each is None else each.contiguous() for each in operands), keep
    )
    return attended


def register() -> None:
    """Tell torch about the loaded operations."""
    register_operation("relative_attention", _shapes, _flops)
    register_operation("relative_attention_backward", _gradient_shapes, _gradient_flops)
    refuse_second_derivative("relative_attention_backward", "the native relative attention")


def _shapes(given: Arguments) -> tuple[Tensor, Tensor]:
    batch, queries, _ = given.projected.shape
    heads, _, size = given.distances.shape
    keys = queries + (0 if given.cached is None else given.cached.shape[1])
    attended = given.projected.new_empty(batch, queries, heads * size)
    return attended, attended.new_empty((heads, batch, queries, keys) if given.keep else (0,))


def _gradient_shapes(given: Arguments) -> tuple[Tensor, ...]:
    heads, width, size = given.distances.shape
    places = 0 if given.cached is None else given.cached.shape[1]
    return (
        torch.empty_like(given.projected),
        given.projected.new_empty(given.projected.shape[0], places, 2 * heads * size),
        torch.empty_like(given.distances),
        torch.empty_like(given.content_bias),
        given.projected.new_empty(heads, width),
    )


def _flops(given: Arguments) -> int:
    """Of the products with keys, distances and values, as if every query saw every key."""
    batch, queries = given.projected[:2]
    heads, width, size = given.distances
    keys = queries + (0 if given.cached is None else given.cached[1])
    return int(2 * heads * batch * queries * size * (2 * keys + width))


def _gradient_flops(given: Arguments) -> int:
    """Each product of the forward pass has two gradients."""
    return 2 * _flops(given)
