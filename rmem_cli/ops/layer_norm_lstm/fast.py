"""The layer-norm LSTM as it runs; `reference.py` holds the equations that all of this equals."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.compiler import is_compiling

from rmem_cli.ops import autocast
from rmem_cli.ops.differentiation import recorded_gradients
from rmem_cli.ops.forms import note
from rmem_cli.ops.gates.fast import let_through
from rmem_cli.ops.gates.options import LSTMStates, steps_of
from rmem_cli.ops.layer_norm_lstm import reference
from rmem_cli.ops.layer_norm_lstm.options import BLOCKS, LAYER_NORM_EPS, LayerNormLSTMWeights
from rmem_cli.ops.product.steps import StepMatrix

_SIGMOIDS = BLOCKS.index("candidate")  # the blocks before it


Update = Callable[..., tuple[Tensor, Tensor]]
"""Takes what `update` takes, and gives what it gives."""


def update(
    z: Tensor,
    hidden: Tensor,
    cell: Tensor,
    norms: tuple[Tensor, ...],
    hidden_keep: Tensor | None = None,
    cell_keep: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Hidden state and cell after a step, `[batch, hidden]` each.

    Args:
        z: What input, hidden state and bias add up to, `[batch, 4 hidden]`.
        hidden: Before the step, `[batch, hidden]`.
        cell: Before the step, `[batch, hidden]`.
        norms: Gain and shift of the gates, gain and shift of the cell; see `reference.update`.
        hidden_keep: What zoneout lets through of the new hidden state, `[batch, hidden]`.
        cell_keep: And of the new cell.
    """
    note("layer_norm_lstm", "fast")
    # `torch.compile` finds the gradients of the equations, and joins operations, itself.
    form = reference.update if is_compiling() else _Update.apply
    new_hidden, new_cell = form(z, cell, *norms)
    return let_through(hidden, new_hidden, hidden_keep), let_through(cell, new_cell, cell_keep)


