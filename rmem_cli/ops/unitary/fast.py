"""EUNN and GORU as they run without a native form.

Where the matrix has few units for its layers, it is multiplied out, once for each sequence: a step then takes
one product. Elsewhere, three operations apply each layer. The README beside this file derives the formulas;
`reference.py` holds the equations that all of this equals.
"""

from collections.abc import Callable
from itertools import repeat
from typing import NamedTuple

import torch
from torch import Tensor

from rmem_cli.ops.forms import note
from rmem_cli.ops.unitary.options import (
    MODRELU_EPS,
    EUNNWeights,
    GORUOptions,
    GORUWeights,
    Unitary,
    UnitaryWeights,
)

# On a processor, the product of a row with a square of so many units takes as long as a layer of them.
_UNITS_OF_A_LAYER = 64


class Coefficients(NamedTuple):
    """What the layers multiply by: unit `j` becomes `own[j] x[j] + other[j] x[partner of j]`.

    Attributes:
        own: `[layers, size]`.
        other: `[layers, size]`.
        phases: Of the units before each layer, and after the last, `[layers + 1, size]`; None for a real
            matrix.
    """

    own: Tensor
    other: Tensor
    phases: Tensor | None


def coefficients(weights: UnitaryWeights, unitary: Unitary) -> Coefficients:
    """Those of all units from the angles of the pairs."""
    angles = _of_units(weights.angles, weights.places)
    own, other = torch.cos(angles), weights.signs * torch.sin(angles)
    if unitary.published_last_unit:
        kept = torch.ones_like(own)
        kept[1::2, -1] = 0
        own = own * kept
    if weights.phases is None or weights.last_phases is None:
        return Coefficients(own, other, None)
    phases = _of_units(weights.phases, weights.places) * weights.signs.clamp_min(0)
    return Coefficients(own, other, torch.cat([phases, weights.last_phases[None]]))


class _Layers:
    """The layers of a matrix, ready to be applied to many rows."""

    def __init__(self, weights: UnitaryWeights, unitary: Unitary) -> None:
        own, other, phases = coefficients(weights, unitary)
        self.rotations = list(zip(own, other, unitary.partners(weights.signs), strict=True))
        self.rotors = None if phases is None else list(zip(torch.cos(phases), torch.sin(phases), strict=True))

    def __call__(self, planes: Tensor) -> Tensor:
        """Behind all layers; `[1, rows, size]`, or real and imaginary parts `[2, rows, size]`."""
        for index, (own, other, partner) in enumerate(self.rotations):
            if self.rotors is not None:
                planes = _turned_by(*self.rotors[index], planes)
            planes = torch.addcmul(own * planes, other, planes.index_select(-1, partner))
        return planes if self.rotors is None else _turned_by(*self.rotors[-1], planes)


def matrix(weights: UnitaryWeights, unitary: Unitary) -> Tensor:
    """U, `[width, width]`, which acts on rows; of a complex one, `[[re, im], [-im, re]]`."""
    real = torch.eye(unitary.size, dtype=weights.angles.dtype, device=weights.angles.device)
    if not unitary.complex:
        return _Layers(weights, unitary)(real[None])[0]
    real, imaginary = _Layers(weights, unitary)(torch.stack([real, torch.zeros_like(real)]))
    return torch.cat([torch.cat([real, imaginary], -1), torch.cat([-imaginary, real], -1)])


def turning(weights: UnitaryWeights, unitary: Unitary) -> Callable[[Tensor], Tensor]:
    """From a state `[batch, width]` to that times U, in the way that takes less time."""
    if weights.angles.device.type != "cpu" or unitary.size <= _UNITS_OF_A_LAYER * len(unitary.layers()):
        whole = matrix(weights, unitary)
        return lambda hidden: hidden @ whole
    layers, planes = _Layers(weights, unitary), unitary.width // unitary.size
    return lambda hidden: torch.cat(layers(torch.stack(hidden.chunk(planes, -1))).unbind(), -1)


def mod_relu(z: Tensor, raised: Tensor) -> Tensor:
    """`reference.mod_relu` of real numbers; `raised` is the bias, with the published eps added."""
    return torch.sign(z) * torch.relu(z.abs() + raised)


def complex_mod_relu(z: Tensor, bias: Tensor) -> Tensor:
    """`reference.mod_relu` of complex numbers, real and imaginary parts side by side."""
    planes = torch.stack(z.chunk(2, dim=-1))
    size: Tensor = torch.linalg.vector_norm(planes, dim=0) + MODRELU_EPS
    return z * (torch.relu(size + bias) / size).repeat(1, 2)


def eunn(x: Tensor, hidden: Tensor, weights: EUNNWeights, unitary: Unitary) -> Tensor:
    """One layer of an EUNN over a sequence; arguments and result are those of `reference.eunn`."""
    note("unitary", "fast")
    turned = turning(weights.unitary, unitary)
    raised = weights.bias + MODRELU_EPS
    outputs = []
    for projected in _projected(x, weights.input):
        z = projected + turned(hidden)
        hidden = complex_mod_relu(z, weights.bias) if unitary.complex else mod_relu(z, raised)
        outputs.append(hidden)
    return torch.stack(outputs, dim=1)


def goru(
    x: Tensor, hidden: Tensor, weights: GORUWeights, options: GORUOptions, keep: Tensor | None = None
) -> Tensor:
    """One layer of a GORU over a sequence; arguments and result are those of `reference.goru`."""
    note("unitary", "fast")
    size = hidden.shape[-1]
    turned = turning(weights.unitary, options.unitary)
    bias = torch.cat([torch.zeros_like(weights.bias), weights.gate_bias])
    raised = weights.bias + MODRELU_EPS
    keeps = repeat(None) if keep is None else keep.unbind(1)
    outputs = []
    for projected, keep_t in zip(_projected(x, weights.input, bias), keeps, strict=False):
        candidate, gates_x = projected[:, :size], projected[:, size:]
        gates = torch.sigmoid(torch.addmm(gates_x, hidden, weights.recurrent))
        rotated = turned(hidden)
        if options.reset_gate:
            rotated = gates[:, :size] * rotated
        new = mod_relu(candidate + rotated, raised)
        if options.update_gate:
            new = torch.lerp(new, hidden, gates[:, -size:])
        hidden = new if keep_t is None else torch.lerp(hidden, new, keep_t)
        outputs.append(hidden)
    return torch.stack(outputs, dim=1)


def _of_units(angles: Tensor, places: Tensor) -> Tensor:
    """The angle of each unit; zero where it has none."""
    padded = torch.cat([angles, angles.new_zeros(1)])
    return padded.index_select(0, places.flatten()).view(places.shape)  # [layers, size]


def _turned_by(cosine: Tensor, sine: Tensor, planes: Tensor) -> Tensor:
    """Complex numbers, each turned by the phase of its unit."""
    real, imaginary = planes
    return torch.stack([cosine * real - sine * imaginary, sine * real + cosine * imaginary])


def _projected(x: Tensor, kernel: Tensor, bias: Tensor | None = None) -> tuple[Tensor, ...]:
    """What the inputs contribute to each step: one product for all."""
    joined = x.transpose(0, 1).flatten(0, 1) @ kernel  # [time * batch, width]
    joined = joined if bias is None else joined + bias
    return joined.view(x.shape[1], x.shape[0], kernel.shape[1]).unbind(0)  # time times [batch, width]
