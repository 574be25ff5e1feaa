"""What a layer-norm LSTM is made of."""

from typing import NamedTuple

from torch import Tensor

LAYER_NORM_EPS = 1e-3
BLOCKS = ("input", "forget", "output", "candidate")


class LayerNormLSTMWeights(NamedTuple):
    """Weights of one layer; the four blocks of `hidden` columns stand in the order of `BLOCKS`.

    Attributes:
        input: `[input, 4 hidden]`, multiplies the input.
        recurrent: `[hidden, 4 hidden]`, multiplies the hidden state.
        bias: `[4 hidden]`, added before the norm.
        gate_gain: `[4 hidden]`, of the norm of each block.
        gate_shift: `[4 hidden]`, added after the norm.
        cell_gain: `[hidden]`, of the norm of the cell.
        cell_shift: `[hidden]`, added after it.
    """

    input: Tensor
    recurrent: Tensor
    bias: Tensor
    gate_gain: Tensor
    gate_shift: Tensor
    cell_gain: Tensor
    cell_shift: Tensor
