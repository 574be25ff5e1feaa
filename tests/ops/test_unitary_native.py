"""The native form of EUNN and GORU gives the numbers of the others, as a torch operation should."""

import pytest
import torch

from rmem_cli.ops.native import build
from rmem_cli.ops.unitary import Unitary, fast, native
from rmem_cli.ops.unitary.options import EUNNWeights, GORUOptions, GORUWeights, UnitaryWeights

pytestmark = pytest.mark.skipif(
    not build.status("unitary").available,
    reason=f"nothing can be built here: {build.status('unitary').reason}",
)
EUNNS = [
    Unitary(6, 3),
    Unitary(5, fft=True),
    Unitary(6, 2, published_last_unit=True),
    Unitary(5, 3, complex=True),
]
GORUS = [GORUOptions(Unitary(5, 3), *gates) for gates in ((True, True), (True, False), (False, True))]
CASES = pytest.mark.parametrize("options", [*EUNNS, *GORUS], ids=str)


def normal(seed, *shape):
    source = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=source, dtype=torch.float64)


def case(options, batch=3, time=7, inputs=4, scale=1.0):
    """Inputs, state and weights; kernels scaled so that large sizes are no more chaotic than small ones."""
    unitary = options if isinstance(options, Unitary) else options.unitary
    size, count = unitary.size, unitary.angle_count()
    phases = [normal(31, count), normal(32, size)] if unitary.complex else [None, None]
    places, signs = unitary.places()
    of_matrix = UnitaryWeights(normal(30, count), *phases, places, signs.double())
    if options is unitary:
        weights = EUNNWeights(scale * normal(1, inputs, unitary.width), normal(2, size) / 2, of_matrix)
    else:
        gates = options.gates * size
        kernels = scale * normal(1, inputs, size + gates), scale * normal(3, size, gates), normal(4, gates)
        weights = GORUWeights(*kernels, normal(2, size), of_matrix)
    return [normal(7, batch, time, inputs), normal(8, batch, unitary.width), weights, options]


def converted(value, dtype):
    if isinstance(value, torch.Tensor):
        return value.to(dtype).requires_grad_() if value.is_floating_point() else value
    return type(value)(*(converted(each, dtype) for each in value)) if isinstance(value, tuple) else value


def leaves_of(given):
    x, hidden, weights, _ = given
    return [x, hidden, *weights[:-1], *(each for each in weights.unitary[:3] if each is not None)]


def run(form, given, keep=None):
    if isinstance(given[3], Unitary):
        return form.eunn(*given)
    return form.goru(*given, keep)


def outcome(form, given, keep=None, dtype=torch.float64):
    given = [converted(each, dtype) for each in given]
    outputs = run(form, given, keep)
    loss = (outputs * normal(20, *outputs.shape).to(dtype)).sum()
    leaves = leaves_of(given)
    return [outputs, *torch.autograd.grad(loss, leaves, allow_unused=True, materialize_grads=True)]


def assert_equal_outcomes(ours, theirs, rtol=1e-10):
    for one, other in zip(ours, theirs, strict=True):
        largest = other.detach().abs().max().item() if other.numel() else 0.0
        torch.testing.assert_close(one, other, rtol=rtol, atol=rtol * max(largest, 1.0))


@CASES
def test_sequences_of_several_chunks_agree_with_fast(options):
    given = case(options, batch=7, time=150, scale=0.3)
    assert_equal_outcomes(outcome(native, given), outcome(fast, given), rtol=1e-8)


@pytest.mark.parametrize(
    "options", [EUNNS[1], EUNNS[3], Unitary(70, fft=True), Unitary(70, fft=True, complex=True)]
)
def test_single_precision_agrees_with_double(options):
    given = case(options, batch=5, time=6, scale=0.3)
    single, double = (outcome(native, given, dtype=dtype) for dtype in (torch.float32, torch.float64))
    for one, other in zip(single, double, strict=True):
        assert (one.double() - other).norm() <= 1e-4 * other.norm()


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_kernels_that_threads_share_by_units_agree_with_fast(threads):
    given = case(GORUOptions(Unitary(401, 2)), batch=6, time=3, scale=0.05)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        ours = outcome(native, given)
    finally:
        torch.set_num_threads(before)
    assert_equal_outcomes(ours, outcome(fast, given), rtol=1e-9)


@pytest.mark.parametrize("size", [5, 300])
@pytest.mark.parametrize("kind", ["eunn", "goru"])
def test_the_number_of_threads_changes_no_bit(kind, size):
    unitary = Unitary(size, 3, complex=kind == "eunn")
    given = case(unitary if kind == "eunn" else GORUOptions(unitary), batch=23, time=5, scale=0.1)
    before = torch.get_num_threads()
    try:
        outcomes = []
        for threads in (1, 2, 3, 7):
            torch.set_num_threads(threads)
            outcomes.append(outcome(native, given))
    finally:
        torch.set_num_threads(before)
    for each in outcomes[1:]:
        assert all(torch.equal(one, other) for one, other in zip(each, outcomes[0], strict=True))


