"""Products of large matrices in C++; `rmem_cli/ops/native/product.cpp` computes them."""

from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula


def product(left: Tensor, right: Tensor, bias: Tensor | None = None) -> Tensor:
    """`[rows, depth]` times `[depth, columns]`, plus a bias `[columns]`; without a gradient of its own."""
    result: Tensor = torch.ops.rmem.product(left, right, bias)
    return result


def register() -> None:
    """Tell torch about the loaded operation."""
    torch.library.register_fake("rmem::product", _shape)
    register_flop_formula(torch.ops.rmem.product)(_flops)


def _shape(left: Tensor, right: Tensor, bias: Tensor | None) -> Tensor:
    return left.new_empty(left.shape[0], right.shape[1])


def _flops(left: torch.Size, right: torch.Size, *_: Any, **__: Any) -> int:
    return 2 * prod(left) * right[1]
