"""How a unitary matrix is put together, and the weights of the recurrences that turn their state by it."""

from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

MODRELU_EPS = 1e-5

Index = TypeVar("Index", int, Tensor)


class RotationLayer(NamedTuple):
    """Disjoint pairs of units, `distance` apart, each of which is turned by an angle of its own.

    Attributes:
        start: The first unit that has a partner.
        distance: Between the two units of each pair.
    """

    start: int
    distance: int

    def pairs(self, size: int) -> int:
        """How many pairs there are of so many units; units that have no partner are not turned."""
        blocks, rest = divmod(max(0, size - self.distance - self.start), 2 * self.distance)
        return blocks * self.distance + min(rest, self.distance)

    def first(self, pair: Index) -> Index:
        """The first unit of the pair of this number, or of many."""
        return self.start + pair + pair // self.distance * self.distance

    def firsts(self, size: int) -> list[int]:
        """The first unit of each pair, in order."""
        return [self.first(pair) for pair in range(self.pairs(size))]


@dataclass(frozen=True)
class Unitary:
    """A unitary matrix as a product of layers of rotations.

    Attributes:
        size: Units that it turns.
        capacity: Layers of a tunable matrix, which pair neighbours.
        fft: Layers as in a fast Fourier transform instead: pairs half the units apart, then a quarter, and so
            on down to neighbours.
        complex: Whether its numbers are complex. Planes of real and imaginary parts stand side by side.
        published_last_unit: Sets the last unit to zero in each second layer, as the published code does by
            mistake for real tunable matrices of an even size.
    """

    size: int
    capacity: int = 2
    fft: bool = False
    complex: bool = False
    published_last_unit: bool = False

    @property
    def width(self) -> int:
        """Real numbers of a state."""
        return self.size * (1 + int(self.complex))

    def layers(self) -> list[RotationLayer]:
        """In the order in which they act."""
        if not self.fft:
            return [RotationLayer(index % 2, 1) for index in range(self.capacity)]
        levels = (self.size - 1).bit_length()
        return [RotationLayer(0, 2**level) for level in reversed(range(levels))]

    def angle_count(self) -> int:
        """Pairs of all layers."""
        return sum(layer.pairs(self.size) for layer in self.layers())

    def places(self) -> tuple[Tensor, Tensor]:
        """Where the angle of each unit stands among all, and its sign: `[layers, size]` each.

        The sign is -1 for the first unit of a pair, 1 for the second and 0 for a unit that is not turned,
        whose place is behind the last angle.
        """
        layers = self.layers()
        places = torch.full((len(layers), self.size), self.angle_count())
        signs = torch.zeros(len(layers), self.size)
        begin = 0
        for index, layer in enumerate(layers):
            pairs = torch.arange(layer.pairs(self.size))
            firsts, angles = layer.first(pairs), begin + pairs
            for units, sign in ((firsts, -1.0), (firsts + layer.distance, 1.0)):
                places[index, units] = angles
                signs[index, units] = sign
            begin += len(pairs)
        return places, signs

    def partners(self, signs: Tensor) -> Tensor:
        """Which unit each is turned with, itself if with none, `[layers, size]`; signs as of `places`.

        Found where the signs are, so that no GPU is waited for.
        """
        units = torch.arange(self.size, device=signs.device)
        levels = torch.arange(len(signs), device=signs.device).flip(0) if self.fft else units.new_zeros(1)
        return units - 2 ** levels[:, None] * signs.to(units.dtype)


class UnitaryWeights(NamedTuple):
    """What a unitary matrix is made of.

    Attributes:
        angles: Of all pairs, layer after layer, `[pairs]`.
        phases: Of the second unit of each pair before its rotation, `[pairs]`; None for a real matrix.
        last_phases: Of all units after the last layer, `[size]`; None for a real matrix.
        places: As `Unitary.places` has them.
        signs: Likewise.
    """

    angles: Tensor
    phases: Tensor | None
    last_phases: Tensor | None
    places: Tensor
    signs: Tensor


class EUNNWeights(NamedTuple):
    """Weights of a layer of an EUNN; `width` as `Unitary.width` has it.

    Attributes:
        input: W, `[input, width]`.
        bias: b of the modReLU, `[hidden]`.
        unitary: Of the matrix U.
    """

    input: Tensor
    bias: Tensor
    unitary: UnitaryWeights


@dataclass(frozen=True)
class GORUOptions:
    """The form of a GORU.

    Attributes:
        unitary: Of the matrix that turns the state, a real one.
        reset_gate: Whether a gate acts on what the matrix gives.
        update_gate: Whether a gate mixes the old state in; without it the candidate is the new state.
    """

    unitary: Unitary
    reset_gate: bool = True
    update_gate: bool = True

    @property
    def gates(self) -> int:
        """How many gates there are."""
        return int(self.reset_gate) + int(self.update_gate)


class GORUWeights(NamedTuple):
    """Weights of a layer of a GORU, whose gates are, side by side, the reset and the update gate.

    Attributes:
        input: Of the candidate and the gates that there are, `[input, (1 + gates) hidden]`.
        recurrent: Of the gates, `[hidden, gates hidden]`.
        gate_bias: Of the gates, `[gates hidden]`.
        bias: b of the modReLU, `[hidden]`.
        unitary: Of the matrix U.
    """

    input: Tensor
    recurrent: Tensor
    gate_bias: Tensor
    bias: Tensor
    unitary: UnitaryWeights
