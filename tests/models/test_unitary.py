"""EUNN and GORU as cores: their equations by numpy, their first weights, their states and their settings."""

from math import pi, sqrt

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from rmem_cli.models.cores.recurrent_config import EUNNSettings, GORUSettings
from rmem_cli.models.cores.unitary import EUNN, GORU
from rmem_cli.ops.native import build
from rmem_cli.records.checkpoint import load_checkpoint, save_checkpoint
from rmem_cli.records.restoring import load_weights

CORES = {
    "eunn": lambda **more: EUNN(3, EUNNSettings(hidden_size=5, initial_bound=0.5, modrelu_bias=0.2, **more)),
    "goru": lambda **more: GORU(3, GORUSettings(hidden_size=5, initial_bound=0.5, **more)),
}
FORMS = {
    "eunn": ({}, {"capacity": 4}, {"fft": True}, {"complex": True}, {"complex": True, "fft": True}),
    "goru": (
        {},
        {"capacity": 3},
        {"fft": True},
        {"reset_gate": False},
        {"update_gate": False},
        {"zoneout": 0.3},
    ),
}
CASES = [(kind, options) for kind, forms in FORMS.items() for options in forms]


@pytest.fixture(params=["native", "fast"])
def form(request, monkeypatch):
    if request.param == "fast":
        monkeypatch.setattr(build, "available", lambda family: False)


def matrix_by_numpy(layer):
    """As a product of whole matrices, each of one rotation."""
    unitary, angles = layer.matrix.unitary, iter(layer.matrix.angles.tolist())
    size = unitary.size
    phases = iter(layer.matrix.phases.tolist() if unitary.complex else [])
    whole = np.eye(size, dtype=complex)
    levels = int(np.ceil(np.log2(size))) if unitary.fft else unitary.capacity
    for level in range(levels):
        apart, start = (2 ** (levels - 1 - level), 0) if unitary.fft else (1, level % 2)
        for a in range(start, size - apart):
            if (a - start) // apart % 2 == 0:
                turn, b, angle = np.eye(size, dtype=complex), a + apart, next(angles)
                rotor = np.exp(1j * next(phases, 0.0))
                turn[[a, a], [a, b]] = np.cos(angle), np.sin(angle)
                turn[[b, b], [a, b]] = -rotor * np.sin(angle), rotor * np.cos(angle)
                whole = whole @ turn
    return whole * np.exp(1j * layer.matrix.last_phases.detach().numpy()) if unitary.complex else whole.real


def mod_relu(z, bias):
    length = np.abs(z) + 1e-5
    return (z / length if np.iscomplexobj(z) else np.sign(z)) * np.maximum(length + bias, 0)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def outputs_by_numpy(kind, core, x, hidden):
    """Those of a core of one layer in evaluation."""
    layer = core.layers[0]
    of = {name: value.detach().numpy() for name, value in layer.named_parameters()}
    size, turning = core.hidden_size, matrix_by_numpy(layer)
    outputs = []
    for x_t in x.transpose(1, 0, 2):
        projected = x_t @ of["input_kernel"]
        if kind == "eunn" and layer.matrix.unitary.complex:
            joined = [each[:, :size] + 1j * each[:, size:] for each in (projected, hidden)]
            new = mod_relu(joined[0] + joined[1] @ turning, of["bias"])
            hidden = np.concatenate([new.real, new.imag], 1)
        elif kind == "eunn":
            hidden = mod_relu(projected + hidden @ turning, of["bias"])
        else:
            options = layer.options
            gates = sigmoid(projected[:, size:] + hidden @ of["recurrent_kernel"] + of["gate_bias"])
            reset = gates[:, :size] if options.reset_gate else 1
            update = gates[:, -size:] if options.update_gate else 0
            candidate = mod_relu(projected[:, :size] + reset * (hidden @ turning), of["bias"])
            new = update * hidden + (1 - update) * candidate
            hidden = (1 - core.zoneout) * new + core.zoneout * hidden
        outputs.append(hidden)
    return np.stack(outputs, 1)


