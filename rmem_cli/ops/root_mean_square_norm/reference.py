"""The norm as its equation is written.

Source: Zhang and Sennrich 2019, equation 4.
"""

import torch
from torch import Tensor


def normalize(x: Tensor, gain: Tensor) -> Tensor:
    """Vectors of root mean square one, times a gain: y = g x / sqrt(mean(x^2) + eps).

    Args:
        x: `[..., hidden]`.
        gain: g, `[hidden]`.

    Returns:
        `[..., hidden]`. eps is the machine epsilon of the numbers, as in torch.
    """
    mean_square = x.square().mean(-1, keepdim=True)
    return gain * x / torch.sqrt(mean_square + torch.finfo(x.dtype).eps)
