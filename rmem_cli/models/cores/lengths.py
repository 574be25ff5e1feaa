"""Rows of a batch that end before others."""

import torch
from torch import Tensor


def last_states(states: Tensor, initial: Tensor, lengths: Tensor | None) -> Tensor:
    """The state after the last step of each row that counts; the initial one where none does.

    Args:
        states: After every step, `[batch, time, size]`.
        initial: Before the first, `[batch, size]`.
        lengths: Steps of each row that count, `[batch]` or one for all; None: all.
    """
    if lengths is None:
        return states[:, -1]
    rows = torch.arange(len(states), device=states.device)
    return torch.where(lengths[:, None] > 0, states[rows, (lengths - 1).clamp_min(0)], initial)
