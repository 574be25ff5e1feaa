"""The layer-norm LSTM, equation by equation; the README beside this file gives the notation and sources."""

import torch
from torch import Tensor

from rmem_cli.ops.gates.options import LSTMStates, steps_of
from rmem_cli.ops.gates.reference import let_through
from rmem_cli.ops.layer_norm_lstm.options import BLOCKS, LAYER_NORM_EPS, LayerNormLSTMWeights


def normalised(z: Tensor) -> Tensor:
    """Mean zero and variance one over the last axis."""
    centred = z - z.mean(-1, keepdim=True)
    return centred / (centred.square().mean(-1, keepdim=True) + LAYER_NORM_EPS).sqrt()


def update(
    z: Tensor,
    cell: Tensor,
    gate_gain: Tensor,
    gate_shift: Tensor,
    cell_gain: Tensor,
    cell_shift: Tensor,
) -> tuple[Tensor, Tensor]:
    """The new hidden state and the new cell, before zoneout.

    Args:
        z: `[batch, 4 hidden]`, what input, hidden state and bias add up to.
        cell: `[batch, hidden]`, before the step.
        gate_gain: `[4 hidden]`.
        gate_shift: `[4 hidden]`, the forget bias in it.
        cell_gain: `[hidden]`.
        cell_shift: `[hidden]`.
    """
    by_block = (each.chunk(len(BLOCKS), dim=-1) for each in (z, gate_gain, gate_shift))
    let_in, keep, output, candidate = (
        gain * normalised(block) + shift for block, gain, shift in zip(*by_block, strict=True)
    )
    new_cell = torch.sigmoid(keep) * cell + torch.sigmoid(let_in) * torch.tanh(candidate)
    squashed = torch.tanh(cell_gain * normalised(new_cell) + cell_shift)
    return torch.sigmoid(output) * squashed, new_cell


def with_forget_bias(gate_shift: Tensor, forget_bias: float) -> Tensor:
    """The shifts of all gates, the constant of the forget gate among them."""
    let_in, keep, output, candidate = gate_shift.chunk(len(BLOCKS))
    return torch.cat([let_in, keep + forget_bias, output, candidate])


def layer_norm_lstm(
    x: Tensor,
    hidden: Tensor,
    cell: Tensor,
    weights: LayerNormLSTMWeights,
    forget_bias: float,
    hidden_keep: Tensor | None = None,
    cell_keep: Tensor | None = None,
) -> LSTMStates:
    """One layer over a sequence.

    Args:
        x: Inputs, `[batch, time, input]`, of at least one step.
        hidden: Hidden state before the first step, `[batch, hidden]`.
        cell: Cell before the first step, `[batch, hidden]`.
        weights: Of the layer.
        forget_bias: Constant that is added to the forget gate.
        hidden_keep: Zoneout: the share of each new hidden state that is let through, `[batch, time, hidden]`;
            None: all of it.
        cell_keep: That of each new cell, likewise.
    """
    shift = with_forget_bias(weights.gate_shift, forget_bias)
    hiddens, cells = [], []
    keeps = steps_of(hidden_keep, x.shape[1]), steps_of(cell_keep, x.shape[1])
    for x_t, hidden_keep_t, cell_keep_t in zip(x.unbind(1), *keeps, strict=True):
        z = x_t @ weights.input + hidden @ weights.recurrent + weights.bias
        new_hidden, new_cell = update(
            z, cell, weights.gate_gain, shift, weights.cell_gain, weights.cell_shift
        )
        hidden = let_through(hidden, new_hidden, hidden_keep_t)
        cell = let_through(cell, new_cell, cell_keep_t)
        hiddens.append(hidden)
        cells.append(cell)
    return LSTMStates(torch.stack(hiddens, dim=1), torch.stack(cells, dim=1))
