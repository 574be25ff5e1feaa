"""The native step of the layer-norm LSTM gives the numbers of the other, as a torch operation should."""

import pytest
import torch

from rmem_cli.ops.layer_norm_lstm import dispatch, fast, native
from rmem_cli.ops.layer_norm_lstm.options import LayerNormLSTMWeights
from rmem_cli.ops.native import build

pytestmark = pytest.mark.skipif(
    not build.status("layer_norm_lstm").available,
    reason=f"nothing can be built here: {build.status('layer_norm_lstm').reason}",
)


def normal(seed, *shape):
    source = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=source, dtype=torch.float64)


def operands(batch=5, size=7, dtype=torch.float64, **changed):
    fitting = {
        "z": normal(1, batch, 4 * size),
        "hidden": normal(2, batch, size),
        "cell": normal(3, batch, size),
        "gate_gain": normal(4, 4 * size),
        "gate_shift": normal(5, 4 * size),
        "cell_gain": normal(6, size),
        "cell_shift": normal(7, size),
    }
    return [each.to(dtype).requires_grad_() for each in {**fitting, **changed}.values()]


def outcome(form, given, wanted=("hidden", "cell"), keeps=()):
    after = dict(zip(("hidden", "cell"), form.update(*given[:3], tuple(given[3:]), *keeps), strict=True))
    loss = sum((after[name] * normal(20, *after[name].shape).to(given[0].dtype)).sum() for name in wanted)
    return [*after.values(), *torch.autograd.grad(loss, given, allow_unused=True, materialize_grads=True)]


@pytest.mark.parametrize("wanted", [("hidden",), ("cell",)], ids=str)
def test_a_result_that_nobody_asks_for_has_no_part_in_the_gradient(wanted):
    ours, others = (outcome(form, operands(), wanted) for form in (native, fast))
    torch.testing.assert_close(ours, others, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("size", [1, 16, 33, 700])
def test_single_precision_agrees_with_double(size):
    single, double = (
        outcome(native, operands(size=size, dtype=dtype)) for dtype in (torch.float32, torch.float64)
    )
    for one, other in zip(single, double, strict=True):
        assert (one.double() - other).norm() <= 1e-5 * other.norm() + 1e-6


def test_a_block_of_equal_numbers_has_no_gradient_that_is_not_a_number():
    given = operands(z=torch.zeros(5, 28, dtype=torch.float64))
    ours, others = (outcome(form, given) for form in (native, fast))
    torch.testing.assert_close(ours, others, rtol=1e-10, atol=1e-10)
    assert all(each.isfinite().all() for each in ours)


def test_the_number_of_threads_changes_no_bit():
    keeps = normal(30, 53, 9).sigmoid(), normal(31, 53, 9).sigmoid()
    before = torch.get_num_threads()
    try:
        outcomes = []
        for threads in (1, 2, 3, 7):
            torch.set_num_threads(threads)
            outcomes.append(outcome(native, operands(53, 9), keeps=keeps))
    finally:
        torch.set_num_threads(before)
    for each in outcomes[1:]:
        assert all(torch.equal(one, other) for one, other in zip(each, outcomes[0], strict=True))


def test_operands_may_lie_in_memory_in_any_way():
    given = operands()
    strided = [torch.stack([each.detach()] * 2, -1)[..., 0].requires_grad_() for each in given]
    torch.testing.assert_close(outcome(native, strided), outcome(native, given))


@pytest.mark.parametrize("name", ["z", "hidden", "gate_gain", "gate_shift", "cell_gain", "cell_shift"])
def test_operands_that_do_not_fit_are_refused(name):
    with pytest.raises(RuntimeError, match="the sizes of the"):
        outcome(native, operands(**{name: normal(9, 3, 2)}))


@pytest.mark.parametrize("keeps", [(normal(8, 5, 6),), (None, normal(8, 1, 7))], ids=["hidden", "cell"])
def test_shares_of_zoneout_that_do_not_fit_are_refused(keeps):
    with pytest.raises(RuntimeError, match="the sizes of the share"):
        outcome(native, operands(), keeps=keeps)


def test_torch_knows_its_shapes_and_that_its_gradient_is_one():
    for keep in (True, False):
        given = [each.requires_grad_(keep) for each in operands()]
        share = normal(8, 5, 7).sigmoid()
        torch.library.opcheck(torch.ops.rmem.layer_norm_lstm_update.default, (*given, None, share, keep))


def test_a_second_derivative_is_refused_in_a_sentence():
    given = operands()
    new_hidden, _ = native.update(*given[:3], tuple(given[3:]))
    first = torch.autograd.grad(new_hidden.sum(), given[0], create_graph=True)
    with pytest.raises(RuntimeError, match="RMEM_NATIVE=off"):
        torch.autograd.grad(first[0].square().sum(), given[0])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_layer_runs_natively_in_the_types_that_the_native_form_has(dtype):
    shapes = (3, 20), (5, 20), (20,), (20,), (20,), (5,), (5,)
    weights = LayerNormLSTMWeights(*(torch.randn(*shape).to(dtype) for shape in shapes))
    assert dispatch.form(weights.input) == ("native" if dtype == torch.float32 else "fast")
    x, state = torch.randn(2, 4, 3).to(dtype), torch.randn(2, 5).to(dtype)
    assert dispatch.layer_norm_lstm(x, state, state, weights, 1.0).hidden.isfinite().all()
