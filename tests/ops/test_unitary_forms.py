"""The forms of EUNN and GORU equal the equations as written: outputs and gradients, for every option."""

from types import SimpleNamespace
from unittest import mock

import pytest
import torch

from rmem_cli.ops.native import build
from rmem_cli.ops.unitary import Unitary, fast, native, reference
from rmem_cli.ops.unitary.options import MODRELU_EPS, EUNNWeights, GORUOptions, GORUWeights, UnitaryWeights


def by_layers(name):
    """The fast form of that name as it runs where a matrix has many units for its layers."""

    def run(*arguments):
        with mock.patch.object(fast, "_UNITS_OF_A_LAYER", 0):
            return getattr(fast, name)(*arguments)

    return run


LAYERS = SimpleNamespace(eunn=by_layers("eunn"), goru=by_layers("goru"))
HERE = {"fast": fast, "fast by layers": LAYERS}
if build.status("unitary").available:
    HERE["native"] = native
FORMS = pytest.mark.parametrize("form", HERE.values(), ids=HERE)
MATRICES = {
    "two layers": {"capacity": 2},
    "five layers": {"capacity": 5},
    "fft": {"fft": True},
    "published": {"capacity": 4, "published_last_unit": True},
}
COMPLEX = {"complex": {"capacity": 3, "complex": True}, "complex fft": {"fft": True, "complex": True}}
SIZES = [(1, 1, 1, 2), (1, 9, 3, 7), (5, 1, 2, 3), (2, 11, 7, 13), (3, 4, 2, 1), (9, 6, 3, 33), (2, 5, 3, 66)]


def normal(seed, *shape):
    source = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=source, dtype=torch.float64).requires_grad_()


def unitary_weights(unitary):
    count = unitary.angle_count()
    phases = [normal(31, count), normal(32, unitary.size)] if unitary.complex else [None, None]
    places, signs = unitary.places()
    return UnitaryWeights(normal(30, count), *phases, places, signs.double())


def eunn_case(unitary, batch=3, time=7, inputs=4):
    bias = (normal(2, unitary.size) / 2).detach().requires_grad_()
    weights = EUNNWeights(normal(1, inputs, unitary.width), bias, unitary_weights(unitary))
    return normal(7, batch, time, inputs), normal(8, batch, unitary.width), weights, unitary


def goru_case(options, batch=3, time=7, inputs=4):
    size, gates = options.unitary.size, options.gates
    kernels = normal(1, inputs, (1 + gates) * size), normal(2, size, gates * size), normal(3, gates * size)
    weights = GORUWeights(*kernels, normal(4, size), unitary_weights(options.unitary))
    return normal(7, batch, time, inputs), normal(8, batch, size), weights, options


def leaves_of(case):
    x, hidden, weights, _ = case
    return [x, hidden, *weights[:-1], *(each for each in weights.unitary[:3] if each is not None)]


def outcome(run, case, *rest):
    outputs = run(*case, *rest)
    cotangent = normal(20, *outputs.shape).detach()
    gradients = torch.autograd.grad(
        (outputs * cotangent).sum(), leaves_of(case), allow_unused=True, materialize_grads=True
    )
    return [outputs, *gradients]


def assert_agree(ours, written, case, *rest):
    for one, other in zip(outcome(ours, case, *rest), outcome(written, case, *rest), strict=True):
        largest = other.detach().abs().max().item() if other.numel() else 0.0
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10 * max(largest, 1.0))


@FORMS
@pytest.mark.parametrize("name", [*MATRICES, *COMPLEX])
def test_eunn_agrees_for_every_matrix(form, name):
    for size in (5, 6) if name != "published" else (6, 8):
        assert_agree(form.eunn, reference.eunn, eunn_case(Unitary(size, **(MATRICES | COMPLEX)[name])))


