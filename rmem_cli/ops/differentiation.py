"""Gradients that are differentiated in turn.

A backward pass written by hand is made for one gradient: it overwrites what it needs no more, and torch sees
none of it. Where the graph of a gradient is wanted (`create_graph=True`), the operation is computed once more
by operations that torch differentiates as often as it is asked.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def recorded_gradients(
    form: Callable[..., tuple[Tensor, ...]],
    inputs: Sequence[Tensor | None],
    gradients: Sequence[Tensor | None],
) -> tuple[Tensor | None, ...]:
    """The gradients of an operation's inputs, as functions of these inputs and of its results' gradients.

    Args:
        form: The operation, made of operations of torch.
        inputs: Its arguments, as they were saved; None for one that there is not.
        gradients: Of its results; None for zeros.

    Returns:
        One for each input; None where none is wanted.
    """
    # One input may depend on another: each is differentiated by as if it stood alone.
    apart = [None if each is None else each.view_as(each) for each in inputs]
    results = [
        (result, gradient)
        for result, gradient in zip(form(*apart), gradients, strict=True)
        if gradient is not None and result.requires_grad
    ]
    wanted = [each for each in apart if each is not None and each.requires_grad]
    if not results or not wanted:
        return (None,) * len(apart)
    outcomes, given = zip(*results, strict=True)
    found = iter(torch.autograd.grad(outcomes, wanted, given, create_graph=True, allow_unused=True))
    return tuple(next(found) if each is not None and each.requires_grad else None for each in apart)
