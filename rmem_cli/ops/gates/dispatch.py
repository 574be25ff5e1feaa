"""Which form of a gated recurrence runs."""

from torch import Tensor

from rmem_cli.ops import autocast
from rmem_cli.ops.gates import fast, native
from rmem_cli.ops.gates.options import GateOptions, GateWeights, LSTMStates
from rmem_cli.ops.native import build


def form(*tensors: Tensor) -> str:
    """`native` where these can be computed with natively, else `fast`."""
    return "native" if build.usable("gates", *tensors) else "fast"


@autocast.in_single_precision
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
    if form(x, hidden, cell, weights.recurrent) == "native":
        return native.gated_lstm(x, hidden, cell, weights, options, hidden_keep, cell_keep)
    return fast.gated_lstm(x, hidden, cell, weights, options, hidden_keep, cell_keep)