@FORMS
@pytest.mark.parametrize("name", [*MATRICES])
@pytest.mark.parametrize("reset_gate", [True, False])
@pytest.mark.parametrize("update_gate", [True, False])
@pytest.mark.parametrize("zoned", [False, True])
def test_goru_agrees_for_every_option(form, name, reset_gate, update_gate, zoned):
    options = GORUOptions(Unitary(6, **MATRICES[name]), reset_gate, update_gate)
    keep = (normal(30, 3, 7, 6) > -0.3).double() if zoned else None
    assert_agree(form.goru, reference.goru, goru_case(options), keep)


@FORMS
@pytest.mark.parametrize(("batch", "time", "inputs", "size"), SIZES)
@pytest.mark.parametrize("fft", [False, True])
def test_the_forms_agree_on_odd_sizes(form, batch, time, inputs, size, fft):
    unitary = Unitary(size, 3, fft)
    sizes = batch, time, inputs
    assert_agree(form.eunn, reference.eunn, eunn_case(unitary, *sizes))
    assert_agree(form.goru, reference.goru, goru_case(GORUOptions(unitary), *sizes))
    both = Unitary(size, 3, fft, complex=True)
    assert_agree(form.eunn, reference.eunn, eunn_case(both, *sizes))


@FORMS
@pytest.mark.parametrize("complex_numbers", [False, True])
def test_a_state_of_zeros_has_a_finite_gradient(form, complex_numbers):
    """There, the modReLU has no direction: it gives zero and, of a real number, passes nothing on."""
    case = eunn_case(Unitary(5, 2, complex=complex_numbers))
    zeros = [torch.zeros_like(each).requires_grad_() for each in case[:2]]
    given = (*zeros, *case[2:])
    assert_agree(form.eunn, reference.eunn, given)
    outputs, *gradients = outcome(form.eunn, given)
    assert not outputs.any()
    assert all(each.isfinite().all() for each in gradients)
    assert complex_numbers == bool(gradients[1].any())


@pytest.mark.parametrize("form", [fast, LAYERS, reference], ids=["fast", "by layers", "reference"])
@pytest.mark.parametrize("name", ["two layers", "fft", "complex", "published"])
def test_gradients_and_their_gradients_are_those_of_finite_differences(form, name):
    unitary = Unitary(4, **(MATRICES | COMPLEX)[name])
    cases = [(form.eunn, eunn_case(unitary, 1, 3, 2))]
    if not unitary.complex:
        cases.append((form.goru, goru_case(GORUOptions(unitary), 1, 3, 2)))
    for run, case in cases:

        def of_leaves(*leaves, run=run, case=case):
            count = len(case[2]) - 1
            of_matrix = [*leaves[2 + count :], None, None][:3]
            unitary_part = case[2].unitary._replace(
                angles=of_matrix[0], phases=of_matrix[1], last_phases=of_matrix[2]
            )
            weights = type(case[2])(*leaves[2 : 2 + count], unitary_part)
            return run(leaves[0], leaves[1], weights, case[3])

        assert torch.autograd.gradcheck(of_leaves, leaves_of(case))
        assert torch.autograd.gradgradcheck(of_leaves, leaves_of(case), fast_mode=True)


@FORMS
@pytest.mark.parametrize("complex_numbers", [False, True])
@pytest.mark.parametrize("options", [{"capacity": 3}, {"fft": True}], ids=str)
def test_ten_thousand_steps_without_input_keep_the_norm(form, complex_numbers, options):
    """Where the modReLU raises nothing: a real one adds its eps, which the bias takes away."""
    unitary = Unitary(6, **options, complex=complex_numbers)
    _, hidden, weights, _ = eunn_case(unitary, batch=1)
    bias = torch.full((6,), 0.0 if complex_numbers else -MODRELU_EPS, dtype=torch.float64)
    with torch.no_grad():
        x = torch.zeros(1, 10_000, 4, dtype=torch.float64)
        outputs = form.eunn(x, hidden, weights._replace(bias=bias), unitary)
    assert (outputs[0].norm(dim=-1) / hidden.norm() - 1).abs().max() <= 1e-11
    assert (outputs[0, -1] - hidden[0]).norm() > 0.1
