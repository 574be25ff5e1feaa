"""Attention as it runs: whole matrix products, relative distances as a view of one of them.

The README beside this file derives the formulas; `reference.py` holds the equations that they equal.
"""

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional


def relative_attention(
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    distances: Tensor,
    content_bias: Tensor,
    distance_bias: Tensor,
    blocked: Tensor | None = None,
    dropout: float = 0.0,
) -> Tensor:
    """Attention by content and distance; arguments and result are those of `reference.relative_attention`.

    With one row of zeros after the `keys` rows of `distances` (and one zero after the biases), it is
    `reference.published_relative_attention`. It has no second derivative.
    """
    attended: Tensor = _RelativeAttention.apply(  # type: ignore[no-untyped-call]
        queries, keys, values, distances, content_bias, distance_bias, blocked, dropout
    )
    return attended


class _RelativeAttention(torch.autograd.Function):
    """`relative_attention`, with its gradient in as few passes over the scores as there are products.

    A blocked score has probability zero, and so no gradient: the mask plays no part on the way back.
    """

    @staticmethod
    def forward(
        ctx: Any,
        queries: Tensor,
        keys: Tensor,
        values: Tensor,
        distances: Tensor,
        content_bias: Tensor,
        distance_bias: Tensor,
        blocked: Tensor | None,
        dropout: float,
    ) -> Tensor:
        scale = 1 / math.sqrt(queries.shape[-1])
        scaled = queries * scale
        by_content = scaled + (content_bias * scale)[:, None, None]
        products = torch.bmm(scaled.flatten(1, 2), distances.mT)
        by_distance = relative_shift(products.view(*queries.shape[:3], -1), keys.shape[2])
        scores = torch.baddbmm(by_distance.flatten(0, 1), by_content.flatten(0, 1), keys.flatten(0, 1).mT)
        added = relative_shift(_repeated(distance_bias * scale, queries.shape[2]), keys.shape[2]).unsqueeze(1)
        if blocked is not None:
            added = added + torch.zeros_like(blocked, dtype=scores.dtype).masked_fill_(blocked, -torch.inf)
        scores.view(by_distance.shape).add_(added)
        probabilities = scores.softmax(-1)
        kept = functional.dropout(torch.ones_like(probabilities), dropout) if dropout else None
        ctx.save_for_backward(scaled, by_content, keys, values, distances, probabilities, kept)
        weights = probabilities if kept is None else probabilities * kept
        return torch.bmm(weights, values.flatten(0, 1)).view(queries.shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        scaled, by_content, keys, values, distances, probabilities, kept = ctx.saved_tensors
        gradient = gradient.flatten(0, 1)
        weights = probabilities if kept is None else probabilities * kept
        of_values = torch.bmm(weights.mT, gradient)
        of_weights = torch.bmm(gradient, values.flatten(0, 1).mT)
        of_probabilities = of_weights if kept is None else of_weights.mul_(kept)
        of_scores = torch.ops.aten._softmax_backward_data(
            of_probabilities, probabilities, -1, probabilities.dtype
        )
        of_keys = torch.bmm(of_scores.mT, by_content.flatten(0, 1))
        through_content = torch.bmm(of_scores, keys.flatten(0, 1)).view(scaled.shape)
        of_products = scaled.new_zeros(*scaled.shape[:3], distances.shape[1])
        relative_shift(of_products, keys.shape[2]).copy_(of_scores.view(*scaled.shape[:3], -1))
        of_products = of_products.flatten(1, 2)
        of_distances = torch.bmm(of_products.mT, scaled.flatten(1, 2))
        through_distance = torch.bmm(of_products, distances).view(scaled.shape)
        scale = 1 / math.sqrt(scaled.shape[-1])
        return (
            through_distance.add_(through_content).mul_(scale),
            of_keys.view(keys.shape),
            of_values.view(values.shape),
            of_distances,
            through_content.sum((1, 2)).mul_(scale),
            of_products.sum(1).mul_(scale),
            None,
            None,
        )


def _repeated(rows: Tensor, count: int) -> Tensor:
    """`[heads, width]` to `[heads, count, width]`, each row in memory as often as it stands there."""
    return rows.unsqueeze(1).expand(-1, count, -1).contiguous()


def relative_shift(products: Tensor, keys: int) -> Tensor:
    """From one column for each distance to one for each key, as a view.

    Args:
        products: `[..., queries, width]`, columns by falling distance from `keys - 1`; `width > keys`.
        keys: How many keys there are; the last query stands at the last of them.

    Returns:
        `[..., queries, keys]`: for query i and key j the column of the distance `keys - queries + i - j`.
        Beyond the last column it goes on in the first columns of query i + 1.
    """
    *leading, queries, width = products.shape
    shifted = products.flatten(-2)[..., queries - 1 : queries * width - 1]
    return shifted.view(*leading, queries, width - 1)[..., :keys]


def attention(
    queries: Tensor, keys: Tensor, values: Tensor, blocked: Tensor | None = None, dropout: float = 0.0
) -> Tensor:
    """Attention by content alone; arguments as in `relative_attention`."""
    if blocked is None:
        return functional.scaled_dot_product_attention(queries, keys, values, dropout_p=dropout)
    # The fused kernels want a mask of two axes or of four.
    visible = ~blocked if blocked.dim() == 2 else ~blocked.unsqueeze(0)
    return functional.scaled_dot_product_attention(queries, keys, values, visible, dropout)
