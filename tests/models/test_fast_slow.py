"""A Fast-Slow network calls its cells as the paper says, and refuses what is no cell."""

import numpy as np
import pytest
import torch
from torch import nn

from rmem_cli.errors import InterruptedRunError, UsageError
from rmem_cli.models.cores import fast_slow
from rmem_cli.models.cores.base import Core
from rmem_cli.models.cores.fast_slow import FastSlow
from rmem_cli.models.cores.layer_norm_lstm import LayerNormLSTM
from rmem_cli.models.cores.recurrent_config import FastSlowSettings, GatedLSTMSettings, LayerNormLSTMSettings
from rmem_cli.recipe.problems import RecipeError
from rmem_cli.recipe.reader import read_recipe
from rmem_cli.runs import pace
from rmem_cli.runs.pace import pace_of

RECIPE = """\
name: made_up
title: A made-up experiment
task: {kind: associative_recall, length: 4}
model:
  core:
    kind: fast_slow
    fast: {kind: layer_norm_lstm, hidden_size: 4}
    slow: {kind: rum, hidden_size: 6}
optimizer: {kind: adam, lr: 1e-3}
train: {steps: 10, batch_size: 4}
eval: [{name: test, split: test, examples: 8, metrics: [accuracy]}]
seeds: [1]
rows: [{id: one, title: One}]
"""


class Noting(Core):
    """A cell whose output and state say by name what it has read."""

    def __init__(self, name, input_size, output_size, calls):
        super().__init__()
        self.name, self.input_size, self.output_size, self.calls = name, input_size, output_size, calls
        self.weight = nn.Parameter(torch.ones(1))

    def initial_state(self, batch, *, device=None, dtype=None):
        return {"seen": torch.zeros(batch, 1, device=device, dtype=dtype)}

    def forward(self, x, state=None, lengths=None):
        self.calls.append((self.name, x[0, 0].tolist(), state["seen"][0].tolist()))
        number = len(self.calls)
        return x.new_full((*x.shape[:2], self.output_size), 10.0 * number), {
            "seen": state["seen"] * 0 + number
        }


@pytest.fixture
def noted(monkeypatch):
    """A network of five cells that note their calls, and the calls."""
    calls, names = [], iter(["F1", "S", "F2", "F3", "F4"])
    widths = {"F1": 2, "S": 3, "F2": 2, "F3": 2, "F4": 2}

    def build(settings, width):
        name = next(names)
        return Noting(name, width, widths[name], calls)

    monkeypatch.setattr(fast_slow, "build", build)
    cell = {"kind": "gru", "hidden_size": 2}
    return FastSlow(1, FastSlowSettings(fast=cell, slow=cell, fast_cells=4)), calls


def test_the_cells_are_called_in_the_order_of_the_paper(noted):
    network, calls = noted
    assert [cell.input_size for cell in (*network.fast, network.slow)] == [1, 3, 1, 1, 2]
    y, state = network(torch.tensor([[[0.5], [0.25]]]))
    assert calls == [
        ("F1", [0.5], [0.0]),  # the input, and the shared state
        ("S", [10.0, 10.0], [0.0]),  # what the first fast cell gives, and the slow state
        ("F2", [20.0, 20.0, 20.0], [1.0]),  # what the slow cell gives, and the state that F1 has left
        ("F3", [0.0], [3.0]),
        ("F4", [0.0], [4.0]),
        ("F1", [0.25], [5.0]),
        ("S", [60.0, 60.0], [2.0]),
        ("F2", [70.0, 70.0, 70.0], [6.0]),
        ("F3", [0.0], [8.0]),
        ("F4", [0.0], [9.0]),
    ]
    assert y.tolist() == [[[50.0, 50.0], [100.0, 100.0]]]
    assert {name: value.tolist() for name, value in state.items()} == {
        "fast.seen": [[10.0]],
        "slow.seen": [[7.0]],
    }


def test_dropout_is_at_each_cells_input_from_another_and_at_the_output_in_training_alone(noted, monkeypatch):
    network, calls = noted
    seen = []

    def dropout(x, probability, training):
        seen.append((tuple(x.shape), probability, training))
        return x + 0.5

    monkeypatch.setattr(fast_slow.functional, "dropout", dropout)
    network.dropout = 0.3
    y, _ = network(torch.zeros(1, 1, 1))
    assert [x for _, x, _ in calls] == [[0.5], [10.5] * 2, [20.5] * 3, [0.0], [0.0]]
    assert y.tolist() == [[[50.5, 50.5]]]
    network.eval()(torch.zeros(1, 1, 1))
    shapes = [(1, 1), (1, 2), (1, 3), (1, 2)]
    assert seen == [(shape, 0.3, training) for training in (True, False) for shape in shapes]


