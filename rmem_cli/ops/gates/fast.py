"""The gated recurrences as they run.

The inputs of all steps are projected in one product, with every bias in it. Where all gates are sigmoids, the
loop over the steps and its backward pass are one function: automatic differentiation sees one operation
instead of a dozen per step, and only the gates, the cells and the hidden states are kept. (`torch.compile`,
which joins operations itself, is given them one by one.) The README beside this file derives the backward
pass; `reference.py` holds the equations that all of this equals.
"""

from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.compiler import is_compiling

from rmem_cli.ops import autocast
from rmem_cli.ops.differentiation import recorded_gradients
from rmem_cli.ops.forms import note
from rmem_cli.ops.gates.options import (
    GateOptions,
    Gates,
    GateWeights,
    LSTMStates,
    all_biases,
    cumax,
    gru_blocks,
    layer_norm,
    lstm_blocks,
    steps_of,
    with_whole_masters,
)

# Steps whose local derivatives are computed together in the backward pass: few enough to stay in the cache.
_CHUNK = 16


def refine_gate(forget: Tensor, refine: Tensor) -> Tensor:
    """The effective gate between `forget^2` and `1 - (1 - forget)^2`, at the place that `refine` says."""
    square = forget * forget
    return torch.addcmul(square, refine, forget - square, value=2)


def let_through(old: Tensor, new: Tensor, keep: Tensor | None) -> Tensor:
    """The state after zoneout, of which `keep` is the share of the new one."""
    return new if keep is None else torch.lerp(old, new, keep)


def shared_cumax(x: Tensor, downsize: int) -> Tensor:
    """Cumax of an ordered master, each of whose units stands `downsize` times beside itself."""
    if downsize == 1:
        return cumax(x)
    return cumax(x[..., ::downsize]).repeat_interleave(downsize, dim=-1)


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
    note("gates", "fast")
    x = x.transpose(0, 1)  # [time, batch, input]
    blocks = lstm_blocks(options)
    weights = with_whole_masters(weights, options, blocks)
    bias = all_biases(weights, options, blocks)
    if options.activation == "cumax" or weights.gain is not None or is_compiling():
        matrices = (weights.input, weights.recurrent)
        states = _stepwise(x, hidden, cell, *matrices, bias, weights.gain, options, hidden_keep, cell_keep)
    else:
        operands = (x, hidden, cell, weights.input, weights.recurrent, bias, options, hidden_keep, cell_keep)
        states = _Recurrence.apply(*operands)  # type: ignore[no-untyped-call]
    hiddens, cells = states
    return LSTMStates(hiddens.transpose(0, 1), cells.transpose(0, 1))  # [batch, time, hidden]


@autocast.in_single_precision
def gated_gru(
    x: Tensor, hidden: Tensor, weights: GateWeights, options: GateOptions, hidden_keep: Tensor | None = None
) -> Tensor:
    """One layer of a gated GRU over a sequence; arguments and result are those of `reference.gated_gru`."""
    note("gates", "fast")
    blocks = gru_blocks(options)
    size = hidden.shape[-1]
    weights = with_whole_masters(weights, options, blocks)
    # [time, batch, k hidden]
    projected = _project(x.transpose(0, 1), weights.input, all_biases(weights, options, blocks))
    recurrent = weights.recurrent.t()
    gate_bias = recurrent.new_zeros(recurrent.shape[1] - size)
    candidate_bias = weights.candidate_bias if weights.candidate_bias is not None else gate_bias[:size]
    recurrent_bias = torch.cat([gate_bias, candidate_bias])
    hiddens = []
    from_inputs = (part.unbind(0) for part in _last_block(projected, size))
    for gates_x, candidate_x, keep in zip(*from_inputs, steps_of(hidden_keep, len(projected)), strict=True):
        gates_h, candidate_h = _last_block(torch.addmm(recurrent_bias, hidden, recurrent), size)
        joined = gates_x + gates_h
        opened = dict(zip(blocks[:-1], torch.sigmoid(joined).chunk(len(blocks) - 1, dim=-1), strict=True))
        if options.activation == "cumax":
            opened["forget"] = shared_cumax(joined[:, :size], options.master_downsize)
        candidate = torch.tanh(torch.addcmul(candidate_x, opened["reset"], candidate_h))
        new_hidden = torch.lerp(candidate, hidden, _effective_forget_gate(opened, options))
        hidden = let_through(hidden, new_hidden, keep)
        hiddens.append(hidden)
    return torch.stack(hiddens).transpose(0, 1)  # [batch, time, hidden]


