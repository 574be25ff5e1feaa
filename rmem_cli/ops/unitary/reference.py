"""EUNN and GORU, equation by equation; the README beside this file gives the notation and sources."""

import torch
from torch import Tensor

from rmem_cli.ops.unitary.options import (
    MODRELU_EPS,
    EUNNWeights,
    GORUOptions,
    GORUWeights,
    Unitary,
    UnitaryWeights,
)


def turned(h: Tensor, weights: UnitaryWeights, unitary: Unitary) -> Tensor:
    """`h U`, for `h [..., size]` of real or complex numbers, as the matrix has them."""
    begin = 0
    for index, layer in enumerate(unitary.layers()):
        firsts = layer.firsts(unitary.size)
        seconds = [unit + layer.distance for unit in firsts]
        part = slice(begin, begin + len(firsts))
        cosine, sine = torch.cos(weights.angles[part]), torch.sin(weights.angles[part])
        one, other = h[..., firsts], h[..., seconds]
        if weights.phases is not None:
            other = _rotor(weights.phases[part]) * other
        h = h.clone()
        h[..., firsts] = cosine * one - sine * other
        h[..., seconds] = sine * one + cosine * other
        if unitary.published_last_unit and index % 2 == 1:
            h[..., -1] = 0
        begin += len(firsts)
    return h if weights.last_phases is None else h * _rotor(weights.last_phases)


def mod_relu(z: Tensor, bias: Tensor) -> Tensor:
    """The numbers `z`, their absolute values raised by the bias and cut off at zero."""
    size = z.abs() + MODRELU_EPS
    direction = z / size if z.is_complex() else torch.sign(z)
    return direction * torch.relu(size + bias)


def eunn(x: Tensor, hidden: Tensor, weights: EUNNWeights, unitary: Unitary) -> Tensor:
    """One layer of an EUNN over a sequence: its hidden states, `[batch, time, width]`.

    Args:
        x: Inputs, `[batch, time, input]`, of at least one step.
        hidden: Hidden state before the first step, `[batch, width]`; of a complex network, real parts and
            imaginary parts side by side.
        weights: The layer's weights.
        unitary: The form of the matrix.
    """
    outputs = []
    for x_t in x.unbind(1):
        projected = x_t @ weights.input
        if unitary.complex:
            z = _joined(projected) + turned(_joined(hidden), weights.unitary, unitary)
            new = mod_relu(z, weights.bias)
            hidden = torch.cat([new.real, new.imag], dim=-1)
        else:
            hidden = mod_relu(projected + turned(hidden, weights.unitary, unitary), weights.bias)
        outputs.append(hidden)
    return torch.stack(outputs, dim=1)


def goru(
    x: Tensor, hidden: Tensor, weights: GORUWeights, options: GORUOptions, keep: Tensor | None = None
) -> Tensor:
    """One layer of a GORU over a sequence: its hidden states, `[batch, time, hidden]`.

    Args:
        x: Inputs, `[batch, time, input]`, of at least one step.
        hidden: Hidden state before the first step, `[batch, hidden]`.
        weights: The layer's weights.
        options: The form of the recurrence.
        keep: Zoneout: the share of each new state that is let through, `[batch, time, hidden]`: zeros and
            ones in training, one number in evaluation; None: all of it.
    """
    outputs = []
    size = hidden.shape[-1]
    for step, x_t in enumerate(x.unbind(1)):
        projected = x_t @ weights.input
        gates = torch.sigmoid(projected[:, size:] + hidden @ weights.recurrent + weights.gate_bias)
        rotated = turned(hidden, weights.unitary, options.unitary)
        if options.reset_gate:
            rotated = gates[:, :size] * rotated
        new = mod_relu(projected[:, :size] + rotated, weights.bias)
        if options.update_gate:
            update = gates[:, -size:]
            new = update * hidden + (1 - update) * new
        hidden = new if keep is None else keep[:, step] * new + (1 - keep[:, step]) * hidden
        outputs.append(hidden)
    return torch.stack(outputs, dim=1)


def _rotor(angle: Tensor) -> Tensor:
    """`exp(i angle)`."""
    return torch.complex(torch.cos(angle), torch.sin(angle))


def _joined(planes: Tensor) -> Tensor:
    """Complex numbers from their real and imaginary parts, side by side."""
    return torch.complex(*planes.chunk(2, dim=-1))
