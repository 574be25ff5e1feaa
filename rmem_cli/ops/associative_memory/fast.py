"""The associative memory as it runs: batched matrix products. `reference.py` holds the equations."""

import torch
from torch import Tensor
from torch.nn import functional

from rmem_cli.ops import autocast
from rmem_cli.ops.associative_memory.reference import EPS, SHORTEST
from rmem_cli.ops.forms import note


@autocast.in_single_precision
def features(x: Tensor, order: int, normalized: bool = False) -> Tensor:
    """See `reference.features`."""
    both = torch.cat([x, -x], dim=-1).relu()
    found = torch.cat([both * both.roll(shift, dims=-1) for shift in range(1, order + 1)], dim=-1)
    return functional.normalize(found, dim=-1, eps=SHORTEST) if normalized else found


@autocast.in_single_precision
def read(memory: Tensor, normalizer: Tensor, queries: Tensor) -> Tensor:
    """See `reference.read`."""
    note("associative_memory", "fast")
    return (queries @ memory) / (queries @ normalizer.unsqueeze(-1) + EPS)


@autocast.in_single_precision
def write(
    memory: Tensor,
    normalizer: Tensor,
    keys: Tensor,
    values: Tensor,
    strengths: Tensor,
    correction: bool = True,
) -> tuple[Tensor, Tensor]:
    """See `reference.write`."""
    note("associative_memory", "fast")
    changes = strengths.unsqueeze(-1) * (values - read(memory, normalizer, keys))
    new = _new_share(normalizer, keys) * keys if correction else keys
    return torch.baddbmm(memory, keys.mT, changes), normalizer + new.sum(1)


@torch.no_grad()
def _new_share(normalizer: Tensor, keys: Tensor) -> Tensor:
    """The share of each key that the memory does not know, `[batch, pairs, 1]`."""
    known = keys @ normalizer.unsqueeze(-1) + EPS
    share = (1 - known / (keys.square().sum(-1, keepdim=True) + EPS)).clamp(0, 1)
    empty = (normalizer == 0).all(-1)
    return torch.where(empty[:, None, None], 1.0, share)