def lstm(size, **options):
    return {"kind": "layer_norm_lstm", "hidden_size": size, **options}


def in_numpy(x, weights, fast_cells, size, slow_size):
    """A Fast-Slow network of layer-norm LSTMs, cell by cell."""

    def norm(z):
        return (z - z.mean()) / np.sqrt(z.var() + 1e-3)

    def sigmoid(z):
        return 1 / (1 + np.exp(-z))

    def cell(name, read, state, units):
        of = {key.rsplit(".", 1)[1]: value for key, value in weights.items() if key.startswith(name)}
        h, c = state
        z = (
            np.concatenate([read, h]) @ np.concatenate([of["input_kernel"], of["recurrent_kernel"]])
            + of["bias"]
        )
        z = np.concatenate([norm(z[at : at + units]) for at in range(0, 4 * units, units)])
        z = z * of["gate_gain"] + of["gate_shift"]
        i, f, o, j = (z[at : at + units] for at in range(0, 4 * units, units))
        c = sigmoid(f + 1) * c + sigmoid(i) * np.tanh(j)
        return sigmoid(o) * np.tanh(norm(c) * of["cell_gain"] + of["cell_shift"]), c

    outputs = []
    for row in x:
        fast, slow = (np.zeros(size), np.zeros(size)), (np.zeros(slow_size), np.zeros(slow_size))
        for read in row:
            fast = cell("fast.0", read, fast, size)
            slow = cell("slow", fast[0], slow, slow_size)
            fast = cell("fast.1", slow[0], fast, size)
            for further in range(2, fast_cells):
                fast = cell(f"fast.{further}", np.zeros(1), fast, size)
            outputs.append(fast[0])
    return np.array(outputs).reshape(len(x), x.shape[1], size)


@pytest.mark.parametrize("fast_cells", [2, 4])
def test_it_is_what_numpy_makes_of_the_equations_and_its_gradient_their_slope(fast_cells):
    torch.manual_seed(1)
    core = FastSlow(3, FastSlowSettings(fast=lstm(4), slow=lstm(5), fast_cells=fast_cells)).double()
    with torch.no_grad():
        for parameter in core.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    x = torch.randn(2, 3, 3, dtype=torch.float64, requires_grad=True)
    weights = {name: value.detach().numpy().copy() for name, value in core.named_parameters()}
    y, _ = core(x)
    np.testing.assert_allclose(
        y.detach().numpy(), in_numpy(x.detach().numpy(), weights, fast_cells, 4, 5), rtol=1e-12, atol=1e-12
    )
    weighed = torch.randn_like(y)
    (y * weighed).sum().backward()
    source = np.random.default_rng(1)
    for name, parameter in core.named_parameters():
        along = source.standard_normal(parameter.shape)

        def at(step, name=name, along=along):
            moved = {**weights, name: weights[name] + step * along}
            return (in_numpy(x.detach().numpy(), moved, fast_cells, 4, 5) * weighed.numpy()).sum()

        slope = (8 * (at(1e-4) - at(-1e-4)) - (at(2e-4) - at(-2e-4))) / 12e-4
        assert slope == pytest.approx((along * parameter.grad.numpy()).sum(), rel=1e-7, abs=1e-7), name


@pytest.mark.parametrize("name", ["hidden", "cell"])
def test_the_mean_of_zoneout_in_training_is_what_evaluation_takes(name):
    torch.manual_seed(0)
    core = LayerNormLSTM(3, LayerNormLSTMSettings(hidden_size=50, **{f"{name}_zoneout": 0.3})).double()
    x = torch.randn(1, 1, 3, dtype=torch.float64)
    before = {key: torch.randn(1, 50, dtype=torch.float64) for key in core.initial_state(1)}
    _, evaluated = core.eval()(x, before)
    many = {key: value.expand(20_000, -1) for key, value in before.items()}
    _, trained = core.train()(x.expand(20_000, -1, -1), many)
    kept = trained[f"{name}.0"] == before[f"{name}.0"]
    assert kept.double().mean().item() == pytest.approx(0.3, abs=0.005)
    torch.testing.assert_close(trained[f"{name}.0"].mean(0), evaluated[f"{name}.0"][0], rtol=0, atol=0.05)
    other = "cell" if name == "hidden" else "hidden"
    torch.testing.assert_close(trained[f"{other}.0"][:1], evaluated[f"{other}.0"])


def test_zoneout_is_the_same_step_by_step_and_in_a_segment():
    core = LayerNormLSTM(3, LayerNormLSTMSettings(hidden_size=5, hidden_zoneout=0.2, cell_zoneout=0.4))
    x, states = torch.randn(2, 1, 3), []
    for read in (lambda: core(x)[1], lambda: core.stepper()(x[:, 0], core.initial_state(2))[1]):
        torch.manual_seed(3)
        states.append(read())
    torch.testing.assert_close(*states)


