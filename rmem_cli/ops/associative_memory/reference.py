"""The associative memory, pair by pair; slow. The README beside this file gives the notation and sources."""

import torch
from torch import Tensor

EPS = 1e-5
SHORTEST = 1e-12
"""Features of less length are divided by this one, so that zeros stay zero."""


def features(x: Tensor, order: int, normalized: bool = False) -> Tensor:
    """The features of keys and queries, none of them negative.

    Args:
        x: `[..., size]`.
        order: How many shifts there are.
        normalized: Whether they are brought to length 1, where they are not all zero.

    Returns:
        `[..., 2 * size * order]`.
    """
    both = [*x.relu().unbind(-1), *(-x).relu().unbind(-1)]
    shifted = [both[i] * both[(i - j) % len(both)] for j in range(1, order + 1) for i in range(len(both))]
    found = torch.stack(shifted, dim=-1)
    if not normalized:
        return found
    length: Tensor = torch.linalg.vector_norm(found, dim=-1, keepdim=True)
    return found / length.clamp(min=SHORTEST)


def read(memory: Tensor, normalizer: Tensor, queries: Tensor) -> Tensor:
    """What is stored under queries.

    Args:
        memory: A, `[batch, features, size]`.
        normalizer: z, `[batch, features]`.
        queries: `[batch, places, features]`, none negative.

    Returns:
        `[batch, places, size]`.
    """
    found = []
    for place in range(queries.shape[1]):
        query = queries[:, place]
        stored = (query[:, :, None] * memory).sum(1)
        found.append(stored / ((query * normalizer).sum(-1, keepdim=True) + EPS))
    return torch.stack(found, dim=1)


def write(
    memory: Tensor,
    normalizer: Tensor,
    keys: Tensor,
    values: Tensor,
    strengths: Tensor,
    correction: bool = True,
) -> tuple[Tensor, Tensor]:
    """Memory and normalizer after pairs were written, all at once.

    Args:
        memory: A, `[batch, features, size]`.
        normalizer: z, `[batch, features]`; all zero in the rows that are empty.
        keys: `[batch, pairs, features]`, none negative.
        values: `[batch, pairs, size]`.
        strengths: `[batch, pairs]`, between 0 and 1.
        correction: Whether a key that is known adds less to the normalizer.
    """
    new_memory, new_normalizer = memory, normalizer
    for pair in range(keys.shape[1]):
        key = keys[:, pair]
        known = (key * normalizer).sum(-1, keepdim=True) + EPS
        correct = values[:, pair] - (key[:, :, None] * memory).sum(1) / known
        change = strengths[:, pair, None] * correct
        new_memory = new_memory + key[:, :, None] * change[:, None, :]
        share = (1 - known / ((key * key).sum(-1, keepdim=True) + EPS)).clamp(0, 1).detach()
        share = torch.where((normalizer == 0).all(-1, keepdim=True), 1.0, share)
        new_normalizer = new_normalizer + (share * key if correction else key)
    return new_memory, new_normalizer
