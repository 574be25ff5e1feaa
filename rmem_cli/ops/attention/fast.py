"""Attention as it runs: whole matrix products, relative distances as a view of one of them.

The README beside this file derives the formulas; `reference.py` holds the equations that they equal.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional


def relative_attention(
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    positions: Tensor,
    content_bias: Tensor,
    position_bias: Tensor,
    blocked: Tensor | None = None,
    dropout: float = 0.0,
) -> Tensor:
    """Attention by content and distance; arguments and result are those of `reference.relative_attention`.

    With one row of zeros after the `keys` rows of `positions`, it is
    `reference.published_relative_attention`.
    """
    scale = 1 / math.sqrt(queries.shape[-1])
    scaled = queries * scale
    by_content = (scaled + (content_bias * scale)[:, None, None]).flatten(0, 1)
    by_position = (scaled + (position_bias * scale)[:, None, None]).flatten(1, 2)
    products = (by_position @ positions.mT).view(*queries.shape[:3], -1)
    distances = relative_shift(products, keys.shape[2])
    scores = torch.baddbmm(distances.flatten(0, 1), by_content, keys.flatten(0, 1).mT)
    if blocked is not None:
        scores = scores.view(distances.shape).masked_fill_(blocked, -torch.inf).flatten(0, 1)
    probabilities = functional.dropout(scores.softmax(-1), dropout)
    return torch.bmm(probabilities, values.flatten(0, 1)).view(queries.shape)


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
