"""The gated LSTM in C++: all steps of a sequence in one call.

`rmem_cli/ops/native/gates.cpp` computes and differentiates; here is what else torch needs to know of it: the
shapes of its results, and how many operations they take.
"""

from typing import Any, NoReturn

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from rmem_cli.ops.gates.options import (
    GateOptions,
    GateWeights,
    LSTMStates,
    all_biases,
    lstm_blocks,
    with_whole_masters,
)

_AUXILIARIES = ("none", "master", "refine")


def gated_lstm(
    x: Tensor,
    hidden: Tensor,
    cell: Tensor,
    weights: GateWeights,
    options: GateOptions,
    hidden_keep: Tensor | None = None,
    cell_keep: Tensor | None = None,
) -> LSTMStates:
    """One layer of a gated LSTM over a sequence; arguments and result are those of `reference.gated_lstm`."""
    blocks = lstm_blocks(options)
    weights = with_whole_masters(weights, options, blocks)
    bias = all_biases(weights, options, blocks)
    operands = [x.transpose(0, 1), hidden, cell, weights.input, weights.recurrent, bias]
    keep = torch.is_grad_enabled() and any(
        each is not None and each.requires_grad for each in (*operands, weights.gain)
    )
    gain = None if weights.gain is None else weights.gain.contiguous()
    keeps = (None if each is None else each.transpose(0, 1).contiguous() for each in (hidden_keep, cell_keep))
    hiddens, cells, *_ = torch.ops.rmem.gated_lstm(
        *(each.contiguous() for each in operands), gain, *keeps, *_form(options), keep
    )
    return LSTMStates(hiddens.transpose(0, 1), cells.transpose(0, 1))


def register() -> None:
    """Tell torch about the loaded operations."""
    torch.library.register_fake("rmem::gated_lstm", _forward_shapes)
    torch.library.register_fake("rmem::gated_lstm_backward", _backward_shapes)
    torch.library.register_autograd("rmem::gated_lstm_backward", _no_second_derivative)
    register_flop_formula(torch.ops.rmem.gated_lstm)(_flops)
    register_flop_formula(torch.ops.rmem.gated_lstm_backward)(_backward_flops)


def _form(options: GateOptions) -> tuple[int, bool, bool, int]:
    ordered = options.activation == "cumax"
    return _AUXILIARIES.index(options.auxiliary), options.coupled, ordered, options.master_downsize


def _forward_shapes(
    x: Tensor,
    hidden: Tensor,
    cell: Tensor,
    input_weight: Tensor,
    recurrent_weight: Tensor,
    bias: Tensor,
    gain: Tensor | None,
    hidden_keep: Tensor | None,
    cell_keep: Tensor | None,
    auxiliary: int,
    coupled: bool,
    ordered: bool,
    master_downsize: int,
    keep: bool,
) -> tuple[Tensor, ...]:
    time, batch, _ = x.shape
    rows, size = recurrent_weight.shape
    states = [x.new_empty(time, batch, size) for _ in range(2)]
    if not keep:
        return (*states, x.new_empty(0), x.new_empty(0, batch, size), x.new_empty(0), x.new_empty(0))
    normals = time if gain is not None else 0
    zoned = time if cell_keep is not None else 0
    kept = [(time, batch, rows), (zoned, batch, size), (normals, batch, rows), (normals, batch, rows // size)]
    return (*states, *(x.new_empty(shape) for shape in kept))


def _flops(x: torch.Size, hidden: Any, cell: Any, input_weight: torch.Size, *_: Any, **__: Any) -> int:
    """Of the products of a sequence, which are nearly all."""
    time, batch, inputs = x
    return int(2 * time * batch * input_weight[0] * (inputs + hidden[1]))


def _backward_flops(hidden_grads: Any, cell_grads: Any, *operands: Any, **_: Any) -> int:
    """Each product of the forward pass has two gradients."""
    return 2 * _flops(*operands)


def _backward_shapes(
    hidden_grads: Tensor | None,
    cell_grads: Tensor | None,
    x: Tensor,
    hidden: Tensor,
    cell: Tensor,
    input_weight: Tensor,
    recurrent_weight: Tensor,
    gain: Tensor | None,
    hidden_keep: Tensor | None,
    cell_keep: Tensor | None,
    hiddens: Tensor,
    cells: Tensor,
    gates: Tensor,
    new_cells: Tensor,
    normal: Tensor,
    scales: Tensor,
    auxiliary: int,
    coupled: bool,
    ordered: bool,
    master_downsize: int,
    want_x: bool,
    want_weights: bool,
) -> tuple[Tensor, ...]:
    rows, size = recurrent_weight.shape
    return (
        torch.empty_like(x) if want_x else x.new_empty(0),
        torch.empty_like(hidden),
        torch.empty_like(cell),
        x.new_empty(rows, x.shape[2] if want_weights else 0),
        x.new_empty(rows, size if want_weights else 0),
        x.new_empty(rows if want_weights or gain is not None else 0),
        x.new_empty(rows if gain is not None else 0),
    )


def _no_second_derivative(ctx: Any, *gradients: Tensor | None) -> NoReturn:
    raise RuntimeError(
        "the native gated LSTM has no second derivatives; RMEM_NATIVE=off chooses the PyTorch form, which has"
    )
