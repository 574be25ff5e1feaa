"""Attention, equation by equation; slow. The README beside this file gives the notation.

Sources: Dai et al. 2019, section 3.3 (relative attention); Vaswani et al. 2017, section 3.2 (attention).
"""

import math

import torch
from torch import Tensor
from torch.nn import functional


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
    """Attention whose scores depend on content and on the distance from key to query.

    Args:
        queries: `[heads, batch, queries, size]`, the last positions of the sequence.
        keys: `[heads, batch, keys, size]`.
        values: `[heads, batch, keys, size]`.
        distances: p, `[heads, keys + later, size]`, for the distances keys - 1, ..., 0, -1, ..., -later;
            `later` is at least 1, and as large as the largest distance to a later key that is not masked.
        content_bias: u, `[heads, size]`.
        distance_bias: b, `[heads, keys + later]`.
        mask: `[queries, keys]` or `[batch, queries, keys]`, true where a query does not see a key; None
            where it sees all.
        dropout: Share of the attention probabilities that is dropped.

    Returns:
        `[heads, batch, queries, size]`.
    """
    count, length = queries.shape[2], keys.shape[2]
    rows = []
    for i in range(count):
        scores = []
        for j in range(length):
            distance = length - count + i - j
            row = min(length - 1 - distance, distances.shape[1] - 1)  # those beyond the table are masked
            content = ((queries[:, :, i] + content_bias[:, None]) * keys[:, :, j]).sum(-1)
            position = (queries[:, :, i] * distances[:, None, row]).sum(-1) + distance_bias[:, None, row]
            scores.append(content + position)
        rows.append(torch.stack(scores, dim=-1))
    return _attend(torch.stack(rows, dim=2), values, mask, dropout)


def published_relative_attention(
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    distances: Tensor,
    content_bias: Tensor,
    distance_bias: Tensor,
    mask: Tensor | None = None,
    dropout: float = 0.0,
) -> Tensor:
    """The same as the published code computes it, whose relative shift holds no distance for later keys.

    The key right after the query gets 0; one that lies d + 2 after it gets the product of the *next* query
    with the (d + 1)th farthest position. `distances [heads, keys, size]` has no rows for later keys.
    """
    count, length = queries.shape[2], keys.shape[2]
    rows = []
    for i in range(count):
        scores = []
        for j in range(length):
            later = j - (length - count + i)
            score = ((queries[:, :, i] + content_bias[:, None]) * keys[:, :, j]).sum(-1)
            if later <= 0:
                query, row = queries[:, :, i], length - 1 + later
                score = score + (query * distances[:, None, row]).sum(-1) + distance_bias[:, None, row]
            elif later > 1 and i + 1 < count:
                query, row = queries[:, :, i + 1], later - 2
                score = score + (query * distances[:, None, row]).sum(-1) + distance_bias[:, None, row]
            scores.append(score)
        rows.append(torch.stack(scores, dim=-1))
    return _attend(torch.stack(rows, dim=2), values, mask, dropout)


def attention(
    queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None, dropout: float = 0.0
) -> Tensor:
    """Attention by content alone; arguments as in `relative_attention`."""
    return _attend(torch.einsum("hbqd,hbkd->hbqk", queries, keys), values, mask, dropout)


def _attend(scores: Tensor, values: Tensor, mask: Tensor | None, dropout: float) -> Tensor:
    scores = scores / math.sqrt(values.shape[-1])
    if mask is not None:
        scores = torch.where(mask, -torch.inf, scores)
    probabilities = functional.dropout(torch.softmax(scores, dim=-1), dropout)
    return torch.einsum("hbqk,hbkd->hbqd", probabilities, values)
