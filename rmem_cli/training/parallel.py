"""What processes that train a run together tell one another: gradients, and the rows of states."""

from collections.abc import Sequence
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from rmem_cli.world import World


def parted(value: Any, rows: slice) -> Any:
    """Some rows of all tensors in dicts and lists."""
    if isinstance(value, Tensor):
        return value[rows]
    if isinstance(value, dict):
        return {key: parted(item, rows) for key, item in value.items()}
    return [parted(item, rows) for item in value] if isinstance(value, list) else value


def joined(values: Sequence[Any]) -> Any:
    """The rows of several that are alike, below one another on the CPU: of all tensors in dicts and lists."""
    first = values[0]
    if isinstance(first, Tensor):
        return torch.cat([value.cpu() for value in values])
    if isinstance(first, dict):
        return {key: joined([value[key] for value in values]) for key in first}
    return [joined(items) for items in zip(*values, strict=True)] if isinstance(first, list) else first


def add_gradients(world: World, parameters: Sequence[Tensor], sums: Tensor) -> Tensor:
    """Replace gradients by their sums over all processes, in one reduction.

    Args:
        world: The processes.
        parameters: All of the model's; one that has a gradient nowhere keeps none.
        sums: `[n]`, further numbers to add up.

    Returns:
        `[n]`, the sums.
    """
    if world.size == 1:
        return sums
    has = world.any([parameter.grad is not None for parameter in parameters])
    used = [parameter for parameter, some in zip(parameters, has, strict=True) if some]
    pieces = (torch.zeros_like(each) if each.grad is None else each.grad for each in used)
    flat = torch.cat([piece.flatten() for piece in chain(pieces, [sums])])
    world.add(flat)
    *gradients, sums = torch.split(flat, [*(each.numel() for each in used), len(sums)])
    for parameter, gradient in zip(used, gradients, strict=True):
        parameter.grad = gradient.view_as(parameter)
    return sums
