"""What a step of the layer-norm LSTM does behind its products, in C++.

`rmem_cli/ops/native/layer_norm_lstm/layer_norm_lstm.cpp` computes and differentiates; here is what else torch
needs to know of it: the shapes of its results, and how many operations they take.
"""

import torch
from torch import Tensor

from rmem_cli.ops.forms import note
from rmem_cli.ops.layer_norm_lstm.options import BLOCKS
from rmem_cli.ops.native.registration import (
    Arguments,
    is_differentiated,
    refuse_second_derivative,
    register_operation,
)


def update(
    z: Tensor,
    hidden: Tensor,
    cell: Tensor,
    norms: tuple[Tensor, ...],
    hidden_keep: Tensor | None = None,
    cell_keep: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Hidden state and cell after a step; arguments and result are those of `fast.update`.

    No gradient reaches what zoneout lets through.
    """
    note("layer_norm_lstm", "native")
    operands = z, hidden, cell, *norms
    keep = is_differentiated(*operands)
    new_hidden, new_cell, *_ = torch.ops.rmem.layer_norm_lstm_update(
        *(each.contiguous() for each in operands), _constant(hidden_keep), _constant(cell_keep), keep
    )
    return new_hidden, new_cell


def register() -> None:
    """Tell torch about the loaded operations."""
    register_operation("layer_norm_lstm_update", _shapes, _no_flops)
    register_operation("layer_norm_lstm_update_backward", _gradient_shapes, _no_flops)
    refuse_second_derivative("layer_norm_lstm_update_backward", "the native layer-norm LSTM")


def _constant(keep: Tensor | None) -> Tensor | None:
    return None if keep is None else keep.detach().contiguous()


def _shapes(given: Arguments) -> tuple[Tensor, ...]:
    empty = given.z.new_empty
    states = torch.empty_like(given.cell), torch.empty_like(given.cell)
    if not given.keep:
        return (*states, empty(0), empty(0), empty(0))
    norms = empty(given.z.shape[0], 2 * (len(BLOCKS) + 1))
    return (*states, torch.empty_like(given.z), torch.empty_like(given.cell), norms)


def _gradient_shapes(given: Arguments) -> tuple[Tensor, ...]:
    weights = given.gate_gain, given.gate_shift, given.cell_gain, given.cell_shift
    return tuple(torch.empty_like(each) for each in (given.z, given.hidden, given.cell, *weights))


def _no_flops(given: Arguments) -> int:
    """Beside those of the products, which are others' affair."""
    del given
    return 0