def given(core, batch=2, time=4):
    source = torch.Generator().manual_seed(3)
    x = torch.randn(batch, time, 3, generator=source, dtype=torch.float64)
    return x, torch.randn(batch, core.output_size, generator=source, dtype=torch.float64)


@pytest.mark.parametrize(("kind", "options"), CASES, ids=str)
def test_outputs_and_gradients_are_those_of_the_equations_in_numpy(kind, options, form):
    torch.manual_seed(0)
    core = CORES[kind](**options).double().eval()
    x, hidden = given(core)
    cotangent = torch.randn(2, 4, core.output_size, dtype=torch.float64)

    def loss():
        return (outputs_by_numpy(kind, core, x.numpy(), hidden.numpy()) * cotangent.numpy()).sum()

    y, state = core(x, {"hidden.0": hidden})
    written = torch.from_numpy(outputs_by_numpy(kind, core, x.numpy(), hidden.numpy()))
    torch.testing.assert_close(y, written, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(state["hidden.0"], written[:, -1], rtol=1e-12, atol=1e-12)
    (y * cotangent).sum().backward()
    for name, parameter in core.named_parameters():
        values = parameter.detach().view(-1)
        for index in range(len(values)):
            before = values[index].item()
            around = []
            for step in (1e-6, -1e-6):
                values[index] = before + step
                around.append(loss())
            values[index] = before
            slope = (around[0] - around[1]) / 2e-6
            assert parameter.grad.view(-1)[index].item() == pytest.approx(slope, rel=1e-6, abs=1e-6), name


@pytest.mark.parametrize(("kind", "options"), CASES, ids=str)
def test_rows_that_end_early_keep_their_state(kind, options, form):
    core = CORES[kind](**options, layers=2).eval()
    x, state = torch.randn(3, 6, 3), core.initial_state(3)
    state = {name: torch.randn_like(value) for name, value in state.items()}
    lengths = torch.tensor([6, 2, 0])
    _, after = core(x, state, lengths)
    for row, length in enumerate(lengths.tolist()):
        before = {name: value[row : row + 1] for name, value in state.items()}
        expected = core(x[row : row + 1, :length], before)[1] if length else before
        for name, value in after.items():
            torch.testing.assert_close(value[row : row + 1], expected[name])


@pytest.mark.parametrize(("kind", "options"), CASES, ids=str)
def test_a_sequence_in_two_parts_is_the_whole(kind, options, form):
    core = CORES[kind](**options, layers=2).double().eval()
    x = torch.randn(2, 7, 3, dtype=torch.float64)
    whole, last = core(x)
    first, state = core(x[:, :3])
    second, state = core(x[:, 3:], state)
    torch.testing.assert_close(torch.cat([first, second], 1), whole)
    torch.testing.assert_close(state, last)


def test_the_first_weights_are_the_published_ones():
    torch.manual_seed(0)
    eunn = EUNN(40, EUNNSettings(hidden_size=300, complex=True)).layers[0]
    for name, bound in (("matrix.angles", pi), ("matrix.phases", pi), ("matrix.last_phases", pi)):
        assert_uniform(eunn.get_parameter(name), bound)
    assert_uniform(eunn.input_kernel, 0.01)
    assert not eunn.bias.any()
    goru = GORU(40, GORUSettings(hidden_size=300)).layers[0]
    assert_uniform(goru.matrix.angles, pi)
    for kernel in (goru.input_kernel, goru.recurrent_kernel):
        assert_uniform(kernel, 0.01)
    reset_bias, update_bias = goru.gate_bias.chunk(2)
    assert (reset_bias == 2).all()
    assert (goru.bias == 2).all()
    assert_uniform(update_bias, sqrt(3 / 300))
    update_bias = GORU(4, GORUSettings(hidden_size=3, update_bias=-1.5)).layers[0].gate_bias[3:]
    assert (update_bias == -1.5).all()


def assert_uniform(values, bound):
    assert values.abs().max() <= bound
    assert values.abs().mean().item() == pytest.approx(bound / 2, rel=0.1)
    assert abs(values.mean()) < 0.1 * bound


def test_zoneout_keeps_units_at_random_and_their_mean_is_that_of_evaluation():
    core = GORU(3, GORUSettings(hidden_size=4, zoneout=0.3)).double()
    x, hidden = torch.randn(1, 1, 3).double(), torch.randn(1, 4).double()
    many = {"hidden.0": hidden.expand(20_000, 4)}
    drawn = core(x.expand(20_000, 1, 3), many)[0][:, 0]
    kept = (drawn == hidden).double().mean(0)
    torch.testing.assert_close(kept, torch.full_like(kept, 0.3), rtol=0, atol=0.02)
    torch.testing.assert_close(
        drawn.mean(0), core.eval()(x, {"hidden.0": hidden})[0][0, 0], rtol=0, atol=0.05
    )


@pytest.mark.parametrize(("kind", "options"), [*CASES, ("goru", {"reset_gate": False, "update_gate": False})])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_weights_and_states_survive_a_file(kind, options, dtype, tmp_path):
    core, other = (CORES[kind](**options).to(dtype) for _ in range(2))
    save_checkpoint(tmp_path, "last", core.state_dict(), {})
    load_weights(other, load_checkpoint(tmp_path, "last")[0])
    x = torch.randn(2, 3, 3, dtype=dtype)
    for one, two in zip(core.eval()(x)[1].values(), other.eval()(x)[1].values(), strict=True):
        assert torch.equal(one, two)
        assert one.dtype == dtype


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize(
    "options", [{}, {"fft": True}, {"complex": True}, {"complex": True, "fft": True}], ids=str
)
def test_the_smallest_networks_learn(size, options, form):
    core = EUNN(2, EUNNSettings(hidden_size=size, **options))
    core(torch.randn(3, 4, 2))[0].square().sum().backward()
    assert all(each.grad is None or each.grad.isfinite().all() for each in core.parameters())


WRONG = [
    (EUNNSettings, {"capacity": 0}, "capacity", "greater than 0"),
    (GORUSettings, {"capacity": 0}, "capacity", "greater than 0"),
    (EUNNSettings, {"capacity": 10_001}, "capacity", "less than or equal to 10000"),
    (GORUSettings, {"update_gate": False, "update_bias": 1.0}, "", "leave it out, too"),
    (GORUSettings, {"reset_gate": False, "reset_bias": 1.0}, "", "leave it out, too"),
    (EUNNSettings, {"capacity": 4, "fft": True}, "", "leave capacity 4 out"),
    (EUNNSettings, {"published_last_unit": True, "fft": True}, "", "leave it out"),
    (EUNNSettings, {"published_last_unit": True, "complex": True}, "", "leave it out"),
    (GORUSettings, {"published_last_unit": True, "capacity": 1}, "", "give a capacity of 2"),
    (GORUSettings, {"published_last_unit": True, "hidden_size": 7}, "", "even hidden_size, as 8"),
    (EUNNSettings, {"initial_bound": 0.0}, "initial_bound", "greater than 0"),
    (GORUSettings, {"zoneout": 1.0}, "zoneout", "less than 1"),
    (GORUSettings, {"complex": True}, "complex", "not permitted"),
]


@pytest.mark.parametrize(("settings", "options", "place", "message"), WRONG)
def test_a_wrong_setting_is_refused_with_its_cure(settings, options, place, message):
    with pytest.raises(ValidationError) as refused:
        settings(**{"hidden_size": 6, **options})
    (problem,) = refused.value.errors()
    assert ".".join(map(str, problem["loc"])) == place
    assert message in problem["msg"]
