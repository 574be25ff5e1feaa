"""The gated recurrences, equation by equation; the README beside this file gives the notation and sources."""

import torch
from torch import Tensor

from rmem_cli.ops.gates.options import (
    GateOptions,
    Gates,
    GateWeights,
    LSTMStates,
    cumax,
    gru_blocks,
    layer_norm,
    lstm_blocks,
)


def refine_gate(forget: Tensor, refine: Tensor) -> Tensor:
    """The effective gate between `forget^2` and `1 - (1 - forget)^2`, at the place that `refine` says."""
    return refine * (1 - (1 - forget) ** 2) + (1 - refine) * forget**2


def master_gate(master: Tensor, ordinary: Tensor, other_master: Tensor) -> Tensor:
    """An effective gate of the ON-LSTM: the ordinary gate acts only where both masters are open."""
    overlap = master * other_master
    return ordinary * overlap + (master - overlap)


def gated_lstm(
    x: Tensor, hidden: Tensor, cell: Tensor, weights: GateWeights, options: GateOptions
) -> LSTMStates:
    """One layer of a gated LSTM over a sequence.

    Args:
        x: Inputs, `[batch, time, input]`, of at least one step.
        hidden: Hidden state before the first step, `[batch, hidden]`.
        cell: Cell state before the first step, `[batch, hidden]`.
        weights: The layer's weights, without `candidate_bias`.
        options: The form of the gates.
    """
    hiddens, cells = [], []
    for x_t in x.unbind(1):
        z = _preactivations(x_t, hidden, weights, options)
        keep, let_in = _lstm_gates(z, options)
        cell = keep * cell + let_in * torch.tanh(z["candidate"])
        hidden = torch.sigmoid(z["output"]) * torch.tanh(cell)
        hiddens.append(hidden)
        cells.append(cell)
    return LSTMStates(torch.stack(hiddens, dim=1), torch.stack(cells, dim=1))


def gated_gru(x: Tensor, hidden: Tensor, weights: GateWeights, options: GateOptions) -> Tensor:
    """One layer of a gated GRU over a sequence: its hidden states, `[batch, time, hidden]`.

    Args:
        x: Inputs, `[batch, time, input]`, of at least one step.
        hidden: Hidden state before the first step, `[batch, hidden]`.
        weights: The layer's weights, without layer norm.
        options: The form of the update gate; a GRU's input gate is always coupled.
    """
    blocks = gru_blocks(options)
    hiddens = []
    for x_t in x.unbind(1):
        from_input = _split(x_t @ weights.input.T, blocks)
        from_hidden = _split(hidden @ weights.recurrent.T, blocks)
        bias = _biases(weights, options, blocks)
        z = {block: from_input[block] + from_hidden[block] + bias[block] for block in blocks}
        recalled = from_hidden["candidate"]
        if weights.candidate_bias is not None:
            recalled = recalled + weights.candidate_bias
        reset = torch.sigmoid(z["reset"])
        candidate = torch.tanh(from_input["candidate"] + bias["candidate"] + reset * recalled)
        keep = _effective_forget_gate(z, options)
        hidden = keep * hidden + (1 - keep) * candidate
        hiddens.append(hidden)
    return torch.stack(hiddens, dim=1)


def _preactivations(x_t: Tensor, hidden: Tensor, weights: GateWeights, options: GateOptions) -> Gates:
    blocks = lstm_blocks(options)
    joined = x_t @ weights.input.T + hidden @ weights.recurrent.T
    if weights.gain is not None:
        joined = layer_norm(joined, weights.gain.view(len(blocks), -1))
    bias = _biases(weights, options, blocks)
    return {block: z + bias[block] for block, z in _split(joined, blocks).items()}


def _biases(weights: GateWeights, options: GateOptions, blocks: tuple[str, ...]) -> Gates:
    bias = weights.recurrent.new_zeros(weights.recurrent.shape[0]) if weights.bias is None else weights.bias
    biases = _split(bias, blocks)
    if weights.forget_bias is not None:
        biases["forget"] = biases["forget"] + weights.forget_bias
        if options.auxiliary == "refine" and options.refine_bias == "tied":
            biases["forget_auxiliary"] = biases["forget_auxiliary"] - weights.forget_bias
    return biases


def _split(joined: Tensor, blocks: tuple[str, ...]) -> Gates:
    return dict(zip(blocks, joined.chunk(len(blocks), dim=-1), strict=True))


def _lstm_gates(z: Gates, options: GateOptions) -> tuple[Tensor, Tensor]:
    """How much of the cell stays, and how much of the candidate comes in."""
    if options.coupled:
        keep = _effective_forget_gate(z, options)
        return keep, 1 - keep
    ordered = options.activation == "cumax"
    let_in = 1 - cumax(z["input"]) if ordered else torch.sigmoid(z["input"])
    if options.auxiliary != "master":
        return _effective_forget_gate(z, options), let_in
    forget = _main_gate(z["forget"], options)
    keep = master_gate(forget, torch.sigmoid(z["forget_auxiliary"]), let_in)
    return keep, master_gate(let_in, torch.sigmoid(z["input_auxiliary"]), forget)


def _effective_forget_gate(z: Gates, options: GateOptions) -> Tensor:
    forget = _main_gate(z["forget"], options)
    if options.auxiliary == "none":
        return forget
    auxiliary = torch.sigmoid(z["forget_auxiliary"])
    if options.auxiliary == "refine":
        return refine_gate(forget, auxiliary)
    return master_gate(forget, auxiliary, 1 - forget)


def _main_gate(z: Tensor, options: GateOptions) -> Tensor:
    return cumax(z) if options.activation == "cumax" else torch.sigmoid(z)
