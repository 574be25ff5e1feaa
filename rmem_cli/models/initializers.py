"""First values of kernels."""

import torch
from torch import Tensor, nn


def orthogonal_(kernel: Tensor) -> Tensor:
    """Orthonormal rows or columns, whichever are fewer, of `kernel [inputs, outputs]`."""
    return nn.init.orthogonal_(kernel)


def two_half_orthogonal_(kernel: Tensor) -> Tensor:
    """The left and the right half of the columns orthogonal, independently of each other.

    This is how the published RUM code fills the kernels of target and gate. Where the number of columns is
    odd, the published code leaves the last one zero; here the right half has one column more.
    """
    half = kernel.shape[1] // 2
    with torch.no_grad():
        for part in (kernel[:, :half], kernel[:, half:]):
            part.copy_(nn.init.orthogonal_(torch.empty_like(part)))
    return kernel


def xavier_(kernel: Tensor) -> Tensor:
    """Uniform with variance 2 / (inputs + outputs)."""
    return nn.init.xavier_uniform_(kernel)


KERNEL_INITIALIZERS = {
    "orthogonal": orthogonal_,
    "two_half_orthogonal": two_half_orthogonal_,
    "xavier": xavier_,
}
