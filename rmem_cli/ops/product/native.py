"""Products of large matrices in C++; `rmem_cli/ops/native/product/product.cpp` computes them."""

from math import prod

import torch
from torch import Tensor

from rmem_cli.ops.native.registration import Arguments, register_operation


def product(left: Tensor, right: Tensor, bias: Tensor | None = None) -> Tensor:
    """`[rows, depth]` times `[depth, columns]`, plus a bias `[columns]`; without a gradient of its own."""
    result: Tensor = torch.ops.rmem.product(left, right, bias)
    return result


def register() -> None:
    """Tell torch about the loaded operation."""
    register_operation("product", _shape, _flops)


def _shape(given: Arguments) -> Tensor:
    empty: Tensor = given.left.new_empty(given.left.shape[0], given.right.shape[1])
    return empty


def _flops(given: Arguments) -> int:
    return int(2 * prod(given.left) * given.right[1])
