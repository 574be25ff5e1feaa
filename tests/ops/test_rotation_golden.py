"""The published implementation's own numbers, outputs and gradients, in both forms."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from rmem_cli.ops.rotation import fast, reference
from rmem_cli.ops.rotation.options import Affine, RUMOptions, RUMWeights

# RMEM_GOLDEN names another folder of vectors of the same kind.
GOLDEN = Path(os.environ.get("RMEM_GOLDEN", Path(__file__).parent.parent / "golden"))
SEQUENCES = sorted(GOLDEN.glob("rum_lam*.npz"))
TOLERANCE = {"rtol": 0, "atol": 1e-9}
FORMS = pytest.mark.parametrize("form", [fast, reference], ids=["fast", "reference"])


def load(name):
    with np.load(GOLDEN / name) as file:
        return {key: torch.from_numpy(np.array(file[key])) for key in file}


def leaf(tensor):
    return tensor.clone().requires_grad_()


def assert_equal(actual, expected):
    torch.testing.assert_close(actual, expected, **TOLERANCE)


@FORMS
def test_rotate_and_its_gradients_equal_the_published_ones(form):
    golden = load("rum_rotation.npz")
    x, y, h = leaf(golden["v1"]), leaf(golden["v2"]), leaf(golden["v"])
    rotated = form.rotate(x, y, h)
    assert_equal(rotated, golden["rotate"])
    (rotated * golden["g"]).sum().backward()
    for tensor, name in ((x, "v1"), (y, "v2"), (h, "v")):
        assert_equal(tensor.grad, golden[f"rotate.grad.{name}"])


@FORMS
def test_the_operator_and_its_gradients_equal_the_published_ones(form):
    golden = load("rum_rotation.npz")
    x, y = leaf(golden["v1"]), leaf(golden["v2"])
    operator = form.rotation_operator(x, y)
    assert_equal(operator, golden["operator"])
    (operator * golden["G_op"]).sum().backward()
    assert_equal(x.grad, golden["operator.grad.v1"])
    assert_equal(y.grad, golden["operator.grad.v2"])


@FORMS
def test_the_components_equal_the_published_ones(form):
    golden = load("rum_rotation.npz")
    u, v, plane = form.rotation_components(golden["v1"], golden["v2"])
    assert_equal(u, golden["comp_u"])
    assert_equal(v, golden["comp_v"])
    assert_equal(plane, golden["comp_Rth"])


def weights_of(golden):
    parameters = {
        name.removeprefix("param.rum_cell."): leaf(value)
        for name, value in golden.items()
        if name.startswith("param.")
    }
    weights = RUMWeights(
        target=Affine(parameters["r_kernel"], parameters["r_bias"]),
        gate=Affine(parameters["u_kernel"], parameters["u_bias"]),
        embedding=Affine(parameters["inp_emb_kernel"], parameters["inp_emb_bias"]),
    )
    return parameters, weights


def test_there_are_sequence_vectors():
    assert SEQUENCES


@FORMS
@pytest.mark.parametrize("path", SEQUENCES, ids=lambda path: path.stem)
@pytest.mark.parametrize("carried", [False, True], ids=["from zero", "state carried in"])
def test_a_sequence_and_all_its_gradients_equal_the_published_ones(form, path, carried):
    golden = load(path.name)
    eta = float(golden["eta"])
    options = RUMOptions(lambda_=int(golden["lam"]), eta=None if np.isnan(eta) else eta)
    prefix = "state_" if carried else ""
    parameters, weights = weights_of(golden)
    x = leaf(golden["x"])
    batch, size = golden["y"].shape[0], golden["y"].shape[2]
    hidden = leaf(golden["state_h0"] if carried else torch.zeros(batch, size, dtype=torch.float64))
    memory = None
    if options.lambda_ == 1:
        identity = torch.eye(size, dtype=torch.float64).expand(batch, size, size)
        memory = leaf(golden["state_R0"] if carried else identity)
    result = form.rum(x, hidden, memory, weights, options)
    assert_equal(result.outputs, golden[f"{prefix}y"])
    loss = (result.outputs * golden["g_y"]).sum()
    if not carried:
        assert_equal(result.hidden, golden["h_T"])
    elif memory is not None:
        assert_equal(result.memory, golden["state_R_T"])
        loss = loss + (result.memory * golden["state_g_RT"]).sum()
    loss.backward()
    assert_equal(x.grad, golden[f"{prefix}grad.x"])
    for name, parameter in parameters.items():
        assert_equal(parameter.grad, golden[f"{prefix}grad.rum_cell.{name}"])
    if carried:
        assert_equal(hidden.grad, golden["state_grad.h0"])
        if memory is not None:
            assert_equal(memory.grad, golden["state_grad.R0"])
