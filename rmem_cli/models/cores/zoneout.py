"""Zoneout: units of a state that keep their previous value.

Source: Krueger et al. 2017 (Zoneout), section 3.
"""

import torch
from torch import Tensor


def share_let_through(zoneout: float, x: Tensor, size: int, training: bool) -> Tensor | None:
    """Share of each new state that is let through, `[batch, time, size]`; None for all of it.

    Args:
        zoneout: Probability that a unit keeps its previous value.
        x: Inputs, `[batch, time, input]`; the share has their device and type.
        size: Units of the state.
        training: Whether each unit of each row keeps or changes its value at random, at every step; if not,
            all mix the two in proportion.
    """
    if zoneout == 0:
        return None
    share = x.new_full((*x.shape[:2], size), 1 - zoneout)
    return torch.bernoulli(share) if training else share