@pytest.mark.parametrize(
    ("old", "new", "path", "message"),
    [
        (
            "kind: rum, hidden_size: 6",
            "kind: transformer_xl, hidden_size: 6",
            "model.core.slow",
            "transformer_xl reads segments as a whole, and a cell is gone through step by step; choose",
        ),
        (
            "kind: layer_norm_lstm, hidden_size: 4",
            "kind: rmt, hidden_size: 4, memory_tokens: 2",
            "model.core.fast",
            "rmt reads segments as a whole",
        ),
        (
            "{kind: layer_norm_lstm, hidden_size: 4}",
            "[{kind: layer_norm_lstm, hidden_size: 4}, {kind: layer_norm_lstm, hidden_size: 5}]",
            "model.core.fast",
            "so they are alike; give one as a mapping, and how many there are as fast_cells",
        ),
        (
            "kind: rum, hidden_size: 6",
            "kind: lstn, hidden_size: 6",
            "model.core.slow",
            "did you mean 'lstm'?",
        ),
        ("kind: rum, hidden_size: 6", "kind: rum", "model.core.slow.hidden_size", "is missing"),
        ("    slow: {kind: rum, hidden_size: 6}\n", "", "model.core.slow", "is missing"),
        (
            "kind: fast_slow",
            "kind: fast_slow\n    fast_cells: 1",
            "model.core.fast_cells",
            "at least 2, not 1",
        ),
        ("kind: fast_slow", "kind: fast_slow\n    dropout: 1.0", "model.core.dropout", "less than 1, not 1"),
        (
            "kind: fast_slow",
            "kind: fast_slow\n    hidden_size: 4",
            "model.core.hidden_size",
            "unknown key; there are",
        ),
    ],
)
def test_what_is_no_network_of_cells_is_refused_at_its_place_with_a_cure(old, new, path, message):
    with pytest.raises(RecipeError) as caught:
        read_recipe(RECIPE.replace(old, new).encode(), "made_up.yaml", "made_up")
    told = [line for line in str(caught.value).splitlines() if message in line]
    assert len(told) == 1, caught.value
    assert told[0].startswith("made_up.yaml:")
    assert f"{path}: " in told[0]


def test_fast_cells_whose_states_differ_by_the_width_of_their_inputs_are_refused(monkeypatch):
    def build(settings, width):
        cell = Noting("F", width, 2, [])
        cell.initial_state = lambda batch, **_: {"seen": torch.zeros(batch, width)}
        return cell

    monkeypatch.setattr(fast_slow, "build", build)
    cell = {"kind": "gru", "hidden_size": 2}
    with pytest.raises(
        UsageError, match=r"seen \[1, 7\], and of another seen \[1, 2\]; they share one: choose"
    ):
        FastSlow(7, FastSlowSettings(fast=cell, slow=cell))


def test_a_built_core_that_reads_segments_as_a_whole_is_no_cell(monkeypatch):
    def build(settings, width):
        cell = Noting("F", width, 2, [])
        cell.stepwise = False
        return cell

    monkeypatch.setattr(fast_slow, "build", build)
    cell = {"kind": "gru", "hidden_size": 2}
    with pytest.raises(UsageError, match=r"Noting reads segments as a whole, .*; choose another cell"):
        FastSlow(2, FastSlowSettings(fast=cell, slow=cell))


NETWORK = (
    "model.core={kind: fast_slow, fast: {kind: layer_norm_lstm, hidden_size: 4, cell_zoneout: 0.5}, "
    "slow: {kind: rum, hidden_size: 3, zoneout: 0.1}, dropout: 0.3}"
)


def test_a_run_that_is_stopped_goes_on_to_the_same_numbers(lab, make_spec, same):
    spec = make_spec(NETWORK)
    lab.train(spec)
    whole = same(lab.rows())
    calls = iter([False] * 5)
    with pytest.raises(InterruptedRunError):
        lab.train(spec, lambda: next(calls, True), repeat=True)
    lab.train(spec)
    assert same(lab.rows()) == whole


def test_steps_of_a_network_are_estimated_by_those_of_its_fast_cell(monkeypatch):
    seen = []
    monkeypatch.setattr(pace, "_pace", lambda *arguments: seen.append(arguments[:2]))
    cell = GatedLSTMSettings(hidden_size=4, gate="OM")
    inner = FastSlowSettings(fast=cell, slow=cell)
    for core in (cell, inner, FastSlowSettings(fast=inner, slow=cell)):
        pace_of(core, {}, torch.float32, torch.device("cpu"))
    assert seen == [seen[0]] * 3
    assert seen[0][0] is GatedLSTMSettings
