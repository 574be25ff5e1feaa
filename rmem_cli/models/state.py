"""Recurrent state: a flat dict of tensors whose first axis is the batch."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

State = dict[str, Tensor]
MEMORY = "memory"  # the entry of a state that holds memory tokens


def described(shapes: Mapping[str, Sequence[int]]) -> str:
    """Names and shapes in words: `hidden.0 [4, 32], memory.0 [4, 32, 32]`."""
    return ", ".join(f"{name} {list(shape)}" for name, shape in shapes.items()) or "nothing"


def detach(state: State) -> State:
    """The same values, cut off from the graph that made them."""
    return {name: value.detach() for name, value in state.items()}


def on_device(state: State, device: torch.device) -> State:
    """The same values on a device."""
    return {name: value.to(device) for name, value in state.items()}


def select(state: State, rows: Tensor) -> State:
    """The state of the given rows, `[n]` indices into the batch."""
    return {name: value.index_select(0, rows) for name, value in state.items()}


def put(state: State, rows: Tensor, values: State) -> State:
    """`state`, but `values` in the given rows, `[n]` indices into the batch."""
    return {name: value.index_copy(0, rows, values[name]) for name, value in state.items()}


def reset(state: State, initial: State, fresh: Tensor) -> State:
    """`state`, but `initial` in the rows where `fresh [batch]` is true."""
    return {
        # fresh as [batch, 1, ...]
        name: torch.where(fresh.view(-1, *[1] * (value.dim() - 1)), initial[name], value)
        for name, value in state.items()
    }
