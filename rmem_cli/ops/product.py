"""Products of large matrices, by the library that multiplies them faster on this processor.

On the CPU, torch multiplies by MKL, which keeps to vectors of 256 bits on the processors of other makers
than its own. oneDNN, which torch brings too, takes those of 512 bits wherever a processor has them, and is
about twice as fast there; what it does before it multiplies is worth it for large products alone.
"""

from functools import cache
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import register_flop_formula

_LEAST_MULTIPLICATIONS = 1 << 22
_has_onednn: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]


class Linear(nn.Linear):
    """`torch.nn.Linear`, its products by `linear`."""

    def forward(self, x: Tensor) -> Tensor:
        """`[..., in_features]` to `[..., out_features]`."""
        return linear(x, self.weight, self.bias)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`torch.nn.functional.linear`, by whichever library is faster.

    Args:
        x: `[..., inputs]`.
        weight: `[outputs, inputs]`.
        bias: `[outputs]`.

    Returns:
        `[..., outputs]`.
    """
    if not _by_onednn(x, weight, bias):
        return functional.linear(x, weight, bias)
    y: Tensor = _Linear.apply(x.flatten(0, -2), weight, bias)  # type: ignore[no-untyped-call]
    return y.view(*x.shape[:-1], -1)


def product(left: Tensor, right: Tensor) -> Tensor:
    """`[rows, depth]` times `[depth, columns]`, by whichever library is faster."""
    return linear(left, right.mT)


class _Linear(torch.autograd.Function):
    """Its gradients are products again, and so can be differentiated."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _multiply(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        want_x, want_weight, want_bias = ctx.needs_input_grad
        return (
            product(gradient, weight) if want_x else None,
            product(gradient.mT, x) if want_weight else None,
            gradient.sum(0) if want_bias else None,
        )


def _multiply(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """By oneDNN, which copies the left factor if it is transposed: rather the smaller of the two.

    It has no fast way of reading part of a larger matrix on the right, and takes any bias for contiguous.
    """
    turned = bias is None and not x.is_contiguous() and weight.numel() < x.numel()
    left, right = (weight, x) if turned else (x, weight)
    if not right.is_contiguous() and not right.mT.is_contiguous():
        right = right.clone()
    added = None if bias is None else bias.contiguous()
    y: Tensor = torch.ops.mkldnn._linear_pointwise(left, right, added, "none", [], "")
    return y.mT if turned else y


def _by_onednn(x: Tensor, weight: Tensor, bias: Tensor | None) -> bool:
    factors = (x, weight) if bias is None else (x, weight, bias)
    return (
        x.numel() * weight.shape[0] >= _LEAST_MULTIPLICATIONS
        and all(each.device.type == "cpu" and each.dtype == torch.float32 for each in factors)
        and _mkl_is_narrow()
        and bool(torch.backends.mkldnn.enabled)
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
    )


@cache
def _mkl_is_narrow() -> bool:
    """Whether MKL leaves half of this processor's vectors unused, and oneDNN is there to use them."""
    return (
        _has_onednn
        and torch.backends.mkl.is_available()  # type: ignore[no-untyped-call]
        and torch.backends.cpu.get_cpu_capability() == "AVX512"
        and not torch.cpu.get_capabilities()["cpu_name"].startswith("Intel")
    )


def _flops(x: torch.Size, weight: torch.Size, *_: Any, **__: Any) -> int:
    return 2 * prod(x) * weight[0]


if _has_onednn:
    register_flop_formula(torch.ops.mkldnn._linear_pointwise)(_flops)
