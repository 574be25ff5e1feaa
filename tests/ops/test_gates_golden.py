"""The published implementation's own numbers, outputs, states and gradients, in both forms."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from rmem_cli.ops.gates import fast, reference
from rmem_cli.ops.gates.options import GateOptions, GateWeights

# RMEM_GOLDEN names another folder of vectors of the same kind.
GOLDEN = Path(os.environ.get("RMEM_GOLDEN", Path(__file__).parent.parent / "golden"))
VECTORS = sorted(GOLDEN.glob("ur_*.npz"))
SEQUENCES = [path for path in VECTORS if "seq" in path.stem]
OPTIONS = GateOptions(auxiliary="refine")
FORMS = pytest.mark.parametrize("form", [fast, reference], ids=["fast", "reference"])


def load(path):
    with np.load(path) as file:
        return {key: torch.from_numpy(np.array(file[key])) for key in file}


def assert_equal(actual, expected):
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-9)


class Vectors:
    """One file: a single step, or layers over a sequence, time first unless the name says otherwise."""

    def __init__(self, path):
        self.values = load(path)
        self.is_cell = "hy" in self.values
        self.batch_first = "batch_first" in path.stem
        names = ("x", "h", "c") if self.is_cell else ("x", "h0", "c0")
        self.inputs = {name: self.values[name].clone().requires_grad_() for name in names}
        self.parameters = {
            name.removeprefix("param."): value.clone().requires_grad_()
            for name, value in self.values.items()
            if name.startswith("param.")
        }
        layers = {name.split(".")[1] for name in self.parameters if name.startswith("layers.")}
        self.prefixes = [f"layers.{layer}." for layer in sorted(layers, key=int)] or [""]

    def weights(self, prefix):
        of = {name.removeprefix(prefix): value for name, value in self.parameters.items()}
        return GateWeights(
            of["igates.weight"],
            of["hgates.weight"],
            of["igates.bias"] + of["hgates.bias"],
            of["forget_bias"],
        )

    def run(self, form, from_zero=False):
        """Outputs in the file's layout, and the last states."""
        x, hidden, cell = self.inputs.values()
        if self.is_cell:
            states = form.gated_lstm(x[:, None], hidden, cell, self.weights(""), OPTIONS)
            return None, states.hidden[:, -1], states.cell[:, -1]
        if from_zero:
            hidden, cell = torch.zeros_like(hidden), torch.zeros_like(cell)
        y = x if self.batch_first else x.transpose(0, 1)
        last_hidden, last_cell = [], []
        for layer, prefix in enumerate(self.prefixes):
            y, cells = form.gated_lstm(y, hidden[layer], cell[layer], self.weights(prefix), OPTIONS)
            last_hidden.append(y[:, -1])
            last_cell.append(cells[:, -1])
        y = y if self.batch_first else y.transpose(0, 1)
        return y, torch.stack(last_hidden), torch.stack(last_cell)


def test_there_are_vectors_of_a_step_and_of_a_sequence():
    assert SEQUENCES
    assert len(VECTORS) > len(SEQUENCES)


@FORMS
@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)
def test_outputs_states_and_all_gradients_equal_the_published_ones(form, path):
    golden = Vectors(path)
    y, hidden, cell = golden.run(form)
    names = ("hy", "cy") if golden.is_cell else ("hn", "cn")
    loss = 0.0
    for name, actual in zip(("y", *names), (y, hidden, cell), strict=True):
        if actual is not None:
            assert_equal(actual, golden.values[name])
            loss = loss + (actual * golden.values[f"g_{name}"]).sum()
    loss.backward()
    for name, leaf in (golden.inputs | golden.parameters).items():
        assert_equal(leaf.grad, golden.values[f"grad.{name}"])


@FORMS
@pytest.mark.parametrize("path", SEQUENCES, ids=lambda path: path.stem)
def test_outputs_from_the_zero_state_equal_the_published_ones(form, path):
    golden = Vectors(path)
    for name, actual in zip(("y", "hn", "cn"), golden.run(form, from_zero=True), strict=True):
        assert_equal(actual, golden.values[f"{name}_nostate"])
