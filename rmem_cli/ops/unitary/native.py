"""EUNN and GORU in C++: all steps of a sequence in one call.

`rmem_cli/ops/native/unitary/unitary.cpp` computes and differentiates; here is what else torch needs to know
of it: the shapes of its results, and how many operations they take.
"""

import torch
from torch import Tensor

from rmem_cli.ops.forms import note
from rmem_cli.ops.native.registration import (
    Arguments,
    is_differentiated,
    refuse_second_derivative,
    register_operation,
)
from rmem_cli.ops.unitary.fast import coefficients
from rmem_cli.ops.unitary.options import EUNNWeights, GORUOptions, GORUWeights, Unitary, UnitaryWeights


def eunn(x: Tensor, hidden: Tensor, weights: EUNNWeights, unitary: Unitary) -> Tensor:
    """One layer of an EUNN over a sequence; arguments and result are those of `reference.eunn`."""
    no_gates = weights.input.new_empty(unitary.size, 0), weights.input.new_empty(0)
    kernels = weights.input, *no_gates, weights.bias
    return _outputs(x, hidden, kernels, weights.unitary, GORUOptions(unitary, False, False), None)


def goru(
    x: Tensor, hidden: Tensor, weights: GORUWeights, options: GORUOptions, keep: Tensor | None = None
) -> Tensor:
    """One layer of a GORU over a sequence; arguments and result are those of `reference.goru`.

    No gradient reaches `keep`.
    """
    return _outputs(x, hidden, weights[:4], weights.unitary, options, keep)


def register() -> None:
    """Tell torch about the loaded operations."""
    register_operation("unitary_rnn", _shapes, _flops)
    register_operation("unitary_rnn_backward", _gradient_shapes, _gradient_flops)
    refuse_second_derivative("unitary_rnn_backward", "the native EUNN or GORU")


def _outputs(
    x: Tensor,
    hidden: Tensor,
    kernels: tuple[Tensor, ...],
    weights: UnitaryWeights,
    options: GORUOptions,
    keep: Tensor | None,
) -> Tensor:
    note("unitary", "native")
    own, other, phases = coefficients(weights, options.unitary)
    rotors = None if phases is None else torch.stack([torch.cos(phases), torch.sin(phases)], dim=1)
    # [time, batch, input]
    given = (x.transpose(0, 1), hidden, *kernels, own, other, rotors)
    operands = [None if each is None else each.contiguous() for each in given]
    keeps = is_differentiated(*operands)
    choices = (options.unitary.fft, options.reset_gate, options.update_gate, keeps)
    outputs, *_ = torch.ops.rmem.unitary_rnn(*operands, _time_first(keep, x, hidden), *choices)
    time_last: Tensor = outputs.transpose(0, 1)  # [batch, time, size]
    return time_last


def _time_first(keep: Tensor | None, x: Tensor, hidden: Tensor) -> Tensor | None:
    if keep is None:
        return None
    # [time, batch, size]
    return keep.detach().expand(*x.shape[:2], hidden.shape[1]).transpose(0, 1).contiguous()


def _shapes(given: Arguments) -> tuple[Tensor, ...]:
    time, batch, _ = given.x.shape
    width, gate_row = given.hidden.shape[1], given.recurrent.shape[1]
    apart = given.rotors is not None or given.update_gate or given.keep is not None
    empty = given.x.new_empty
    return (
        empty(time, batch, width),
        empty(time, batch, width) if given.keeps and apart else empty(0),
        empty(time, batch, gate_row) if given.keeps and gate_row else empty(0),
    )


def _gradient_shapes(given: Arguments) -> tuple[Tensor, ...]:
    inputs, row = given.input.shape
    size, gate_row = given.recurrent.shape
    empty = given.x.new_empty
    return (
        empty(given.x.shape if given.want_x else (0,)),
        empty(given.hidden.shape),
        empty(inputs if given.want_weights else 0, row),
        empty(size if given.want_weights else 0, gate_row),
        empty(gate_row),
        empty(size),
        empty(given.own.shape),
        empty(given.other.shape),
        empty((0,) if given.rotors is None else given.rotors.shape),
    )


def _flops(given: Arguments) -> int:
    """Of the products of a sequence, and of its layers."""
    time, batch, inputs = given.x
    layers, size = given.own
    products = inputs * given.input[1] + size * given.recurrent[1]
    turned = layers * 2 * size if given.rotors is None else layers * 6 * size
    return int(2 * time * batch * (products + turned))


def _gradient_flops(given: Arguments) -> int:
    """Each product of the forward pass has two gradients, and so has each layer."""
    return 2 * _flops(given)
