"""The gated recurrences, equation by equation; the README beside this file gives the notation and sources."""

import torch
from torch import Tensor

from rmem_cli.ops.gates.options import (
    GateOptions,
    Gates,
    GateWeights,
    LSTMStates,
    block_sizes,
    cumax,
    gru_blocks,
    layer_norm,
    lstm_blocks,
    steps_of,
)


def refine_gate(forget: Tensor, refine: Tensor) -> Tensor:
    """The effective gate between `forget^2` and `1 - (1 - forget)^2`, at the place that `refine` says."""
    return refine * (1 - (1 - forget) ** 2) + (1 - refine) * forget**2


def master_gate(master: Tensor, ordinary: Tensor, other_master: Tensor) -> Tensor:
    """An effective gate of the ON-LSTM: the ordinary gate acts only where both masters are open."""
    overlap = master * other_master
    return ordinary * overlap + (master - overlap)


def let_through(old: Tensor, new: Tensor, keep: Tensor | None) -> Tensor:
    """The state after zoneout, of which `keep` is the share of the new one."""
    return new if keep is None else keep * new + (1 - keep) * old


def gated_lstm(
    x: Tensor,
    hidden: Tensor,
    cell: Tensor,
    weights: GateWeights,
    options: GateOptions,
    hidden_keep: Tensor | None = None,
    cell_keep: Tensor | None = None,
) -> LSTMStates:
    """One layer of a gated LSTM over a sequence.

    Args:
        x: Inputs, `[batch, time, input]`, of at least one step.
        hidden: Hidden state before the first step, `[batch, hidden]`.
        cell: Cell state before the first step, `[batch, hidden]`.
        weights: The layer's weights, without `candidate_bias`.
        options: The form of the gates.
        hidden_keep: Zoneout: the share of each new hidden state that is let through, `[batch, time, hidden]`:
            zeros and ones in training, one number in evaluation; None: all of it.
        cell_keep: That of each new cell, likewise.
    """
    hiddens, cells = [], []
    hidden_keeps, cell_keeps = steps_of(hidden_keep, x.shape[1]), steps_of(cell_keep, x.shape[1])
    for x_t, hidden_keep_t, cell_keep_t in zip(x.unbind(1), hidden_keeps, cell_keeps, strict=True):
        z = _preactivations(x_t, hidden, weights, options)
        keep, let_in = _lstm_gates(z, options)
        new_cell = keep * cell + let_in * torch.tanh(z["candidate"])
        new_hidden = torch.sigmoid(z["output"]) * torch.tanh(new_cell)
        cell = let_through(cell, new_cell, cell_keep_t)
        hidden = let_through(hidden, new_hidden, hidden_keep_t)
        hiddens.append(hidden)
        cells.append(cell)
    return LSTMStates(torch.stack(hiddens, dim=1), torch.stack(cells, dim=1))


def gated_gru(
    x: Tensor, hidden: Tensor, weights: GateWeights, options: GateOptions, hidden_keep: Tensor | None = None
) -> Tensor:
    """One layer of a gated GRU over a sequence: its hidden states, `[batch, time, hidden]`.

    Args:
        x: Inputs, `[batch, time, input]`, of at least one step.
        hidden: Hidden state before the first step, `[batch, hidden]`.
        weights: The layer's weights, without layer norm.
        options: The form of the update gate; a GRU's input gate is always coupled.
        hidden_keep: Zoneout, as in `gated_lstm`.
    """
    blocks = gru_blocks(options)
    hiddens = []
    for x_t, keep_t in zip(x.unbind(1), steps_of(hidden_keep, x.shape[1]), strict=True):
        from_input = _split(x_t @ weights.input.T, blocks, weights, options)
        from_hidden = _split(hidden @ weights.recurrent.T, blocks, weights, options)
        bias = _biases(weights, options, blocks)
        z = {block: from_input[block] + from_hidden[block] + bias[block] for block in blocks}
        recalled = from_hidden["candidate"]
        if weights.candidate_bias is not None:
            recalled = recalled + weights.candidate_bias
        reset = torch.sigmoid(z["reset"])
        candidate = torch.tanh(from_input["candidate"] + bias["candidate"] + reset * recalled)
        keep = _effective_forget_gate(z, options)
        hidden = let_through(hidden, keep * hidden + (1 - keep) * candidate, keep_t)
        hiddens.append(hidden)
    return torch.stack(hiddens, dim=1)


def _preactivations(x_t: Tensor, hidden: Tensor, weights: GateWeights, options: GateOptions) -> Gates:
    blocks = lstm_blocks(options)
    z = _split(x_t @ weights.input.T + hidden @ weights.recurrent.T, blocks, weights, options)
    if weights.gain is not None:
        gain = _split(weights.gain, blocks, weights, options)
        z = {block: layer_norm(z[block], gain[block].unsqueeze(0)) for block in blocks}
    bias = _biases(weights, options, blocks)
    return {block: z[block] + bias[block] for block in blocks}


def _biases(weights: GateWeights, options: GateOptions, blocks: tuple[str, ...]) -> Gates:
    bias = weights.recurrent.new_zeros(weights.recurrent.shape[0]) if weights.bias is None else weights.bias
    biases = _split(bias, blocks, weights, options)
    if weights.forget_bias is not None:
        biases["forget"] = biases["forget"] + weights.forget_bias
        if options.auxiliary == "refine" and options.refine_bias == "tied":
            biases["forget_auxiliary"] = biases["forget_auxiliary"] - weights.forget_bias
    return biases


def _split(joined: Tensor, blocks: tuple[str, ...], weights: GateWeights, options: GateOptions) -> Gates:
    sizes = block_sizes(blocks, options, weights.recurrent.shape[1])
    return dict(zip(blocks, joined.split_with_sizes(sizes, dim=-1), strict=True))


def _lstm_gates(z: Gates, options: GateOptions) -> tuple[Tensor, Tensor]:
    """How much of the cell stays, and how much of the candidate comes in."""
    if options.coupled:
        keep = _effective_forget_gate(z, options)
        return keep, 1 - keep
    ordered = options.activation == "cumax"
    let_in = 1 - cumax(z["input"]) if ordered else torch.sigmoid(z["input"])
    if options.auxiliary != "master":
        return _effective_forget_gate(z, options), let_in
    let_in = let_in.repeat_interleave(options.master_downsize, dim=-1)
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
    gate = cumax(z) if options.activation == "cumax" else torch.sigmoid(z)
    return gate.repeat_interleave(options.master_downsize, dim=-1)
