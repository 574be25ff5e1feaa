"""A matrix that every step of a recurrence multiplies by."""

from typing import Any

import torch
from torch import Tensor
from torch.compiler import is_compiling

from rmem_cli.ops import autocast

CHUNK = 16
"""Steps whose share of the matrix's gradient is computed in one product."""


class StepMatrix:
    """A matrix `[input, output]` for many steps, whose gradient is summed up in few large products.

    Where each step takes its own, the gradient of the matrix is read and written whole for the rows of one
    batch: with 128 rows, that takes about as long as the products themselves. `torch.compile` is given each
    step's own, as it captures nothing that depends on the backward pass.

    Args:
        matrix: `[input, output]`.
    """

    def __init__(self, matrix: Tensor) -> None:
        self._sum = _Sum()
        self._matrix: Tensor = (
            matrix if is_compiling() else _Shared.apply(matrix, self._sum)  # type: ignore[no-untyped-call]
        )

    def add_to(self, base: Tensor, x: Tensor) -> Tensor:
        """`base + x @ matrix`, for `x [batch, input]` and `base [batch, output]` or `[output]`."""
        if is_compiling():
            return torch.addmm(base, x, self._matrix)
        product: Tensor = _Product.apply(base, x, self._matrix, self._sum)  # type: ignore[no-untyped-call]
        return product


class _Sum:
    """The gradient of a matrix in one backward pass, as far as its steps have been gone through."""

    def __init__(self) -> None:
        self._begin(-1)

    def add(self, x: Tensor, grad: Tensor) -> None:
        if torch._C._current_graph_task_id() != self._pass:
            self._begin(torch._C._current_graph_task_id())
        self._steps.append((x, grad))
        if len(self._steps) == CHUNK:
            self._sum_up()

    def total(self) -> Tensor | None:
        if self._steps:
            self._sum_up()
        total = self._total
        self._begin(-1)
        return total

    def _begin(self, number: int) -> None:
        """What an earlier pass has left, which wanted no gradient of the matrix, is not this one's."""
        self._pass = number
        self._steps: list[tuple[Tensor, Tensor]] = []
        self._total: Tensor | None = None

    def _sum_up(self) -> None:
        x, grad = (torch.cat(each) for each in zip(*self._steps, strict=True))
        self._steps = []
        if self._total is None:
            self._total = x.t() @ grad
        else:
            self._total.addmm_(x.t(), grad)


class _Shared(torch.autograd.Function):
    """The matrix itself; its gradient is what the steps have summed up, beside what they give as usual."""

    @staticmethod
    def forward(ctx: Any, matrix: Tensor, total: _Sum) -> Tensor:
        ctx.total = total
        ctx.set_materialize_grads(False)
        return matrix.view_as(matrix)

    @staticmethod
    @autocast.as_it_is
    def backward(ctx: Any, grad: Tensor | None) -> tuple[Tensor | None, None]:
        total = ctx.total.total()
        if grad is None or total is None:
            return total if grad is None else grad, None
        return grad + total, None


class _Product(torch.autograd.Function):
    """`base + x @ matrix`; the matrix's gradient is left to the sum, unless it is to be differentiated."""

    @staticmethod
    def forward(ctx: Any, base: Tensor, x: Tensor, matrix: Tensor, total: _Sum) -> Tensor:
        ctx.save_for_backward(x, matrix)
        ctx.total = total
        ctx.base_dim = base.dim()
        return torch.addmm(base, x, matrix)

    @staticmethod
    @autocast.as_it_is
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, matrix = ctx.saved_tensors
        base_grad = grad if ctx.base_dim > 1 else grad.sum(0)
        x_grad = grad @ matrix.t() if ctx.needs_input_grad[1] else None
        if torch.is_grad_enabled():
            return base_grad, x_grad, x.t() @ grad, None
        if ctx.needs_input_grad[2]:
            ctx.total.add(x, grad)
        return base_grad, x_grad, None, None
