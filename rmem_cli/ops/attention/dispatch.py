"""Which form of relative attention runs."""

import torch
from torch import Tensor

from rmem_cli.ops import autocast
from rmem_cli.ops.attention import fast, heads, native
from rmem_cli.ops.native import build


@autocast.in_lower_precision
def form(*tensors: Tensor) -> str:
    """`native` where these, lowered under autocast, can be computed with natively, else `fast`."""
    return "native" if build.usable("attention", *tensors) else "fast"


@autocast.in_lower_precision
def relative_attention(
    projected: Tensor,
    cached: Tensor | None,
    distances: Tensor,
    content_bias: Tensor,
    distance_bias: Tensor,
    mask: Tensor | None = None,
    dropout: float = 0.0,
    published_shift: bool = False,
) -> Tensor:
    """Attention by content and distance, from what linear maps give to what one takes.

    Args:
        projected: `[batch, queries, 3 * heads * size]`, queries, keys and values of the places computed.
        cached: `[batch, cached, 2 * heads * size]`, keys and values of the places in front of them; None
            where there are none.
        distances: `[heads, keys + later, size]`, see `reference.relative_attention`, as for all that follows.
        content_bias: `[heads, size]`.
        distance_bias: `[heads, keys + later]`.
        mask: `[queries, keys]` or `[batch, queries, keys]`.
        dropout: Share of the attention probabilities that is dropped.
        published_shift: Whether later keys have the scores of `reference.published_relative_attention`;
            `distances` and `distance_bias` then end in a row of zeros.

    Returns:
        `[batch, queries, heads * size]`.
    """
    positions = (distances, content_bias, distance_bias)
    whole = not dropout and not published_shift
    if whole and form(projected, *([] if cached is None else [cached]), *positions) == "native":
        return native.relative_attention(projected, cached, *positions, mask)
    queries, keys, values = _heads(projected, cached, len(distances))
    return heads.merge(fast.relative_attention(queries, keys, values, *positions, mask, dropout))


@autocast.in_lower_precision
def attention(
    projected: Tensor, cached: Tensor | None, count: int, mask: Tensor | None = None, dropout: float = 0.0
) -> Tensor:
    """Attention of `count` heads by content alone; the rest as in `relative_attention`."""
    return heads.merge(fast.attention(*_heads(projected, cached, count), mask, dropout))


def _heads(projected: Tensor, cached: Tensor | None, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values, each `[heads, batch, places, size]`."""
    queries, keys, values = heads.split(projected, count)
    if cached is not None:
        old_keys, old_values = heads.split(cached, count, 2)
        keys, values = torch.cat([old_keys, keys], 2), torch.cat([old_values, values], 2)
    return queries, keys, values
