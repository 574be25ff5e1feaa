"""First values of the forget bias: what gates are called standard, chrono and uniform after."""

import torch
from torch import Tensor


@torch.no_grad()
def uniform_(bias: Tensor) -> Tensor:
    """The logit of U(1/d, 1 - 1/d), d the number of units: gates start uniform, and with them time scales.

    Args:
        bias: `[d]`; of one unit, it becomes 0.

    Source: Gu et al. 2020, uniform gate initialisation; as the re-implementation (r0mainK/ur-lstm) has it.
    """
    low = min(1 / len(bias), 0.5)
    return bias.uniform_(low, 1 - low).logit_()


@torch.no_grad()
def chrono_(bias: Tensor, length: int) -> Tensor:
    """The logarithm of U(1, length - 1): units that forget within 1 to about `length` steps.

    Args:
        bias: `[d]`.
        length: The longest time lag to expect, at least 2.

    Source: Tallec and Ollivier 2018, section 2.
    """
    return bias.uniform_(1, length - 1).log_()
