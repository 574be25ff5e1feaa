"""Which form of the layer-norm LSTM runs."""

from torch import Tensor

from rmem_cli.ops.gates.options import LSTMStates
from rmem_cli.ops.layer_norm_lstm import fast, native
from rmem_cli.ops.layer_norm_lstm.options import LayerNormLSTMWeights
from rmem_cli.ops.native import build


def form(*tensors: Tensor) -> str:
    """`native` where these can be computed with natively, else `fast`."""
    return "native" if build.usable("layer_norm_lstm", *tensors) else "fast"


def cell(weights: LayerNormLSTMWeights, forget_bias: float) -> fast.Cell:
    """One layer, for many steps; arguments are those of `fast.Cell`."""
    return fast.Cell(weights, forget_bias, _update(weights.recurrent))


def layer_norm_lstm(
    x: Tensor,
    hidden: Tensor,
    cell: Tensor,
    weights: LayerNormLSTMWeights,
    forget_bias: float,
    hidden_keep: Tensor | None = None,
    cell_keep: Tensor | None = None,
) -> LSTMStates:
    """One layer over a sequence; arguments and result are those of `reference.layer_norm_lstm`."""
    update = _update(x, hidden, cell, weights.recurrent)
    return fast.layer_norm_lstm(x, hidden, cell, weights, forget_bias, hidden_keep, cell_keep, update=update)


def _update(*tensors: Tensor) -> fast.Update:
    return native.update if form(*tensors) == "native" else fast.update
