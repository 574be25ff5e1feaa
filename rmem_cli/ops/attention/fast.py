"""Attention as it runs: whole matrix products, relative distances as a view of one of them.

The README beside this file derives the formulas; `reference.py` holds the equations that they equal.
"""

import math
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from rmem_cli.ops import autocast
from rmem_cli.ops.differentiation import recorded_gradients
from rmem_cli.ops.forms import note


def relative_attention(
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    distances: Tensor,
    content_bias: Tensor,
    distance_bias: Tensor,
    mask: Tensor | None = None,
    dropout: float = 0.0,
) -> Tensor:
    """Attention by content and distance; arguments and result are those of `reference.relative_attention`.

    With one row of zeros after the `keys` rows of `distances` (and one zero after the biases), it is
    `reference.published_relative_attention`.
    """
    note("attention", "fast")
    attended: Tensor = _RelativeAttention.apply(  # type: ignore[no-untyped-call]
        queries, keys, values, distances, content_bias, distance_bias, mask, dropout
    )
    return attended


class _RelativeAttention(torch.autograd.Function):
    """`relative_attention`, with its gradient in as few passes over the scores as there are products.

    A masked score has probability zero, and so no gradient: the mask plays no part on the way back.
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
        mask: Tensor | None,
        dropout: float,
    ) -> Tensor:
        probabilities = _probabilities(queries, keys, distances, content_bias, distance_bias, mask)
        dropout_mask = functional.dropout(torch.ones_like(probabilities), dropout) if dropout else None
        inputs = (queries, keys, values, distances, content_bias, distance_bias)
        ctx.save_for_backward(*inputs, mask, probabilities, dropout_mask)
        return _attended(probabilities, dropout_mask, values)

    @staticmethod
    @autocast.as_it_is
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        *inputs, mask, probabilities, dropout_mask = ctx.saved_tensors
        if torch.is_grad_enabled():
            form = partial(_relative_attention_recorded, mask=mask, dropout_mask=dropout_mask)
            return *recorded_gradients(form, inputs, (gradient,)), None, None
        queries, keys, values, distances, content_bias, _ = inputs
        scaled, by_content = _scaled(queries, content_bias)
        gradient = gradient.flatten(0, 1)  # [heads * batch, queries, size]
        weights = probabilities if dropout_mask is None else probabilities * dropout_mask
        of_values = torch.bmm(weights.mT, gradient)
        of_weights = torch.bmm(gradient, values.flatten(0, 1).mT)  # [heads * batch, queries, keys]
        of_probabilities = of_weights if dropout_mask is None else of_weights.mul_(dropout_mask)
        of_scores = torch.ops.aten._softmax_backward_data(
            of_probabilities, probabilities, -1, probabilities.dtype
        )
        of_keys = torch.bmm(of_scores.mT, by_content.flatten(0, 1))  # [heads * batch, keys, size]
        # [heads, batch, queries, size]
        through_content = torch.bmm(of_scores, keys.flatten(0, 1)).view(scaled.shape)
        of_products = scaled.new_zeros(*scaled.shape[:3], distances.shape[1])
        # [heads, batch, queries, keys]
        relative_shift(of_products, keys.shape[2]).copy_(of_scores.view(*scaled.shape[:3], -1))
        of_products = of_products.flatten(1, 2)  # [heads, batch * queries, distances]
        of_distances = torch.bmm(of_products.mT, scaled.flatten(1, 2))  # [heads, distances, size]
        # [heads, batch, queries, size]
        through_distance = torch.bmm(of_products, distances).view(scaled.shape)
        scale = 1 / math.sqrt(scaled.shape[-1])
        return (
            through_distance.add_(through_content).mul_(scale),
            of_keys.view(keys.shape),  # [heads, batch, keys, size]
            of_values.view(values.shape),  # [heads, batch, keys, size]
            of_distances,
            through_content.sum((1, 2)).mul_(scale),
            of_products.sum(1).mul_(scale),
            None,
            None,
        )


def _scaled(queries: Tensor, content_bias: Tensor) -> tuple[Tensor, Tensor]:
    """The queries over the root of their size, without and with the content bias."""
    scale = 1 / math.sqrt(queries.shape[-1])
    scaled = queries * scale
    return scaled, scaled + (content_bias * scale)[:, None, None]


def _probabilities(
    queries: Tensor,
    keys: Tensor,
    distances: Tensor,
    content_bias: Tensor,
    distance_bias: Tensor,
    mask: Tensor | None,
) -> Tensor:
    """`[heads * batch, queries, keys]`."""
    scaled, by_content = _scaled(queries, content_bias)
    products = torch.bmm(scaled.flatten(1, 2), distances.mT)  # [heads, batch * queries, distances]
    # [heads, batch, queries, keys]
    by_distance = relative_shift(products.view(*queries.shape[:3], -1), keys.shape[2])
    # [heads * batch, queries, keys]
    scores = torch.baddbmm(by_distance.flatten(0, 1), by_content.flatten(0, 1), keys.flatten(0, 1).mT)
    biases = distance_bias * (1 / math.sqrt(queries.shape[-1]))
    added = relative_shift(_repeated(biases, queries.shape[2]), keys.shape[2]).unsqueeze(1)
    if mask is not None:
        added = added + torch.zeros_like(mask, dtype=scores.dtype).masked_fill_(mask, -torch.inf)
    scores.view(by_distance.shape).add_(added)  # [heads, batch, queries, keys]
    return scores.softmax(-1)


def _attended(probabilities: Tensor, dropout_mask: Tensor | None, values: Tensor) -> Tensor:
    """What the values give, `[heads, batch, queries, size]`; `dropout_mask` is what dropout multiplied by."""
    weights = probabilities if dropout_mask is None else probabilities * dropout_mask
    # [heads, batch, queries, size]
    return torch.bmm(weights, values.flatten(0, 1)).view(*values.shape[:2], -1, values.shape[3])


def _relative_attention_recorded(
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    distances: Tensor,
    content_bias: Tensor,
    distance_bias: Tensor,
    mask: Tensor | None,
    dropout_mask: Tensor | None,
) -> tuple[Tensor]:
    """What `_RelativeAttention` gives, as torch can differentiate it."""
    probabilities = _probabilities(queries, keys, distances, content_bias, distance_bias, mask)
    return (_attended(probabilities, dropout_mask, values),)


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
    shifted = products.flatten(-2)[..., queries - 1 : queries * width - 1]  # [..., queries * (width - 1)]
    return shifted.view(*leading, queries, width - 1)[..., :keys]  # [..., queries, keys]


@autocast.in_lower_precision
def attention(
    queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None, dropout: float = 0.0
) -> Tensor:
    """Attention by content alone; arguments as in `relative_attention`.

    Torch's fused kernels refuse second derivatives; `torch.nn.attention.sdpa_kernel(SDPBackend.MATH)` has
    them.
    """
    note("attention", "fast")
    if mask is None:
        return functional.scaled_dot_product_attention(queries, keys, values, dropout_p=dropout)
    # The fused kernels want a mask of two axes or of four.
    visible = ~mask if mask.dim() == 2 else ~mask.unsqueeze(0)
    return functional.scaled_dot_product_attention(queries, keys, values, visible, dropout)