@CASES
def test_tensors_may_be_views_and_weights_frozen(options):
    x, hidden, weights, _ = case(options)
    plain = [x, hidden, weights, options]
    x, hidden = x.permute(2, 1, 0).contiguous().permute(2, 1, 0), hidden.t().contiguous().t()
    views = [x, hidden, weights._replace(input=weights.input.t().contiguous().t()), options]
    assert_equal_outcomes(outcome(native, views), outcome(native, plain), rtol=0)
    x.requires_grad_()
    frozen = torch.autograd.grad(run(native, [x, hidden, weights, options]).sum(), x)
    assert_equal_outcomes(frozen, torch.autograd.grad(run(fast, [x, hidden, weights, options]).sum(), x))


@CASES
def test_a_gradient_that_alone_is_asked_for_is_the_one_among_all(options):
    among_all = outcome(native, case(options))[1:]
    for place, expected in enumerate(among_all):
        given = case(options)
        leaf = leaves_of(given)[place].requires_grad_()
        loss = (run(native, given) * normal(20, *among_all[0].shape[:2], given[1].shape[1])).sum()
        assert torch.equal(torch.autograd.grad(loss, leaf)[0], expected), place


@CASES
@pytest.mark.parametrize(
    "layout",
    [
        lambda shape: normal(9, *shape[::-1]).permute(2, 1, 0),
        lambda shape: normal(9, 1).expand(shape),
        lambda shape: torch.zeros(shape, dtype=torch.float64),
    ],
    ids=["turned round", "one number", "zeros"],
)
def test_gradients_of_outputs_may_be_laid_out_in_any_way(options, layout):
    given = [converted(each, torch.float64) for each in case(options)]
    outputs = run(native, given)
    cotangent = layout(outputs.shape)
    strided, plain = (
        torch.autograd.grad(outputs, leaves_of(given)[:4], each, retain_graph=True)
        for each in (cotangent, cotangent.contiguous())
    )
    assert all(torch.equal(one, other) for one, other in zip(strided, plain, strict=True))


@CASES
def test_without_gradients_the_outputs_are_the_same(options):
    given = case(options, time=70)
    with torch.no_grad():
        outputs = run(native, given)
    assert torch.equal(outputs, outcome(native, given)[0])
    assert not outputs.requires_grad


@CASES
def test_a_number_that_is_none_is_passed_on(options):
    given = case(options)
    given[0][1, 2, 0] = float("nan")
    outputs = run(native, given)
    assert outputs[1, 2:].isnan().any(-1).all()
    assert outputs[[0, 2]].isfinite().all()
    assert outputs[1, :2].isfinite().all()


def operands(options):
    """Arguments of the operation itself."""
    x, hidden, weights, _ = case(options, batch=2, time=3, inputs=2)
    unitary = options if isinstance(options, Unitary) else options.unitary
    own, other, phases = fast.coefficients(weights.unitary, unitary)
    rotors = None if phases is None else torch.stack([phases.cos(), phases.sin()], 1)
    kernels = weights[:4]
    if options is unitary:
        empty = x.new_empty(0)
        kernels = (weights.input, empty.view(unitary.size, 0), empty, weights.bias)
    tensors = [x.transpose(0, 1).contiguous(), hidden, *kernels, own, other, rotors]
    tensors = [None if each is None else each.detach().clone().requires_grad_() for each in tensors]
    gates = (False, False) if options is unitary else (options.reset_gate, options.update_gate)
    return (*tensors, None, unitary.fft, *gates, True)


@CASES
def test_torch_finds_no_fault_with_the_operation(options):
    torch.library.opcheck(torch.ops.rmem.unitary_rnn.default, operands(options))


@CASES
def test_gradients_are_those_of_finite_differences(options):
    """Of every coefficient of the layers by itself, as if it belonged to no angle."""

    def outputs(*arguments):
        return torch.ops.rmem.unitary_rnn(*arguments)[0]

    assert torch.autograd.gradcheck(outputs, operands(options), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("options", [EUNNS[0], GORUS[0]], ids=["eunn", "goru"])
def test_a_second_derivative_is_refused(options):
    given = [converted(each, torch.float64) for each in case(options)]
    gradient = torch.autograd.grad(run(native, given).square().sum(), given[0], create_graph=True)[0]
    with pytest.raises(RuntimeError, match="second derivatives"):
        gradient.sum().backward()


@pytest.mark.parametrize(
    ("name", "shape"),
    [("hidden", (1, 5)), ("hidden", (3, 6)), ("input", (3, 15)), ("recurrent", (5, 5)), ("bias", (4,))],
)
def test_operands_that_do_not_fit_are_refused(name, shape):
    x, hidden, weights, options = case(GORUS[0])
    wrong = torch.zeros(shape, dtype=torch.float64)
    if name == "hidden":
        hidden = wrong
    else:
        weights = weights._replace(**{name: wrong})
    with pytest.raises(RuntimeError, match=r"must be"):
        native.goru(x, hidden, weights, options)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_what_memory_held_before_is_not_read(dtype):
    """A last unit without a partner, at whose place behind it another network had what is no number."""
    other = case(Unitary(900, 3), batch=4, time=2)
    other[1] = other[1] * float("nan")
    given = case(GORUOptions(Unitary(817, 3), True, False), batch=4, time=2, scale=0.03)
    for _ in range(3):
        outcome(native, other, dtype=dtype)
        found = outcome(native, given, dtype=dtype)
    assert_equal_outcomes(
        found, outcome(fast, given, dtype=dtype), rtol=1e-10 if dtype == torch.float64 else 1e-3
    )
