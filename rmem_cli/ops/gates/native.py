"""The gated LSTM in C++: all steps of a sequence in one call.

`rmem_cli/ops/native/gates/gates.cpp` computes and differentiates; here is what else torch needs to know of
it: the shapes of its results, and how many operations they take.
"""

import torch
from torch import Tensor

from rmem_cli.ops.forms import note
from rmem_cli.ops.gates.options import (
    GateOptions,
    GateWeights,
    LSTMStates,
    all_biases,
    lstm_blocks,
    with_whole_masters,
)
from rmem_cli.ops.native.registration import (
    Arguments,
    is_differentiated,
    refuse_second_derivative,
    register_operation,
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
    note("gates", "native")
    blocks = lstm_blocks(options)
    weights = with_whole_masters(weights, options, blocks)
    bias = all_biases(weights, options, blocks)
    # x as [time, batch, input]
    operands = (x.transpose(0, 1), hidden, cell, weights.input, weights.recurrent, weights.gain)
    keep = is_differentiated(*operands, bias)
    # In the order of the source: by their names, torch takes ten microseconds longer to read them.
    hiddens, cells, *_ = torch.ops.rmem.gated_lstm(
        *(None if each is None else each.contiguous() for each in operands),
        _time_first(hidden_keep),
        _time_first(cell_keep),
        bias.contiguous(),
        *_choices(options),
        keep,
    )
    return LSTMStates(hiddens.transpose(0, 1), cells.transpose(0, 1))  # [batch, time, hidden]


def register() -> None:
    """Tell torch about the loaded operations."""
    register_operation("gated_lstm", _shapes, _flops)
    register_operation("gated_lstm_backward", _gradient_shapes, _gradient_flops)
    refuse_second_derivative("gated_lstm_backward", "the native gated LSTM")


def _time_first(keep: Tensor | None) -> Tensor | None:
    return None if keep is None else keep.transpose(0, 1).contiguous()  # [time, batch, hidden]


def _choices(options: GateOptions) -> tuple[int, bool, bool, int]:
    ordered = options.activation == "cumax"
    return _AUXILIARIES.index(options.auxiliary), options.coupled, ordered, options.master_downsize


def _shapes(given: Arguments) -> tuple[Tensor, ...]:
    time, batch, _ = given.x.shape
    rows, size = given.recurrent_weight.shape
    empty = given.x.new_empty
    states = [empty(time, batch, size) for _ in range(2)]
    if not given.keep:
        return (*states, empty(0), empty(0, batch, size), empty(0), empty(0))
    normals = time if given.gain is not None else 0
    zoned = time if given.cell_keep is not None else 0
    kept = [(time, batch, rows), (zoned, batch, size), (normals, batch, rows), (normals, batch, rows // size)]
    return (*states, *(empty(shape) for shape in kept))


def _gradient_shapes(given: Arguments) -> tuple[Tensor, ...]:
    rows, size = given.recurrent_weight.shape
    empty = given.x.new_empty
    return (
        torch.empty_like(given.x) if given.want_x else empty(0),
        torch.empty_like(given.hidden),
        torch.empty_like(given.cell),
        empty(rows, given.x.shape[2] if given.want_weights else 0),
        empty(rows, size if given.want_weights else 0),
        empty(rows if given.want_weights or given.gain is not None else 0),
        empty(rows if given.gain is not None else 0),
    )


def _flops(given: Arguments) -> int:
    """Of the products of a sequence, which are nearly all."""
    time, batch, inputs = given.x
    return int(2 * time * batch * given.input_weight[0] * (inputs + given.hidden[1]))


def _gradient_flops(given: Arguments) -> int:
    """Each product of the forward pass has two gradients."""
    return 2 * _flops(given)
