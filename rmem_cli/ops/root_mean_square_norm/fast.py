"""The norm as it runs: beside its input, one number for each vector is kept.

Torch's own norm is one kernel on accelerators. On the CPU it is made of smaller operations, one of which
keeps a scaled copy of the input, and takes twice as long.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from rmem_cli.ops import autocast
from rmem_cli.ops.differentiation import recorded_gradients
from rmem_cli.ops.root_mean_square_norm import reference


@autocast.in_single_precision
def normalize(x: Tensor, gain: Tensor) -> Tensor:
    """The norm; arguments as in `reference.normalize`."""
    if x.device.type != "cpu":
        return functional.rms_norm(x, gain.shape, gain)
    y: Tensor = _Normalize.apply(x, gain)  # type: ignore[no-untyped-call]
    return y


def inverse_of(x: Tensor) -> Tensor:
    """1 / sqrt(mean(x^2) + eps) of each vector: `[..., hidden]` to `[..., 1]`."""
    length: Tensor = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return length.square_().div_(x.shape[-1]).add_(torch.finfo(x.dtype).eps).rsqrt_()


class _Normalize(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, gain: Tensor) -> Tensor:
        inverse = inverse_of(x)
        ctx.save_for_backward(x, inverse, gain)
        return (x * inverse).mul_(gain)

    @staticmethod
    @autocast.as_it_is
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, inverse, gain = ctx.saved_tensors
        if torch.is_grad_enabled():
            return recorded_gradients(lambda *inputs: (reference.normalize(*inputs),), (x, gain), (gradient,))
        return gradients(gradient, x, inverse, gain)


def gradients(gradient: Tensor, x: Tensor, inverse: Tensor, gain: Tensor) -> tuple[Tensor, Tensor]:
    """Of x and of the gain, from that of what they give; `inverse` is `inverse_of(x)`."""
    size = x.shape[-1]
    product = (gradient * x).reshape(-1, size)  # [n, size]
    of_gain = product.mT @ inverse.reshape(-1)  # [size]
    along = (product @ gain).view(inverse.shape).mul_(inverse.square()).div_(size)  # [..., 1]
    of_x = (gradient * gain).addcmul_(x, along, value=-1).mul_(inverse)
    return of_x, of_gain
