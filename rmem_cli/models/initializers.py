"""First values of kernels: the same for every number of threads."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


def orthogonal_(kernel: Tensor) -> Tensor:
    """Orthonormal rows or columns, whichever are fewer, of `kernel [inputs, outputs]`."""
    with _one_thread():
        return nn.init.orthogonal_(kernel)


@contextmanager
def _one_thread() -> Iterator[None]:
    """The threads of a decomposition decide in which order it adds up."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def two_half_orthogonal_(kernel: Tensor) -> Tensor:
    """The left and the right half of the columns orthogonal, independently of each other.

    This is how the published RUM code fills the kernels of target and gate. Where the number of columns is
    odd, the published code leaves the last one zero; here the right half has one column more.
    """
    half = kernel.shape[1] // 2
    with torch.no_grad():
        for part in (kernel[:, :half], kernel[:, half:]):
            part.copy_(orthogonal_(torch.empty_like(part)))
    return kernel


def xavier_(kernel: Tensor) -> Tensor:
    """Uniform with variance 2 / (inputs + outputs)."""
    return nn.init.xavier_uniform_(kernel)


KERNEL_INITIALIZERS = {
    "orthogonal": orthogonal_,
    "two_half_orthogonal": two_half_orthogonal_,
    "xavier": xavier_,
}