class Cell:
    """One layer, for many steps.

    Args:
        weights: Of the layer.
        forget_bias: Constant that is added to the forget gate.
        update: What a step does behind its products.
    """

    def __init__(self, weights: LayerNormLSTMWeights, forget_bias: float, update: Update = update) -> None:
        self._update = update
        self._weights = weights
        self._input = StepMatrix(weights.input)
        self._recurrent = StepMatrix(weights.recurrent)
        self._norms = (
            weights.gate_gain,
            reference.with_forget_bias(weights.gate_shift, forget_bias),
            weights.cell_gain,
            weights.cell_shift,
        )

    def of_inputs(self, x: Tensor) -> Tensor:
        """What the inputs `[batch, time, input]` of known steps contribute, `[batch, time, 4 hidden]`."""
        # [time * batch, input] to [time * batch, 4 hidden]
        flat = torch.addmm(self._weights.bias, x.transpose(0, 1).flatten(0, 1), self._weights.input)
        return flat.view(x.shape[1], x.shape[0], flat.shape[1]).transpose(0, 1)  # [batch, time, 4 hidden]

    @autocast.in_single_precision
    def of_input(self, x: Tensor) -> Tensor:
        """What the input `[batch, input]` of one step contributes, `[batch, 4 hidden]`."""
        return self._input.add_to(self._weights.bias, x)

    @autocast.in_single_precision
    def step(
        self,
        of_input: Tensor,
        hidden: Tensor,
        cell: Tensor,
        hidden_keep: Tensor | None = None,
        cell_keep: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Hidden state and cell after a step.

        `of_input [batch, 4 hidden]` is what the input contributes; the others, and the result, are as those
        of `update`.
        """
        z = self._recurrent.add_to(of_input, hidden)
        return self._update(z, hidden, cell, self._norms, hidden_keep, cell_keep)


@autocast.in_single_precision
def layer_norm_lstm(
    x: Tensor,
    hidden: Tensor,
    cell: Tensor,
    weights: LayerNormLSTMWeights,
    forget_bias: float,
    hidden_keep: Tensor | None = None,
    cell_keep: Tensor | None = None,
    *,
    update: Update = update,
) -> LSTMStates:
    """One layer over a sequence; arguments and result are those of `reference.layer_norm_lstm`.

    `update` is what a step does behind its products.
    """
    layer = Cell(weights, forget_bias, update)
    hiddens, cells = [], []
    keeps = steps_of(hidden_keep, x.shape[1]), steps_of(cell_keep, x.shape[1])
    for of_input, *keep in zip(layer.of_inputs(x).unbind(1), *keeps, strict=True):
        hidden, cell = layer.step(of_input, hidden, cell, *keep)
        hiddens.append(hidden)
        cells.append(cell)
    return LSTMStates(torch.stack(hiddens, dim=1), torch.stack(cells, dim=1))


class _Update(torch.autograd.Function):
    """`reference.update`, its gradients written by hand."""

    @staticmethod
    def forward(
        ctx: Any,
        z: Tensor,
        cell: Tensor,
        gate_gain: Tensor,
        gate_shift: Tensor,
        cell_gain: Tensor,
        cell_shift: Tensor,
    ) -> tuple[Tensor, Tensor]:
        by_block = (len(BLOCKS), cell.shape[-1])
        normal, scale = _normalised(z.view(-1, *by_block))  # [batch, block, hidden]
        # [block, hidden]
        gates = torch.addcmul(gate_shift.view(by_block), normal, gate_gain.view(by_block))
        gates[:, :_SIGMOIDS].sigmoid_()
        gates[:, _SIGMOIDS].tanh_()
        let_in, keep, output, candidate = gates.unbind(1)
        new_cell = torch.addcmul(keep * cell, let_in, candidate)
        cell_normal, cell_scale = _normalised(new_cell)
        squashed = torch.addcmul(cell_shift, cell_normal, cell_gain).tanh_()
        ctx.save_for_backward(
            z, cell, gate_gain, gate_shift, cell_gain, cell_shift,
            normal, scale, gates, cell_normal, cell_scale, squashed,
        )  # fmt: skip
        return output * squashed, new_cell

    @staticmethod
    @autocast.as_it_is
    def backward(ctx: Any, hidden_grad: Tensor, cell_grad: Tensor) -> tuple[Tensor | None, ...]:
        *inputs, normal, scale, gates, cell_normal, cell_scale, squashed = ctx.saved_tensors
        if torch.is_grad_enabled():
            return recorded_gradients(reference.update, inputs, (hidden_grad, cell_grad))
        z, cell, gate_gain, _, cell_gain, _ = inputs
        let_in, keep, output, candidate = gates.unbind(1)
        of_squashed = hidden_grad * output * (1 - squashed * squashed)
        cell_grad = cell_grad + _through_norm(of_squashed * cell_gain, cell_normal, cell_scale)
        grads = torch.empty_like(gates)
        torch.mul(cell_grad, candidate, out=grads[:, 0])
        torch.mul(cell_grad, cell, out=grads[:, 1])
        torch.mul(hidden_grad, squashed, out=grads[:, 2])
        sigmoids = gates[:, :_SIGMOIDS]
        grads[:, :_SIGMOIDS].mul_(sigmoids - sigmoids * sigmoids)
        torch.mul(cell_grad * let_in, 1 - candidate * candidate, out=grads[:, _SIGMOIDS])
        # [block, hidden]
        z_grad = _through_norm(grads * gate_gain.view(gates.shape[1:]), normal, scale)
        return (
            z_grad.view(z.shape),  # [batch, 4 hidden]
            cell_grad * keep,
            (grads * normal).sum(0).flatten(),  # [4 hidden]
            grads.sum(0).flatten(),  # [4 hidden]
            (of_squashed * cell_normal).sum(0),
            of_squashed.sum(0),
        )


def _normalised(z: Tensor) -> tuple[Tensor, Tensor]:
    """`z` normalised over its last axis, and by what that has scaled it."""
    normal, _, scale = torch.native_layer_norm(z, z.shape[-1:], None, None, LAYER_NORM_EPS)
    return normal, scale


def _through_norm(grad: Tensor, normal: Tensor, scale: Tensor) -> Tensor:
    """The gradient of what was normalised from that of the result."""
    size = normal.shape[-1]
    along = (grad * normal).sum(-1, keepdim=True).div_(size)
    return (grad - torch.addcmul(grad.mean(-1, keepdim=True), along, normal)).mul_(scale)
