"""What torch needs to know of a native operation beside how to compute it: sizes of results, and their cost.

An operation's arguments are declared in its C++ source alone; here they are found by their names.
"""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, NoReturn

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

Arguments = SimpleNamespace
"""The arguments of an operation as attributes: tensors, or their sizes where only these are known."""


def is_differentiated(*operands: Tensor | None) -> bool:
    """Whether an operation has to keep what a gradient needs.

    Args:
        operands: All that a gradient may reach.
    """
    return torch.is_grad_enabled() and any(each is not None and each.requires_grad for each in operands)


def register_operation(
    name: str, shapes: Callable[[Arguments], Any], flops: Callable[[Arguments], int]
) -> None:
    """Tell torch about a loaded operation.

    Args:
        name: As in its source.
        shapes: Arguments -> empty results.
        flops: Sizes of the arguments -> floating-point operations.
    """
    operation = getattr(torch.ops.rmem, name)
    names = [argument.name for argument in operation.default._schema.arguments]

    def named(values: tuple[Any, ...], others: dict[str, Any]) -> Arguments:
        return Arguments(**dict(zip(names, values, strict=False)), **others)

    torch.library.register_fake(f"rmem::{name}", lambda *values, **others: shapes(named(values, others)))
    register_flop_formula(operation)(lambda *values, **others: flops(named(values, others)))


def refuse_second_derivative(name: str, title: str) -> None:
    """Tell torch that an operation, which is a gradient, has none of its own.

    Args:
        name: As in its source.
        title: Of what it is the gradient, as in "the native gated LSTM".
    """

    def refuse(*_: Any) -> NoReturn:
        raise RuntimeError(
            f"{title} has no second derivatives; RMEM_NATIVE=off chooses the PyTorch form, which has"
        )

    torch.library.register_autograd(f"rmem::{name}", refuse)
