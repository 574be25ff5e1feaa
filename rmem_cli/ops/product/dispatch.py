"""Linear maps and products of matrices: torch's own, or, for large ones, the native form where it is faster.

On the CPU, torch multiplies by MKL, which keeps to vectors of 256 bits on the processors of other makers than
its own. Where a processor has those of 512 bits, the native form takes about half of the time. oneDNN is as
fast there, but keeps memory for every shape it has met: gigabytes, where lengths vary.
"""

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from rmem_cli.ops.native import build
from rmem_cli.ops.product import native

_LEAST_MULTIPLICATIONS = 1 << 22
# Fewer rows or columns do not repay that the right factor is copied.
_LEAST_SIZE = 16


class Linear(nn.Linear):
    """`torch.nn.Linear`, its products by `linear`."""

    def forward(self, x: Tensor) -> Tensor:
        """`[..., in_features]` to `[..., out_features]`."""
        return linear(x, self.weight, self.bias)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`torch.nn.functional.linear`, by whichever form is faster.

    Args:
        x: `[..., inputs]`.
        weight: `[outputs, inputs]`.
        bias: `[outputs]`.

    Returns:
        `[..., outputs]`.
    """
    if not _natively(x, weight, bias):
        return functional.linear(x, weight, bias)
    # [n, outputs]
    y: Tensor = _Linear.apply(x.flatten(0, -2), weight, bias)  # type: ignore[no-untyped-call]
    return y.view(*x.shape[:-1], y.shape[-1])  # [..., outputs]


def product(left: Tensor, right: Tensor) -> Tensor:
    """`[rows, depth]` times `[depth, columns]`, by whichever form is faster."""
    return linear(left, right.mT)


class _Linear(torch.autograd.Function):
    """Its gradients are products again, and so can be differentiated."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return native.product(x, weight.mT, bias)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        want_x, want_weight, want_bias = ctx.needs_input_grad
        return (
            product(gradient, weight) if want_x else None,
            product(gradient.mT, x) if want_weight else None,
            gradient.sum(0) if want_bias else None,
        )


def _natively(x: Tensor, weight: Tensor, bias: Tensor | None) -> bool:
    outputs, inputs = weight.shape
    return (
        x.device.type == "cpu"
        and x.numel() * outputs >= _LEAST_MULTIPLICATIONS
        and min(x.numel() // inputs, inputs, outputs) >= _LEAST_SIZE
        and mkl_is_narrow()
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
        and build.usable("product", x, weight, *([] if bias is None else [bias]))
    )


@cache
def mkl_is_narrow() -> bool:
    """Whether MKL leaves half of this processor's vectors unused."""
    return (
        torch.backends.mkl.is_available()  # type: ignore[no-untyped-call]
        and torch.backends.cpu.get_cpu_capability() == "AVX512"
        and not torch.cpu.get_capabilities().get("cpu_name", "").startswith("Intel")
    )