def _project(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """`x [time, batch, input]` times the weights, in one product for all steps."""
    time, batch, _ = x.shape
    # [time, batch, k hidden]
    return torch.addmm(bias, x.flatten(0, 1), weight.t()).view(time, batch, weight.shape[0])


def _last_block(joined: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """All blocks but the last, and the last."""
    return joined[..., :-size], joined[..., -size:]


def _stepwise(
    x: Tensor,
    hidden: Tensor,
    cell: Tensor,
    input_weight: Tensor,
    recurrent_weight: Tensor,
    bias: Tensor,
    gain: Tensor | None,
    options: GateOptions,
    hidden_keep: Tensor | None,
    cell_keep: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """The steps of an LSTM of any gates, differentiated automatically; everything is time first."""
    blocks = lstm_blocks(options)
    gain = None if gain is None else gain.view(len(blocks), -1)  # [k, hidden]
    projected = _project(x, input_weight, bias if gain is None else torch.zeros_like(bias))
    recurrent = recurrent_weight.t()
    hiddens, cells = [], []
    keeps = steps_of(hidden_keep, len(projected)), steps_of(cell_keep, len(projected))
    for projected_t, hidden_keep_t, cell_keep_t in zip(projected.unbind(0), *keeps, strict=True):
        joined = torch.addmm(projected_t, hidden, recurrent)
        if gain is not None:
            joined = layer_norm(joined, gain) + bias
        gates = _opened(dict(zip(blocks, joined.chunk(len(blocks), dim=-1), strict=True)), options)
        new_cell = _new_cell(gates, cell, options)
        hidden = let_through(hidden, gates["output"] * torch.tanh(new_cell), hidden_keep_t)
        cell = let_through(cell, new_cell, cell_keep_t)
        hiddens.append(hidden)
        cells.append(cell)
    return torch.stack(hiddens), torch.stack(cells)


def _opened(z: Gates, options: GateOptions) -> Gates:
    gates = {
        block: torch.tanh(each) if block == "candidate" else torch.sigmoid(each) for block, each in z.items()
    }
    if options.activation == "cumax":
        gates["forget"] = shared_cumax(z["forget"], options.master_downsize)
        if not options.coupled:
            gates["input"] = 1 - shared_cumax(z["input"], options.master_downsize)
    return gates


def _new_cell(gates: Gates, cell: Tensor, options: GateOptions) -> Tensor:
    """The cell after a step: elementwise in the gates, all after their activation, and the cell before it."""
    candidate = gates["candidate"]
    if options.coupled:
        return torch.lerp(candidate, cell, _effective_forget_gate(gates, options))
    if options.auxiliary != "master":
        return torch.addcmul(_effective_forget_gate(gates, options) * cell, gates["input"], candidate)
    forget, let_in = gates["forget"], gates["input"]
    overlap = forget * let_in
    keep = torch.addcmul(forget - overlap, gates["forget_auxiliary"], overlap)
    let_in = torch.addcmul(let_in - overlap, gates["input_auxiliary"], overlap)
    return torch.addcmul(keep * cell, let_in, candidate)


def _effective_forget_gate(gates: Gates, options: GateOptions) -> Tensor:
    """Of coupled gates, and of those that no master modifies."""
    forget = gates["forget"]
    if options.auxiliary == "none":
        return forget
    if options.auxiliary == "refine":
        return refine_gate(forget, gates["forget_auxiliary"])
    square = forget * forget
    return torch.addcmul(square, gates["forget_auxiliary"], forget - square)


class _Recurrence(torch.autograd.Function):
    """The steps of an LSTM whose gates are all sigmoids; everything is time first."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        hidden: Tensor,
        cell: Tensor,
        input_weight: Tensor,
        recurrent_weight: Tensor,
        bias: Tensor,
        options: GateOptions,
        hidden_keep: Tensor | None,
        cell_keep: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        blocks, size = lstm_blocks(options), hidden.shape[-1]
        gates = _project(x, input_weight, bias)
        recurrent = recurrent_weight.t()
        hiddens, cells = [hidden], [cell]
        keeps = steps_of(hidden_keep, len(gates)), steps_of(cell_keep, len(gates))
        for joined, hidden_keep_t, cell_keep_t in zip(gates.unbind(0), *keeps, strict=True):
            joined.addmm_(hidden, recurrent)
            joined[:, : -2 * size].sigmoid_()
            joined[:, -2 * size : -size].tanh_()
            joined[:, -size:].sigmoid_()
            opened = dict(zip(blocks, joined.chunk(len(blocks), dim=1), strict=True))
            new_cell = _new_cell(opened, cell, options)
            hidden = let_through(hidden, opened["output"] * torch.tanh(new_cell), hidden_keep_t)
            cell = let_through(cell, new_cell, cell_keep_t)
            hiddens.append(hidden)
            cells.append(cell)
        all_hidden, all_cells = torch.stack(hiddens), torch.stack(cells)
        ctx.options = options
        inputs = (x, hiddens[0], cells[0], input_weight, recurrent_weight, bias)
        ctx.save_for_backward(*inputs, gates, all_hidden, all_cells, hidden_keep, cell_keep)
        return all_hidden[1:], all_cells[1:]

    @staticmethod
    @autocast.as_it_is
    def backward(ctx: Any, hidden_grads: Tensor, cell_grads: Tensor) -> tuple[Tensor | None, ...]:
        *inputs, gates, hiddens, cells, hidden_keep, cell_keep = ctx.saved_tensors
        keeps = (hidden_keep, cell_keep)
        if torch.is_grad_enabled():
            form = partial(
                _stepwise, gain=None, options=ctx.options, hidden_keep=hidden_keep, cell_keep=cell_keep
            )
            return *recorded_gradients(form, inputs, (hidden_grads, cell_grads)), None, None, None
        x, _, _, input_weight, recurrent_weight, _ = inputs
        gate_grads, hidden_grad, cell_grad = _gate_gradients(
            gates, cells, recurrent_weight, hidden_grads, cell_grads, ctx.options, *keeps
        )
        flat = gate_grads.flatten(0, 1)  # [time * batch, k hidden]
        x_grad = None
        if ctx.needs_input_grad[0]:
            x_grad = (flat @ input_weight).view(x.shape)  # [time, batch, input]
        # Transposed first: a product with few rows is much faster than one with few columns.
        input_grad = (x.flatten(0, 1).t() @ flat).t()  # [k hidden, input]
        recurrent_grad = (hiddens[:-1].flatten(0, 1).t() @ flat).t()  # [k hidden, hidden]
        return x_grad, hidden_grad, cell_grad, input_grad, recurrent_grad, flat.sum(0), None, None, None


def _gate_gradients(
    gates: Tensor,
    cells: Tensor,
    recurrent_weight: Tensor,
    hidden_grads: Tensor,
    cell_grads: Tensor,
    options: GateOptions,
    hidden_keep: Tensor | None,
    cell_keep: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of all pre-activations `[time, batch, k hidden]`, of the first hidden state and the first
    cell.

    Args:
        gates: The gates of all steps after their activations, `[time, batch, k hidden]`.
        cells: The cells before, between and after the steps, `[time + 1, batch, hidden]`.
        recurrent_weight: `[k hidden, hidden]`.
        hidden_grads: Gradients that the hidden states get from outside, `[time, batch, hidden]`.
        cell_grads: Those that the cells get.
        options: The form of the gates.
        hidden_keep: What zoneout lets through of the hidden states, `[batch, time, hidden]`.
        cell_keep: And of the cells.
    """
    time, size = len(gates), cells.shape[-1]
    gradients = torch.empty_like(gates)
    zero = torch.zeros_like(cells[0])
    hidden_before = [zero, *hidden_grads.unbind(0)]
    cell_before = [zero, *cell_grads.unbind(0)]
    hidden_grad, cell_grad = hidden_before[-1], cell_before[-1]
    hidden_keeps, cell_keeps = steps_of(hidden_keep, time), steps_of(cell_keep, time)
    for end in range(time, 0, -_CHUNK):
        start = max(0, end - _CHUNK)
        factors = _by_block(gradients[start:end], size)
        through_cell, through_hidden = _local_derivatives(
            _by_block(gates[start:end], size), cells[start : end + 1], factors, options, cell_keep is not None
        )
        for step in reversed(range(start, end)):
            factor = factors[step - start]
            hidden_grad, past_hidden = _parted(hidden_grad, hidden_before[step], hidden_keeps[step])
            cell_grad, past_cell = _parted(cell_grad, cell_before[step], cell_keeps[step])
            cell_grad = torch.addcmul(cell_grad, hidden_grad, through_hidden[step - start])
            factor[:, :-1].mul_(cell_grad.unsqueeze(1))
            factor[:, -1].mul_(hidden_grad)
            hidden_grad = torch.addmm(past_hidden, gradients[step], recurrent_weight)
            cell_grad = torch.addcmul(past_cell, cell_grad, through_cell[step - start])
    return gradients, hidden_grad, cell_grad


def _parted(grad: Tensor, grad_before: Tensor, keep: Tensor | None) -> tuple[Tensor, Tensor]:
    """The gradient of a new state from that of the state after zoneout, and the old state's with the rest."""
    if keep is None:
        return grad, grad_before
    return keep * grad, torch.addcmul(grad_before, 1 - keep, grad)


def _by_block(joined: Tensor, size: int) -> Tensor:
    return joined.view(*joined.shape[:-1], joined.shape[-1] // size, size)  # [..., k, size]


def _local_derivatives(
    gates: Tensor, cells: Tensor, factors: Tensor, options: GateOptions, zoned: bool
) -> tuple[Tensor, Tensor]:
    """The derivatives within each of some steps, which do not depend on other steps' gradients.

    Args:
        gates: After their activations, `[steps, batch, k, hidden]`.
        cells: Before, between and after the steps, `[steps + 1, batch, hidden]`.
        factors: Is filled with the derivatives by the pre-activations: of the new cell, and in the last
            block, the output gate's, of the new hidden state. As `gates`.
        options: The form of the gates.
        zoned: Whether zoneout acts on the cells: those after the steps are then not the new ones.

    Returns:
        The derivatives of the new cell by the old one, and of the hidden state by the new cell.
    """
    with torch.enable_grad():
        *opened, before = [
            each.detach().requires_grad_() for each in (*gates[:, :, :-1].unbind(2), cells[:-1])
        ]
        after = _new_cell(dict(zip(lstm_blocks(options)[:-1], opened, strict=True)), before, options)
    # Elementwise: one backward pass yields the derivatives of every element.
    *by_gate, through_cell = torch.autograd.grad(after, [*opened, before], torch.ones_like(after))
    for block, derivative in enumerate(by_gate):
        is_candidate = block == len(by_gate) - 1
        gate = gates[:, :, block]
        slope = 1 - gate * gate if is_candidate else gate - gate * gate
        torch.mul(derivative, slope, out=factors[:, :, block])
    squashed, output = torch.tanh(after.detach() if zoned else cells[1:]), gates[:, :, -1]
    torch.mul(squashed, output - output * output, out=factors[:, :, -1])
    return through_cell, output * (1 - squashed * squashed)
