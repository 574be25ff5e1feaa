"""The fast form equals the equations as written: outputs, final states and gradients, for every option."""

import gc

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rum_weights import leaves_of, make_weights, normal

from rmem_cli.ops.native import build
from rmem_cli.ops.rotation import fast, native, reference
from rmem_cli.ops.rotation import memory as memory_module
from rmem_cli.ops.rotation.options import Affine, RUMOptions, RUMWeights


def outcome(form, options, weights, batch, time, inputs, size, keep, active):
    x, hidden = normal(7, batch, time, inputs), normal(8, batch, size)
    memory = None
    if options.lambda_ == 1:
        memory = torch.linalg.qr(normal(9, batch, size, size).detach())[0].requires_grad_()
    result = form.rum(x, hidden, memory, weights, options, keep, active)
    cotangent = normal(20, batch, time, size).detach()
    loss = (result.outputs * cotangent).sum() + result.hidden.sum() + result.cosines.sum()
    leaves = [x, hidden, *leaves_of(weights)]
    values = [result.outputs, result.hidden, result.cosines]
    if memory is not None:
        loss = loss + (result.memory * normal(21, batch, size, size).detach()).sum()
        leaves.append(memory)
        values.append(result.memory)
    return values + list(torch.autograd.grad(loss, leaves))


