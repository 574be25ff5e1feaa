"""The matrices of EUNN and GORU are unitary, whatever their sizes, layers and angles."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from rmem_cli.ops.unitary import Unitary, matrix, reference
from rmem_cli.ops.unitary.options import RotationLayer, UnitaryWeights

SIZES = range(1, 66)


def weights_of(unitary, dtype=torch.float64, seed=0):
    """Angles all over the circle."""
    source = torch.Generator().manual_seed(seed)

    def circle(count):
        return ((2 * torch.rand(count, generator=source, dtype=torch.float64) - 1) * torch.pi).to(dtype)

    count = unitary.angle_count()
    phases = [circle(count), circle(unitary.size)] if unitary.complex else [None, None]
    places, signs = unitary.places()
    return UnitaryWeights(circle(count), *phases, places, signs.to(dtype))


def forms_of(size):
    tunable = [Unitary(size, capacity) for capacity in sorted({1, 2, 3, 4, 8, size, size + 1})]
    real = [*tunable, Unitary(size, fft=True)]
    return real + [replace(each, complex=True) for each in real]


def written_out(unitary, weights):
    """The matrix by numpy: each rotation and phase as a whole matrix of complex numbers."""
    size, angles = unitary.size, iter(weights.angles.tolist())
    phases = iter([] if weights.phases is None else weights.phases.tolist())
    whole = np.eye(size, dtype=complex)
    levels = int(np.ceil(np.log2(size))) if unitary.fft else unitary.capacity
    for level in range(levels):
        apart = 2 ** (levels - 1 - level) if unitary.fft else 1
        first = 0 if unitary.fft else level % 2
        layer = np.eye(size, dtype=complex)
        for a in range(size - apart):
            if a < first or ((a - first) // apart) % 2:
                continue
            b, angle = a + apart, next(angles)
            rotor = np.exp(1j * next(phases, 0.0))
            layer[a, a], layer[a, b] = np.cos(angle), np.sin(angle)
            layer[b, a], layer[b, b] = -rotor * np.sin(angle), rotor * np.cos(angle)
        if unitary.published_last_unit and level % 2:
            layer[-1, -1] = 0
        whole = whole @ layer
    assert next(angles, None) is None
    return whole if weights.last_phases is None else whole * np.exp(1j * weights.last_phases.numpy())


def planes(whole):
    """A complex matrix as a real one that acts on rows of real parts and imaginary parts."""
    return torch.from_numpy(np.block([[whole.real, whole.imag], [-whole.imag, whole.real]]))


@pytest.mark.parametrize("size", SIZES)
def test_every_matrix_is_unitary(size):
    for unitary in forms_of(size):
        found = matrix(weights_of(unitary), unitary)
        error = (found @ found.mT - torch.eye(unitary.width).double()).abs().max()
        assert error <= 1e-12, unitary


@pytest.mark.parametrize("size", [1, 2, 3, 6, 11, 16, 21])
def test_every_matrix_is_the_product_of_its_rotations(size):
    for unitary in forms_of(size):
        weights = weights_of(unitary)
        whole = written_out(unitary, weights)
        whole = whole if unitary.complex else whole.real
        expected = planes(whole) if unitary.complex else torch.from_numpy(whole)
        torch.testing.assert_close(matrix(weights, unitary), expected, rtol=0, atol=1e-13)
        rows = torch.eye(size, dtype=torch.complex128 if unitary.complex else torch.float64)
        turned = reference.turned(rows, weights, unitary)
        torch.testing.assert_close(turned, torch.from_numpy(whole), rtol=0, atol=1e-13)


@pytest.mark.parametrize("size", [2, 4, 6, 64])
def test_the_published_fault_erases_the_last_unit_and_no_other(size):
    unitary = Unitary(size, 2, published_last_unit=True)
    weights = weights_of(unitary)
    found = matrix(weights, unitary)
    right = matrix(weights, replace(unitary, published_last_unit=False))
    assert (found[:, -1] == 0).all()
    assert torch.equal(found[:, :-1], right[:, :-1])
    torch.testing.assert_close(
        found, torch.from_numpy(written_out(unitary, weights).real), rtol=0, atol=1e-13
    )


@pytest.mark.parametrize("size", SIZES)
def test_a_unit_with_a_partner_is_the_first_of_a_pair_or_the_second(size):
    for start, distance in itertools.product([0, 1], [1, 2, 3, 8]):
        layer = RotationLayer(start, distance)
        firsts = [unit for unit in range(start, size - distance) if (unit - start) // distance % 2 == 0]
        assert layer.firsts(size) == firsts
        assert layer.pairs(size) == len(firsts)
        assert layer.first(torch.arange(len(firsts))).tolist() == firsts


@pytest.mark.parametrize("size", SIZES)
def test_each_layer_of_the_fft_style_turns_disjoint_pairs_and_all_of_a_power_of_two(size):
    unitary = Unitary(size, fft=True)
    for layer in unitary.layers():
        firsts = layer.firsts(size)
        units = [*firsts, *(unit + layer.distance for unit in firsts)]
        assert len(set(units)) == len(units)
        assert max(units) < size
        if size & (size - 1) == 0:
            assert len(units) == size
    # Each unit can reach each other: it is whole, and no block of its own.
    reached = torch.eye(size, dtype=torch.bool)
    for layer in unitary.layers():
        for unit in layer.firsts(size):
            pair = [unit, unit + layer.distance]
            reached[:, pair] = reached[:, pair].any(1, keepdim=True)
    assert reached[0].all()


@pytest.mark.parametrize("size", [5, 6, 13])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_ten_thousand_steps_keep_the_norm(size, dtype):
    for unitary in [
        Unitary(size, 2),
        Unitary(size, 7),
        Unitary(size, fft=True),
        Unitary(size, 4, complex=True),
    ]:
        turning = matrix(weights_of(unitary, dtype), unitary)
        state = torch.ones(1, unitary.width, dtype=dtype)
        before = state.norm()
        for _ in range(10_000):
            state = state @ turning
        drift = abs(state.norm() / before - 1)
        assert drift <= 10_000 * 8 * torch.finfo(dtype).eps, unitary
