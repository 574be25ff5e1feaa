"""The auxiliary loss of the RMT paper: memory tokens that predict a fixed symbol."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from rmem_cli.models.state import MEMORY, State


@dataclass(frozen=True)
class MemoryLoss:
    """The memory that a segment writes, read by the model's own head, is to predict one symbol.

    The loss of a row is the mean over its memory tokens, times the sum of its weights in the segment: with
    the mean over all positions as the loss of a batch, it is `weight` times the mean loss of a memory token.

    Attributes:
        weight: What it is multiplied by.
        symbol: Number of the symbol.

    Source: Bulatov et al. 2022, appendix A.5, which says that the target is a fixed special token, and the
    factor 0.01 (used together with a cache). Assumed: that only the written memory counts, and how the losses
    are weighted.
    """

    weight: float
    symbol: int

    def __call__(self, nll: Callable[[Tensor, Tensor], Tensor], state: State, weights: Tensor) -> Tensor:
        """The loss of one segment.

        Args:
            nll: Of the model's head: `[..., size]` and targets `[...]` to losses `[...]`.
            state: After the segment.
            weights: `[batch, time]`, of the positions of the segment.
        """
        memory = state[MEMORY]
        targets = torch.full(memory.shape[:2], self.symbol, device=memory.device)
        return self.weight * (nll(memory, targets).mean(1) * weights.sum(1)).sum()
