"""Zoneout: units of a state that keep their previous value.

Source: Krueger et al. 2017 (Zoneout), section 3.
"""

import torch
from torch import Tensor

from rmem_cli.ops.autocast import single_precision


def share_let_through(zoneout: float, x: Tensor, size: int, training: bool) -> Tensor | None:
    """Share of each new state that is let through, `[batch, time, size]`; None for all of it.

    Args:
        zoneout: Probability that a unit keeps its previous value.
        x: Inputs, `[batch, time, input]`; the share has their device and type, under autocast float32:
            in bfloat16, one of 0.999 would be 1.
        size: Units of the state.
        training: Whether each unit of each row keeps or changes its value at random, at every step; if not,
            all mix the two in proportion.
    """
    if zoneout == 0:
        return None
    share = single_precision(x.new_empty((*x.shape[:2], size))).fill_(1 - zoneout)
    return torch.bernoulli(share) if training else share
