"""EUNN and GORU, by options alone, give the numbers of the published TensorFlow code, its one fault included.

The faults of its FFT style have no option: those vectors are not here.
"""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from rmem_cli.models.cores.recurrent_config import EUNNSettings, GORUSettings
from rmem_cli.models.cores.unitary import EUNN, GORU
from rmem_cli.ops.native import build
from rmem_cli.ops.unitary import fast, matrix, native, reference

# RMEM_GOLDEN names another folder of vectors of the same kind.
GOLDEN = Path(os.environ.get("RMEM_GOLDEN", Path(__file__).parent.parent / "golden")) / "tf"
RIGHT_BY_NO_OPTION = {"eunn_fft_complex_H6", "eunn_fft_complex_H8", "eunn_fft_real_H6", "goru_fft_H6"}
OPERATORS = sorted(GOLDEN.glob("eunn_rightop_*.npz"))
CELLS = [
    path
    for path in sorted([*GOLDEN.glob("eunn_*.npz"), *GOLDEN.glob("goru_*.npz")])
    if path not in OPERATORS and path.stem not in RIGHT_BY_NO_OPTION
]
FORMS = {"reference": reference, "fast": fast}
if build.status("unitary").available:
    FORMS["native"] = native


class Vectors:
    """What the published code was given and what it gave; parts of complex numbers side by side."""

    def __init__(self, path):
        with np.load(path) as file:
            self.arrays = {key: torch.from_numpy(np.array(file[key])) for key in file if key != "meta"}
            self.meta = json.loads(str(file["meta"]))
        self.complex = any("_re" in key for key in self.arrays)

    def __call__(self, name, before=""):
        """An array by the end of its name, behind the last slash if it has one."""
        found = [each for each in self.arrays if each.startswith(before) and each.endswith(name)]
        return self.arrays[min(found, key=len)]

    def planes(self, name, ending=""):
        parts = [f"{name}_{part}{ending}" for part in ("re", "im")] if self.complex else [name + ending]
        return torch.cat([self.arrays[part] for part in parts], dim=-1)

    def settings(self):
        options = {"fft": True} if self.meta["fft"] else {"capacity": self.meta["capacity"]}
        if self.meta["bug"]:
            options["published_last_unit"] = True
        return {"hidden_size": self.planes("h", "T").shape[-1] // (1 + self.complex), **options}


def of_pairs(vectors, name, before="param."):
    """The published angles or phases of all pairs, in the order in which ours stand."""
    first = vectors(f"{name}_0", before)
    if not vectors.meta["fft"]:
        layers = [first, vectors(f"{name}_1", before)]
        return torch.cat([layers[layer % 2][layer // 2] for layer in range(vectors.meta["capacity"])])
    # Published level by level, too, but within one by the place in a block and not by the block.
    levels = first.reshape(-1, vectors.meta["H"] // 2)
    return torch.cat([levels[level].view(-1, 2**level).t().flatten() for level in range(len(levels))])


def eunn_numbers(vectors, before):
    kernel = "eunn_cell/U_{}" if vectors.complex else "eunn_cell/U"
    kernels = [vectors.arrays[before + kernel.format(part)] for part in ("re", "im")[: 1 + vectors.complex]]
    numbers = {"input_kernel": torch.cat(kernels, 1), "bias": vectors("eunn_cell/modReLUBias", before)}
    numbers["matrix.angles"] = of_pairs(vectors, "theta", before)
    if vectors.complex:
        numbers["matrix.phases"] = of_pairs(vectors, "phi", before)
        numbers["matrix.last_phases"] = vectors("omega", before)
    return numbers


def goru_numbers(vectors, before):
    of = {name: vectors(name, before) for name in ("cell/U", "W_r", "W_g", "bias_r", "bias_g", "bias_c")}
    return {
        "input_kernel": of["cell/U"],
        "recurrent_kernel": torch.cat([of["W_r"], of["W_g"]], 1),
        "gate_bias": torch.cat([of["bias_r"], of["bias_g"]]),
        "bias": of["bias_c"],
        "matrix.angles": of_pairs(vectors, "theta", before),
    }


def core_of(path, vectors):
    inputs = vectors.arrays["x"].shape[-1]
    if path.stem.startswith("goru"):
        core, numbers = GORU(inputs, GORUSettings(**vectors.settings())), goru_numbers
    else:
        core, numbers = (
            EUNN(inputs, EUNNSettings(complex=vectors.complex, **vectors.settings())),
            eunn_numbers,
        )
    core = core.double()
    core.load_state_dict({f"layers.0.{name}": value for name, value in numbers(vectors, "param.").items()})
    return core, {f"layers.0.{name}": value for name, value in numbers(vectors, "grad.").items()}


def assert_close(ours, published):
    assert ours.shape == published.shape
    assert (ours - published).abs().max() <= 1e-10 * published.abs().max()


@pytest.fixture(params=FORMS)
def form(request, monkeypatch):
    for name in ("eunn", "goru"):
        monkeypatch.setattr(f"rmem_cli.ops.unitary.dispatch.{name}", getattr(FORMS[request.param], name))


@pytest.mark.parametrize("path", CELLS, ids=lambda path: path.stem)
def test_outputs_states_and_gradients_are_the_published_ones(path, form):
    vectors = Vectors(path)
    core, gradients = core_of(path, vectors)
    x, h0 = vectors.arrays["x"].requires_grad_(), vectors.planes("h", "0").requires_grad_()
    y, state = core(x, {"hidden.0": h0})
    assert_close(y, vectors.planes("y"))
    assert_close(state["hidden.0"], vectors.planes("h", "T"))
    loss = (y * vectors.planes("g_y")).sum() + (state["hidden.0"] * vectors.planes("g_h", "T")).sum()
    loss.backward()
    assert_close(x.grad, vectors.arrays["grad.x"])
    assert_close(h0.grad, vectors.planes("grad.h", "0"))
    for name, published in gradients.items():
        assert_close(core.get_parameter(name).grad, published)
    afresh, state = core(x.detach())
    assert_close(afresh, vectors.planes("y", "_nostate"))
    assert_close(state["hidden.0"], vectors.planes("h", "T_nostate"))


@pytest.mark.parametrize("path", CELLS, ids=lambda path: path.stem)
def test_the_matrix_is_the_published_one(path):
    vectors = Vectors(path)
    turning = core_of(path, vectors)[0].layers[0].matrix
    size = turning.unitary.size
    assert_close(matrix(turning.weights(), turning.unitary)[:size], vectors.planes("U"))


@pytest.mark.parametrize("path", OPERATORS, ids=lambda path: path.stem)
def test_the_right_matrix_of_an_even_size_is_that_of_the_complex_path(path):
    """Its gradient, too: the published complex path, its phases zero, loses no unit."""
    vectors = Vectors(path)
    settings = EUNNSettings(hidden_size=vectors.arrays["U"].shape[0], capacity=vectors.meta["capacity"])
    turning = EUNN(1, settings).double().layers[0].matrix
    angles = of_pairs(vectors, "theta").requires_grad_()
    weights = turning.weights()._replace(angles=angles)
    x = vectors.arrays["x"].requires_grad_()
    for y in (x @ matrix(weights, turning.unitary), reference.turned(x, weights, turning.unitary)):
        assert_close(y, vectors.arrays["y"])
        gradients = torch.autograd.grad((y * vectors.arrays["g_y"]).sum(), [x, angles])
        assert_close(gradients[0], vectors.arrays["grad.x"])
        assert_close(gradients[1], of_pairs(vectors, "theta", "grad."))