def assert_forms_agree(options, batch=3, time=7, inputs=4, size=5, keep=None, active=None, bias=True):
    weights = make_weights(options, inputs, size, bias)
    arguments = (options, weights, batch, time, inputs, size, keep, active)
    for ours, written in zip(outcome(fast, *arguments), outcome(reference, *arguments), strict=True):
        torch.testing.assert_close(ours, written, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("lambda_", [0, 1])
@pytest.mark.parametrize("update_gate", [True, False])
@pytest.mark.parametrize("layer_norm", ["none", "before_gate", "after_gate"])
@pytest.mark.parametrize("eta", [None, 0.7])
@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid", "softsign"])
def test_both_forms_agree_for_every_option(lambda_, update_gate, layer_norm, eta, activation):
    options = RUMOptions(lambda_, eta, update_gate, activation, layer_norm)
    assert_forms_agree(options)


@pytest.mark.parametrize("lambda_", [0, 1])
@pytest.mark.parametrize(
    ("batch", "time", "inputs", "size"), [(1, 1, 1, 2), (1, 9, 3, 7), (5, 1, 2, 3), (2, 11, 7, 13)]
)
def test_both_forms_agree_on_odd_sizes(lambda_, batch, time, inputs, size):
    assert_forms_agree(RUMOptions(lambda_, 1.0), batch, time, inputs, size, bias=False)


@pytest.mark.parametrize("lambda_", [0, 1])
def test_both_forms_agree_with_zoneout_and_rows_that_end_early(lambda_):
    keep = torch.bernoulli(
        torch.full((3, 7, 5), 0.6, dtype=torch.float64), generator=torch.Generator().manual_seed(0)
    )
    active = (torch.arange(7) < torch.tensor([7, 4, 0])[:, None]).double().unsqueeze(-1)
    assert_forms_agree(RUMOptions(lambda_), keep=keep, active=active)


def memory_gradients(parts, time=9):
    """Gradients of a loss on some of the outputs, and the arguments needed to take them again."""
    options = RUMOptions(1)
    weights = make_weights(options, 4, 5)
    x, hidden = normal(7, 2, time, 4), normal(8, 2, 5)
    memory = torch.linalg.qr(normal(9, 2, 5, 5).detach())[0].requires_grad_()
    results = {form: form.rum(x, hidden, memory, weights, options) for form in (fast, reference)}
    losses = {form: parts(result) for form, result in results.items()}
    return losses, [x, hidden, memory, *leaves_of(weights)]


LOSSES = {
    "an early output": lambda result: result.outputs[:, 3].square().sum(),
    "an early output and the last memory": lambda result: (result.outputs[:, 2].sum() * result.memory).sum(),
    "the last memory": lambda result: result.memory.pow(3).sum(),
    "every output": lambda result: result.outputs.square().sum(),
}


@pytest.mark.parametrize("loss", LOSSES)
def test_the_memory_is_taken_back_to_whichever_step_a_loss_depends_on(loss):
    losses, leaves = memory_gradients(LOSSES[loss])
    written = torch.autograd.grad(losses[reference], leaves, allow_unused=True)
    ours = torch.autograd.grad(losses[fast], leaves, allow_unused=True, retain_graph=True)
    again = torch.autograd.grad(losses[fast], leaves, allow_unused=True)
    for one, two, three in zip(ours, again, written, strict=True):
        torch.testing.assert_close(one, three, rtol=1e-9, atol=1e-9)
        assert torch.equal(one, two)


def test_a_backward_pass_that_stops_early_does_not_disturb_the_next():
    options = RUMOptions(1)
    weights = make_weights(options, 4, 5)
    x = normal(7, 2, 9, 4)
    inputs = [x[:, :4].detach().requires_grad_(), x[:, 4:].detach().requires_grad_()]
    memory = torch.eye(5, dtype=torch.float64).expand(2, 5, 5)
    result = fast.rum(torch.cat(inputs, 1), normal(8, 2, 5), memory, weights, options)
    loss = result.outputs[:, 2].sum()
    expected = torch.autograd.grad(loss, inputs[0], retain_graph=True)[0]
    torch.autograd.grad(result.outputs.sum(), inputs[1], retain_graph=True)
    assert torch.equal(torch.autograd.grad(loss, inputs[0])[0], expected)


def test_copies_of_the_memory_change_the_gradient_by_rounding_alone(monkeypatch):
    losses, leaves = memory_gradients(LOSSES["every output"], time=17)
    without = torch.autograd.grad(losses[fast], leaves)
    monkeypatch.setattr(memory_module, "_STEPS_BETWEEN_COPIES", 4)
    losses, leaves = memory_gradients(LOSSES["every output"], time=17)
    for one, two in zip(torch.autograd.grad(losses[fast], leaves), without, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-10, atol=1e-10)


def test_gradients_through_a_thousand_float32_memories_are_those_of_float64():
    options = RUMOptions(1, 1.0)
    gradients = {}
    for dtype in (torch.float32, torch.float64):
        weights = make_weights(options, 4, 20)
        weights = RUMWeights(
            *(Affine(*(t.detach().to(dtype).requires_grad_() for t in affine)) for affine in weights[:3])
        )
        x = normal(7, 1, 1000, 4).detach().to(dtype)
        memory = torch.eye(20, dtype=dtype)[None]
        result = fast.rum(0.1 * x, torch.zeros(1, 20, dtype=dtype), memory, weights, options)
        loss = (result.outputs * normal(8, 1, 1000, 20).detach().to(dtype)).sum()
        gradients[dtype] = torch.autograd.grad(loss, leaves_of(weights))
    for single, double in zip(*gradients.values(), strict=True):
        assert (single.double() - double).norm() < 1e-3 * double.norm()


@settings(deadline=None, max_examples=20)
@given(cut=st.integers(1, 6), lambda_=st.sampled_from([0, 1]))
def test_a_sequence_in_two_parts_equals_the_whole(cut, lambda_):
    options = RUMOptions(lambda_)
    weights = make_weights(options, 4, 5)
    x, hidden = normal(7, 2, 7, 4), normal(8, 2, 5)
    memory = torch.eye(5, dtype=torch.float64).expand(2, 5, 5) if lambda_ else None
    whole = fast.rum(x, hidden, memory, weights, options)
    first = fast.rum(x[:, :cut], hidden, memory, weights, options)
    second = fast.rum(x[:, cut:], first.hidden, first.memory, weights, options)
    torch.testing.assert_close(torch.cat([first.outputs, second.outputs], 1), whole.outputs)
    torch.testing.assert_close(second.hidden, whole.hidden)
    if lambda_:
        torch.testing.assert_close(second.memory, whole.memory)


def test_the_associative_memory_stays_orthogonal_over_a_thousand_steps_in_float32():
    options = RUMOptions(1, 1.0)
    weights = make_weights(options, 4, 20)
    weights = RUMWeights(*(Affine(*(t.detach().float() for t in affine)) for affine in weights[:3]))
    x = normal(7, 1, 1000, 4).detach().float()
    memory = fast.rum(x, torch.zeros(1, 20), torch.eye(20)[None], weights, options).memory
    assert (memory @ memory.mT - torch.eye(20)).abs().max() < 2e-5


def test_nothing_of_a_sequence_stays_in_memory_once_its_result_is_gone():
    losses, leaves = memory_gradients(LOSSES["every output"])
    torch.autograd.grad(losses[fast], leaves)
    del losses, leaves
    gc.collect()
    assert not [each for each in gc.get_objects() if type(each) is memory_module._Tape]


@pytest.mark.parametrize("form", [fast, native], ids=["fast", "native"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("norm", [0.0, 1e-30, 1e-13, 0.9e-12, 1.1e-12, 1e-11, 1.0])
@pytest.mark.parametrize("update_gate", [False, True])
def test_a_state_shorter_than_eps_is_scaled_as_if_it_were_that_long(form, dtype, norm, update_gate):
    """As the published cell does (`normalize(h, eps=1e-12)`), and as the equations have it."""
    if form is native and not build.status("rotation").available:
        pytest.skip(f"there is no native form here: {build.status('rotation').reason}")
    options = RUMOptions(eta=0.7, update_gate=update_gate, activation="softsign")
    unit = torch.tensor([[2.0, -1.0, 2.0]], dtype=dtype) / 3

    def state(of):
        kernel = (norm * unit).requires_grad_()
        gate = Affine(torch.zeros(4, 3, dtype=dtype), torch.full((3,), -40.0, dtype=dtype))
        weights = RUMWeights(
            Affine(torch.ones(4, 3, dtype=dtype), None), gate if update_gate else None, Affine(kernel, None)
        )
        x, hidden = torch.ones(1, 1, 1, dtype=dtype), torch.zeros(1, 3, dtype=dtype)
        outputs = of.rum(x, hidden, None, weights, options).outputs
        weighted = outputs * torch.tensor([1.0, 2.0, -3.0], dtype=dtype)
        return outputs, *torch.autograd.grad(weighted.sum(), kernel)

    found, expected = state(form), state(reference)
    precision = 10 * torch.finfo(dtype).eps
    for ours, written in zip(found, expected, strict=True):
        torch.testing.assert_close(
            ours, written, rtol=precision, atol=precision * written.detach().abs().max().item()
        )
    length = torch.linalg.vector_norm(found[0]).item()
    assert length == pytest.approx(0.7 * min(norm / 1e-12, 1), rel=1e-5)


@pytest.mark.parametrize("form", [fast, native], ids=["fast", "native"])
def test_a_zero_state_stays_zero_without_an_eps(form):
    if form is native and not build.status("rotation").available:
        pytest.skip(f"there is no native form here: {build.status('rotation').reason}")
    options = RUMOptions(eta=0.7, update_gate=False, eps=0.0)
    kernel = normal(1, 1, 3)
    weights = RUMWeights(Affine(normal(2, 4, 3), None), None, Affine(kernel, None))
    x = torch.tensor([[[0.0]], [[1.0]]], dtype=torch.float64)
    outputs = form.rum(x, torch.zeros(2, 3, dtype=torch.float64), None, weights, options).outputs
    (gradient,) = torch.autograd.grad(outputs.square().sum(), kernel)
    assert not outputs[0].any()
    assert torch.linalg.vector_norm(outputs[1]).item() == pytest.approx(0.7)
    assert gradient.isfinite().all()


@pytest.mark.parametrize("eta", [None, 0.7])
@pytest.mark.parametrize("form", [fast, reference, native], ids=["fast", "reference", "native"])
def test_what_is_no_number_stays_none_in_every_form(form, eta):
    if form is native and not build.status("rotation").available:
        pytest.skip(f"there is no native form here: {build.status('rotation').reason}")
    options = RUMOptions(eta=eta)
    x = normal(7, 2, 4, 3).detach()
    x[0, 2] = torch.nan
    result = form.rum(x, normal(8, 2, 5), None, make_weights(options, 3, 5), options)
    assert result.outputs[0, 2:].isnan().all()
    assert result.outputs[1].isfinite().all()
    assert result.outputs[0, :2].isfinite().all()
