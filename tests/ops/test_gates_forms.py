"""The fast form equals the equations as written: all states and gradients, for every variant and option."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rmem_cli.ops.gates import fast, reference
from rmem_cli.ops.gates.options import GateOptions, GateWeights, gru_blocks, lstm_blocks

ACTIVATIONS = pytest.mark.parametrize("activation", ["sigmoid", "cumax"])
AUXILIARIES = pytest.mark.parametrize("auxiliary", ["none", "master", "refine"])
SIZES = pytest.mark.parametrize(
    ("batch", "time", "inputs", "size"), [(1, 1, 1, 1), (1, 40, 3, 7), (5, 1, 2, 3), (2, 17, 7, 13)]
)


def normal(seed, *shape):
    source = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=source, dtype=torch.float64).requires_grad_()


def make_weights(blocks, inputs, size, *, bias=True, forget_bias=True, gain=False, candidate_bias=False):
    rows = len(blocks) * size
    return GateWeights(
        normal(1, rows, inputs),
        normal(2, rows, size),
        normal(3, rows) if bias else None,
        normal(4, size) if forget_bias else None,
        normal(5, rows) if gain else None,
        normal(6, size) if candidate_bias else None,
    )


def with_gradients(states, leaves):
    leaves = [leaf for leaf in leaves if leaf is not None]
    loss = sum((state * normal(20 + i, *state.shape).detach()).sum() for i, state in enumerate(states))
    return [*states, *torch.autograd.grad(loss, leaves)]


def assert_lstms_agree(options, batch=3, time=19, inputs=4, size=5, **kinds):
    weights = make_weights(lstm_blocks(options), inputs, size, **kinds)
    x, hidden, cell = normal(7, batch, time, inputs), normal(8, batch, size), normal(9, batch, size)
    ours, written = (
        with_gradients(form.gated_lstm(x, hidden, cell, weights, options), [x, hidden, cell, *weights])
        for form in (fast, reference)
    )
    torch.testing.assert_close(ours, written, rtol=1e-9, atol=1e-9)


def assert_grus_agree(options, batch=3, time=19, inputs=4, size=5, **kinds):
    weights = make_weights(gru_blocks(options), inputs, size, **kinds)
    x, hidden = normal(7, batch, time, inputs), normal(8, batch, size)
    ours, written = (
        with_gradients([form.gated_gru(x, hidden, weights, options)], [x, hidden, *weights])
        for form in (fast, reference)
    )
    torch.testing.assert_close(ours, written, rtol=1e-9, atol=1e-9)


@ACTIVATIONS
@AUXILIARIES
@pytest.mark.parametrize("coupled", [True, False], ids=["coupled", "uncoupled"])
@pytest.mark.parametrize("refine_bias", ["tied", "none"])
@pytest.mark.parametrize("gain", [False, True], ids=["plain", "layer norm"])
def test_both_forms_of_the_lstm_agree_for_every_variant(activation, auxiliary, coupled, refine_bias, gain):
    assert_lstms_agree(GateOptions(activation, auxiliary, coupled, refine_bias), gain=gain)


@ACTIVATIONS
@AUXILIARIES
@pytest.mark.parametrize("refine_bias", ["tied", "none"])
def test_both_forms_of_the_gru_agree_for_every_variant(activation, auxiliary, refine_bias):
    assert_grus_agree(GateOptions(activation, auxiliary, refine_bias=refine_bias), candidate_bias=True)


@SIZES
@pytest.mark.parametrize("gain", [False, True], ids=["plain", "layer norm"])
def test_both_forms_agree_on_odd_sizes_and_without_biases(batch, time, inputs, size, gain):
    options = GateOptions(auxiliary="refine")
    assert_lstms_agree(options, batch, time, inputs, size, bias=False, forget_bias=False, gain=gain)
    assert_grus_agree(options, batch, time, inputs, size, bias=False, forget_bias=False)


@pytest.mark.parametrize("used", ["hidden", "cell"])
def test_a_loss_of_one_kind_of_state_alone_has_the_right_gradient(used):
    options = GateOptions(auxiliary="refine")
    weights = make_weights(lstm_blocks(options), 4, 5)
    x, zero = normal(7, 3, 19, 4), torch.zeros(3, 5, dtype=torch.float64)
    ours, written = (
        with_gradients([getattr(form.gated_lstm(x, zero, zero, weights, options), used)], [x, *weights])
        for form in (fast, reference)
    )
    torch.testing.assert_close(ours, written, rtol=1e-9, atol=1e-9)


@settings(deadline=None, max_examples=20)
@given(cut=st.integers(1, 18), auxiliary=st.sampled_from(["none", "master", "refine"]))
def test_a_sequence_in_two_parts_equals_the_whole(cut, auxiliary):
    options = GateOptions(auxiliary=auxiliary)
    weights = make_weights(lstm_blocks(options), 4, 5)
    x, hidden, cell = normal(7, 3, 19, 4), normal(8, 3, 5), normal(9, 3, 5)
    whole = fast.gated_lstm(x, hidden, cell, weights, options)
    first = fast.gated_lstm(x[:, :cut], hidden, cell, weights, options)
    second = fast.gated_lstm(x[:, cut:], first.hidden[:, -1], first.cell[:, -1], weights, options)
    torch.testing.assert_close(torch.cat([first.hidden, second.hidden], 1), whole.hidden)
    torch.testing.assert_close(torch.cat([first.cell, second.cell], 1), whole.cell)


def test_the_backward_pass_agrees_with_finite_differences():
    options = GateOptions(auxiliary="master", coupled=False)
    weights = make_weights(lstm_blocks(options), 2, 3)
    x, hidden, cell = normal(7, 2, 3, 2), normal(8, 2, 3), normal(9, 2, 3)
    assert torch.autograd.gradcheck(
        lambda x, hidden, cell, *leaves: fast.gated_lstm(x, hidden, cell, GateWeights(*leaves), options),
        (x, hidden, cell, *weights[:4]),
    )
