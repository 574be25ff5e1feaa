"""What the gates promise: bounds, order and the distribution of their first values."""

import math

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rmem_cli.ops.gates import cumax, fast, initial_biases, reference
from rmem_cli.ops.gates.options import GateOptions, GateWeights, lstm_blocks

FORMS = pytest.mark.parametrize("form", [fast, reference], ids=["fast", "reference"])
UNIT = st.floats(0, 1)


def kolmogorov_smirnov(sample, low, high):
    """The largest distance between the sample's distribution and the uniform one on (low, high)."""
    ordered = (sample.sort().values - low) / (high - low)
    steps = torch.arange(len(ordered) + 1, dtype=ordered.dtype) / len(ordered)
    return torch.maximum((steps[1:] - ordered).max(), (ordered - steps[:-1]).max()).item()


def critical_distance(count):
    """What a sample from the distribution itself exceeds once in a thousand times."""
    return math.sqrt(-math.log(0.001 / 2) / 2) / math.sqrt(count)


@FORMS
@given(forget=UNIT, refine=UNIT)
def test_the_refine_gate_stays_between_its_bounds(form, forget, refine):
    forget, refine = torch.tensor([forget, refine], dtype=torch.float64)
    gate = form.refine_gate(forget, refine)
    assert forget**2 - 1e-12 <= gate <= 1 - (1 - forget) ** 2 + 1e-12


@FORMS
def test_the_refine_gate_reaches_both_bounds_and_leaves_the_gate_alone_in_the_middle(form):
    forget = torch.linspace(0, 1, 101, dtype=torch.float64)
    closed, half, opened = (form.refine_gate(forget, torch.full_like(forget, r)) for r in (0.0, 0.5, 1.0))
    torch.testing.assert_close(closed, forget**2)
    torch.testing.assert_close(half, forget)
    torch.testing.assert_close(opened, 1 - (1 - forget) ** 2)


@settings(max_examples=50, deadline=None)
@given(size=st.integers(1, 300), scale=st.floats(0.01, 5), seed=st.integers(0, 10**6))
@example(size=111, scale=5.0, seed=1722)
def test_cumax_rises_from_above_zero_to_one_up_to_rounding(size, scale, seed):
    x = scale * torch.randn(4, size, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    gate, share = cumax(x), torch.softmax(x, dim=-1)
    rest = share.flip(-1).cumsum(-1).flip(-1)
    rounding = size * torch.finfo(torch.float64).eps
    assert (gate.diff(dim=-1) >= 0).all()
    assert (gate.diff(dim=-1) > 0)[share[:, 1:] > rounding].all()
    assert (gate > 0).all()
    assert (gate[:, :-1] < 1)[rest[:, 1:] > rounding].all()
    torch.testing.assert_close(gate[:, -1], torch.ones(4, dtype=torch.float64))


@pytest.mark.parametrize("size", [64, 256, 4096])
def test_uniform_initialisation_makes_gates_uniform(size):
    torch.manual_seed(0)
    gates = torch.sigmoid(initial_biases.uniform_(torch.empty(size, dtype=torch.float64)))
    assert gates.min() >= 1 / size
    assert gates.max() <= 1 - 1 / size
    assert kolmogorov_smirnov(gates, 1 / size, 1 - 1 / size) < critical_distance(size)


@pytest.mark.parametrize("length", [10, 500])
def test_chrono_biases_are_logarithms_of_uniform_time_lags(length):
    torch.manual_seed(0)
    lags = initial_biases.chrono_(torch.empty(4096, dtype=torch.float64), length).exp()
    assert lags.min() >= 1
    assert lags.max() <= length - 1 + 1e-9
    assert kolmogorov_smirnov(lags, 1, length - 1) < critical_distance(4096)


def test_a_layer_of_one_or_two_units_has_finite_first_values():
    for size in (1, 2):
        assert torch.equal(initial_biases.uniform_(torch.empty(size)), torch.zeros(size))


@FORMS
@pytest.mark.parametrize("auxiliary", ["none", "master", "refine"])
@pytest.mark.parametrize("activation", ["sigmoid", "cumax"])
def test_coupled_gates_keep_the_cell_between_minus_one_and_one(form, auxiliary, activation):
    options = GateOptions(activation, auxiliary)
    source = torch.Generator().manual_seed(0)
    rows = 5 * len(lstm_blocks(options))
    weights = GateWeights(*(3 * torch.randn(*shape, generator=source) for shape in ((rows, 2), (rows, 5))))
    x = 3 * torch.randn(4, 100, 2, generator=source)
    cells = form.gated_lstm(x, torch.zeros(4, 5), torch.zeros(4, 5), weights, options).cell
    assert cells.abs().max() <= 1 + 1e-5
