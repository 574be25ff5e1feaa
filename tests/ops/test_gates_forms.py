"""The fast and the native form equal the equations as written: all states, gradients and variants."""

import math

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rmem_cli.ops.gates import fast, native, reference
from rmem_cli.ops.gates.options import GateOptions, GateWeights, block_sizes, gru_blocks, lstm_blocks
from rmem_cli.ops.native import build

ACTIVATIONS = pytest.mark.parametrize("activation", ["sigmoid", "cumax"])
AUXILIARIES = pytest.mark.parametrize("auxiliary", ["none", "master", "refine"])
COUPLINGS = pytest.mark.parametrize("coupled", [True, False], ids=["coupled", "uncoupled"])
LAYER_NORM = pytest.mark.parametrize("gain", [False, True], ids=["plain", "layer norm"])
SIZES = pytest.mark.parametrize(
    ("batch", "time", "inputs", "size"), [(1, 1, 1, 1), (1, 40, 3, 7), (5, 1, 2, 3), (2, 17, 7, 13)]
)


@pytest.fixture(params=["fast", "native"])
def lstm(request):
    """The function of a form; a test that uses it holds for both."""
    if request.param == "native" and not build.status("gates").available:
        pytest.skip(f"there is no native form here: {build.status('gates').reason}")
    return {"fast": fast, "native": native}[request.param].gated_lstm


def normal(seed, *shape, spread=1.0):
    source = torch.Generator().manual_seed(seed)
    return (spread * torch.randn(*shape, generator=source, dtype=torch.float64)).requires_grad_()


def shares(seed, *shape):
    """Of new states that zoneout lets through: zeros and ones, and numbers between them."""
    source = torch.Generator().manual_seed(seed)
    return (2 * torch.rand(*shape, generator=source, dtype=torch.float64) - 0.5).clamp(0, 1)


def make_weights(
    blocks,
    inputs,
    size,
    options=None,
    *,
    bias=True,
    forget_bias=True,
    gain=False,
    candidate_bias=False,
    spread=1.0,
):
    sizes = block_sizes(blocks, options or GateOptions(), size)
    rows = sum(sizes)
    return GateWeights(
        normal(1, rows, inputs),
        normal(2, rows, size, spread=spread),
        normal(3, rows) if bias else None,
        normal(4, sizes[0]) if forget_bias else None,
        normal(5, rows) if gain else None,
        normal(6, size) if candidate_bias else None,
    )


def with_gradients(states, leaves):
    leaves = [leaf for leaf in leaves if leaf is not None]
    loss = sum((state * normal(20 + i, *state.shape).detach()).sum() for i, state in enumerate(states))
    return [*states, *torch.autograd.grad(loss, leaves)]


def assert_lstms_agree(lstm, options, batch=3, time=19, inputs=4, size=5, zoneout=(), **kinds):
    weights = make_weights(lstm_blocks(options), inputs, size, options, **kinds)
    x, hidden, cell = normal(7, batch, time, inputs), normal(8, batch, size), normal(9, batch, size)
    keeps = {f"{name}_keep": shares(len(name), batch, time, size) for name in zoneout}
    ours, written = (
        with_gradients(form(x, hidden, cell, weights, options, **keeps), [x, hidden, cell, *weights])
        for form in (lstm, reference.gated_lstm)
    )
    torch.testing.assert_close(ours, written, rtol=1e-10, atol=1e-10)


def assert_grus_agree(options, batch=3, time=19, inputs=4, size=5, zoneout=False, **kinds):
    weights = make_weights(gru_blocks(options), inputs, size, options, **kinds)
    x, hidden = normal(7, batch, time, inputs), normal(8, batch, size)
    keep = shares(10, batch, time, size) if zoneout else None
    ours, written = (
        with_gradients([form.gated_gru(x, hidden, weights, options, keep)], [x, hidden, *weights])
        for form in (fast, reference)
    )
    torch.testing.assert_close(ours, written, rtol=1e-9, atol=1e-9)


@ACTIVATIONS
@AUXILIARIES
@COUPLINGS
@pytest.mark.parametrize("refine_bias", ["tied", "none"])
@LAYER_NORM
def test_the_lstm_equals_its_equations_for_every_variant(
    lstm, activation, auxiliary, coupled, refine_bias, gain
):
    assert_lstms_agree(lstm, GateOptions(activation, auxiliary, coupled, refine_bias), gain=gain)


@ACTIVATIONS
@AUXILIARIES
@pytest.mark.parametrize("refine_bias", ["tied", "none"])
def test_the_gru_equals_its_equations_for_every_variant(activation, auxiliary, refine_bias):
    assert_grus_agree(GateOptions(activation, auxiliary, refine_bias=refine_bias), candidate_bias=True)


ZONEOUT = pytest.mark.parametrize(
    "zoneout", [("hidden",), ("cell",), ("hidden", "cell")], ids=["hidden", "cell", "both"]
)


@ZONEOUT
@ACTIVATIONS
@AUXILIARIES
@COUPLINGS
@LAYER_NORM
def test_zoneout_equals_its_equations_for_every_variant(lstm, zoneout, activation, auxiliary, coupled, gain):
    assert_lstms_agree(lstm, GateOptions(activation, auxiliary, coupled), gain=gain, zoneout=zoneout)


@SIZES
@ZONEOUT
def test_zoneout_equals_its_equations_on_odd_sizes(lstm, zoneout, batch, time, inputs, size):
    assert_lstms_agree(lstm, GateOptions(auxiliary="refine"), batch, time, inputs, size, zoneout=zoneout)


@ACTIVATIONS
@AUXILIARIES
def test_zoneout_of_the_gru_equals_its_equations_for_every_variant(activation, auxiliary):
    assert_grus_agree(GateOptions(activation, auxiliary), candidate_bias=True, zoneout=True)


@ACTIVATIONS
@COUPLINGS
@LAYER_NORM
@pytest.mark.parametrize("downsize", [2, 3, 6])
@pytest.mark.parametrize("zoneout", [(), ("hidden", "cell")], ids=["plain", "zoneout"])
def test_a_downsized_master_equals_its_equations(lstm, activation, coupled, gain, downsize, zoneout):
    options = GateOptions(activation, "master", coupled, master_downsize=downsize)
    assert_lstms_agree(lstm, options, size=6, gain=gain, zoneout=zoneout)


@ACTIVATIONS
@pytest.mark.parametrize("downsize", [2, 3, 6])
def test_a_downsized_master_of_the_gru_equals_its_equations(activation, downsize):
    options = GateOptions(activation, "master", master_downsize=downsize)
    assert_grus_agree(options, size=6, candidate_bias=True, zoneout=True)


@ACTIVATIONS
def test_a_downsized_master_equals_its_equations_without_biases(lstm, activation):
    options = GateOptions(activation, "master", master_downsize=4)
    assert_lstms_agree(lstm, options, size=20, bias=False, forget_bias=False)


@ACTIVATIONS
def test_a_downsized_master_is_the_master_whose_units_stand_beside_themselves(activation):
    # Of the equations as written: what all forms are compared with.
    options = GateOptions(activation, "master", coupled=False, master_downsize=3)
    z = {block: normal(20 + i, 2, 2) for i, block in enumerate(("forget", "input"))}
    z |= {
        f"{block}_auxiliary": torch.full((2, 6), 50.0, dtype=torch.float64) for block in ("forget", "input")
    }
    keep, let_in = reference._lstm_gates(z, options)  # auxiliaries at 1: the masters themselves
    small = {block: each if each.shape[1] == 2 else each[:, :2] for block, each in z.items()}
    for whole, master in zip(
        (keep, let_in), reference._lstm_gates(small, GateOptions(activation, "master", False)), strict=True
    ):
        torch.testing.assert_close(whole, master[:, [0, 0, 0, 1, 1, 1]])


@SIZES
@LAYER_NORM
def test_the_lstm_equals_its_equations_on_odd_sizes_and_without_biases(lstm, batch, time, inputs, size, gain):
    options = GateOptions(auxiliary="refine")
    assert_lstms_agree(lstm, options, batch, time, inputs, size, bias=False, forget_bias=False, gain=gain)


@SIZES
def test_the_gru_equals_its_equations_on_odd_sizes_and_without_biases(batch, time, inputs, size):
    options = GateOptions(auxiliary="refine")
    assert_grus_agree(options, batch, time, inputs, size, bias=False, forget_bias=False)


@pytest.mark.parametrize("used", ["hidden", "cell"])
def test_a_loss_of_one_kind_of_state_alone_has_the_right_gradient(lstm, used):
    options = GateOptions(auxiliary="refine")
    weights = make_weights(lstm_blocks(options), 4, 5)
    x, zero = normal(7, 3, 19, 4), torch.zeros(3, 5, dtype=torch.float64)
    ours, written = (
        with_gradients([getattr(form(x, zero, zero, weights, options), used)], [x, *weights])
        for form in (lstm, reference.gated_lstm)
    )
    torch.testing.assert_close(ours, written, rtol=1e-9, atol=1e-9)


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(1, 18), auxiliary=st.sampled_from(["none", "master", "refine"]))
def test_a_sequence_in_two_parts_equals_the_whole(lstm, cut, auxiliary):
    options = GateOptions(auxiliary=auxiliary)
    weights = make_weights(lstm_blocks(options), 4, 5)
    x, hidden, cell = normal(7, 3, 19, 4), normal(8, 3, 5), normal(9, 3, 5)
    whole = lstm(x, hidden, cell, weights, options)
    first = lstm(x[:, :cut], hidden, cell, weights, options)
    second = lstm(x[:, cut:], first.hidden[:, -1], first.cell[:, -1], weights, options)
    torch.testing.assert_close(torch.cat([first.hidden, second.hidden], 1), whole.hidden)
    torch.testing.assert_close(torch.cat([first.cell, second.cell], 1), whole.cell)


def test_the_backward_pass_agrees_with_finite_differences(lstm):
    options = GateOptions(auxiliary="master", coupled=False)
    weights = make_weights(lstm_blocks(options), 2, 3)
    x, hidden, cell = normal(7, 2, 3, 2), normal(8, 2, 3), normal(9, 2, 3)
    assert torch.autograd.gradcheck(
        lambda x, hidden, cell, *leaves: lstm(x, hidden, cell, GateWeights(*leaves), options),
        (x, hidden, cell, *weights[:4]),
    )


@pytest.mark.parametrize(
    "options",
    [
        GateOptions("sigmoid", "refine"),
        GateOptions("sigmoid", "master", master_downsize=2),
        GateOptions("cumax", "master", coupled=False, master_downsize=2),
    ],
    ids=["refine", "master", "ordered master"],
)
def test_the_backward_pass_of_zoneout_agrees_with_finite_differences(lstm, options):
    weights = make_weights(lstm_blocks(options), 2, 4, options)
    x, hidden, cell = normal(7, 2, 3, 2), normal(8, 2, 4), normal(9, 2, 4)
    keeps = shares(1, 2, 3, 4), shares(2, 2, 3, 4)
    forget_bias = [weights.forget_bias] if options.activation == "sigmoid" else []
    assert torch.autograd.gradcheck(
        lambda x, hidden, cell, *leaves: lstm(x, hidden, cell, GateWeights(*leaves), options, *keeps),
        (x, hidden, cell, *weights[:3], *forget_bias),
    )


def test_zoneout_mixes_the_states_and_reads_the_new_hidden_state_from_the_new_cell(lstm):
    # Weights of zero: every gate is 1/2, and the candidate tanh(1).
    weights = GateWeights(torch.zeros(3, 1), torch.zeros(3, 1), torch.tensor([0.0, 1.0, 0.0]))
    x, hidden, cell = torch.zeros(1, 1, 1), torch.full((1, 1), 0.2), torch.ones(1, 1)
    keeps = torch.full((1, 1, 1), 0.25), torch.full((1, 1, 1), 0.4)
    new_cell = (1 + math.tanh(1)) / 2
    new_hidden = math.tanh(new_cell) / 2
    for form in (lstm, reference.gated_lstm):
        states = form(x, hidden, cell, weights, GateOptions(), *keeps)
        assert states.cell.item() == pytest.approx(0.6 * 1 + 0.4 * new_cell, abs=1e-6)
        assert states.hidden.item() == pytest.approx(0.75 * 0.2 + 0.25 * new_hidden, abs=1e-6)


@LAYER_NORM
def test_zoneout_of_nothing_changes_no_bit_and_of_everything_no_state(lstm, gain):
    options = GateOptions(auxiliary="refine")
    weights = make_weights(lstm_blocks(options), 4, 5, gain=gain)
    x, hidden, cell = normal(7, 3, 19, 4), normal(8, 3, 5), normal(9, 3, 5)
    leaves = [x, hidden, cell, *weights]
    ones = torch.ones(3, 19, 5, dtype=torch.float64)
    plain = with_gradients(lstm(x, hidden, cell, weights, options), leaves)
    let_through = with_gradients(lstm(x, hidden, cell, weights, options, ones, ones), leaves)
    torch.testing.assert_close(let_through, plain, rtol=0, atol=0)
    kept = lstm(x, hidden, cell, weights, options, 0 * ones, 0 * ones)
    assert torch.equal(kept.hidden, hidden[:, None].expand(3, 19, 5))
    assert torch.equal(kept.cell, cell[:, None].expand(3, 19, 5))


def test_shares_that_zoneout_lets_through_may_be_laid_out_in_any_way(lstm):
    options = GateOptions(auxiliary="refine")
    weights = make_weights(lstm_blocks(options), 4, 5)
    operands = normal(7, 3, 19, 4), normal(8, 3, 5), normal(9, 3, 5), weights, options
    keeps = shares(1, 19, 5, 3).permute(2, 0, 1), shares(2, 1).expand(3, 19, 5)
    plain = lstm(*operands, *(each.contiguous() for each in keeps))
    torch.testing.assert_close(lstm(*operands, *keeps), plain)


@pytest.mark.parametrize("zoneout", [(), ("hidden", "cell")], ids=["plain", "zoneout"])
def test_a_sequence_longer_than_a_chunk_equals_its_equations(lstm, zoneout):
    # Small weights: differences of rounding grow over the steps of a chaotic recurrence.
    options = GateOptions(auxiliary="refine")
    weights = make_weights(lstm_blocks(options), 4, 5)
    smaller = (None if each is None else (each.detach() / 3).requires_grad_() for each in weights)
    weights = GateWeights(*smaller)
    x, hidden, cell = normal(7, 3, 150, 4), normal(8, 3, 5), normal(9, 3, 5)
    keeps = {f"{name}_keep": shares(1, 3, 150, 5) for name in zoneout}
    ours, written = (
        with_gradients(form(x, hidden, cell, weights, options, **keeps), [x, hidden, cell, *weights])
        for form in (lstm, reference.gated_lstm)
    )
    torch.testing.assert_close(ours, written, rtol=1e-10, atol=1e-10)


@pytest.fixture
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.parametrize("threads", [1, 2, 3], indirect=True)
@pytest.mark.parametrize(
    "options",
    [
        GateOptions(auxiliary="refine"),
        GateOptions(coupled=False),
        GateOptions(auxiliary="master", coupled=False),
    ],
)
@pytest.mark.parametrize("zoneout", [(), ("hidden", "cell")], ids=["plain", "zoneout"])
def test_threads_that_share_the_units_of_large_weights_equal_the_equations(lstm, threads, options, zoneout):
    # More than 2 MB of weights, and units that fill no whole number of vectors.
    assert_lstms_agree(lstm, options, batch=3, time=11, inputs=2, size=309, spread=0.05, zoneout=zoneout)


@pytest.mark.parametrize("threads", [1, 2], indirect=True)
def test_rows_of_several_blocks_and_weights_beyond_the_near_caches_equal_the_equations(lstm, threads):
    # Between 1 and 2 MB of weights, whose products threads share by rows; no whole number of blocks.
    assert_lstms_agree(
        lstm, GateOptions(auxiliary="refine"), batch=20, time=3, inputs=2, size=201, spread=0.05
    )


@pytest.mark.skipif(not build.status("gates").available, reason="there is no native form here")
@LAYER_NORM
@pytest.mark.parametrize("size", [40, 309], ids=["by rows", "by units"])
@pytest.mark.parametrize("zoneout", [False, True], ids=["plain", "zoneout"])
def test_the_number_of_threads_changes_no_bit(gain, size, zoneout):
    options = GateOptions(auxiliary="refine")
    weights = make_weights(lstm_blocks(options), 33, size, gain=gain, spread=0.05)
    x, hidden, cell = normal(7, 23, 70, 33), normal(8, 23, size), normal(9, 23, size)
    keeps = (shares(1, 23, 70, size), shares(2, 23, 70, size)) if zoneout else ()
    before = torch.get_num_threads()
    try:
        outcomes = []
        for threads in (1, 2, 3, 7):
            torch.set_num_threads(threads)
            states = native.gated_lstm(x, hidden, cell, weights, options, *keeps)
            outcomes.append(with_gradients(states, [x, hidden, cell, *weights]))
    finally:
        torch.set_num_threads(before)
    for each in outcomes[1:]:
        torch.testing.assert_close(each, outcomes[0], rtol=0, atol=0)


def test_inputs_may_be_laid_out_in_any_way(lstm):
    options = GateOptions(auxiliary="refine")
    weights = make_weights(lstm_blocks(options), 4, 5)
    x, hidden, cell = normal(7, 4, 19, 3), normal(8, 5, 3), normal(9, 5, 3)
    operands = x.permute(2, 1, 0), hidden.t(), cell.t()
    strided = lstm(*operands, weights, options)
    plain = lstm(*(each.contiguous() for each in operands), weights, options)
    torch.testing.assert_close(strided, plain)


@pytest.mark.parametrize(
    "given",
    [
        normal(8, 19, 5, 3).permute(2, 0, 1),
        normal(8, 3, 5, 19).transpose(1, 2),
        normal(8, 1).expand(3, 19, 5),
    ],
    ids=["time first", "time last", "one number"],
)
def test_gradients_of_states_may_be_laid_out_in_any_way(lstm, given):
    options = GateOptions(auxiliary="refine")
    weights = make_weights(lstm_blocks(options), 4, 5)
    x, zero = normal(7, 3, 19, 4), torch.zeros(3, 5, dtype=torch.float64)
    states = lstm(x, zero, zero, weights, options)
    strided, plain = (
        torch.autograd.grad(states, [x, *weights[:4]], [each, 2 * each], retain_graph=True)
        for each in (given.detach(), given.detach().contiguous())
    )
    torch.testing.assert_close(strided, plain)


def test_frozen_weights_get_no_gradient_and_change_no_other(lstm):
    options = GateOptions(auxiliary="refine")
    weights = make_weights(lstm_blocks(options), 4, 5)
    x, zero = normal(7, 3, 19, 4), torch.zeros(3, 5, dtype=torch.float64)
    for free in ("input", "recurrent", "forget_bias"):
        frozen = GateWeights(*(None if each is None else each.detach() for each in weights))
        leaf = getattr(weights, free)
        ours = with_gradients(lstm(x, zero, zero, frozen._replace(**{free: leaf}), options), [leaf])
        torch.testing.assert_close(ours, with_gradients(lstm(x, zero, zero, weights, options), [leaf]))


def test_a_graph_may_be_gone_through_twice(lstm):
    options = GateOptions(auxiliary="refine")
    weights = make_weights(lstm_blocks(options), 4, 5)
    states = lstm(normal(7, 3, 19, 4), normal(8, 3, 5), normal(9, 3, 5), weights, options)
    loss = states.hidden.square().sum() + states.cell[:, -1].sum()
    first, second = (torch.autograd.grad(loss, weights[:4], retain_graph=True) for _ in range(2))
    torch.testing.assert_close(first, second, rtol=0, atol=0)


def test_a_state_that_is_used_twice_gets_both_gradients(lstm):
    options = GateOptions(auxiliary="refine")
    weights = make_weights(lstm_blocks(options), 4, 5)
    x, hidden = normal(7, 3, 19, 4), normal(8, 3, 5)
    ours, written = (
        with_gradients(form(x, hidden, 2 * hidden, weights, options), [x, hidden, *weights])
        for form in (lstm, reference.gated_lstm)
    )
    torch.testing.assert_close(ours, written, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("zoneout", [False, True], ids=["plain", "zoneout"])
def test_what_needs_no_gradient_keeps_nothing_and_is_the_same(lstm, zoneout):
    options = GateOptions("cumax", "master", coupled=False)
    weights = make_weights(lstm_blocks(options), 4, 5, forget_bias=False, gain=True)
    keeps = (shares(1, 3, 150, 5), shares(2, 3, 150, 5)) if zoneout else ()
    operands = normal(7, 3, 150, 4), normal(8, 3, 5), normal(9, 3, 5), weights, options, *keeps
    with torch.no_grad():
        without = lstm(*operands)
    torch.testing.assert_close(without, tuple(each.detach() for each in lstm(*operands)), rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_numbers_that_are_not_finite_stay_visible(lstm, dtype):
    options = GateOptions(auxiliary="refine")
    weights = make_weights(lstm_blocks(options), 4, 5)
    weights = GateWeights(*(None if each is None else each.to(dtype) for each in weights))
    x, zero = normal(7, 2, 9, 4).detach().to(dtype), torch.zeros(2, 5, dtype=dtype)
    x[0, 3, 1] = torch.nan
    states = lstm(x, zero, zero, weights, options)
    assert states.hidden[0, 3:].isnan().all()
    assert states.hidden[1].isfinite().all()


@pytest.mark.skipif(not build.status("gates").available, reason="there is no native form here")
@ACTIVATIONS
@LAYER_NORM
@pytest.mark.parametrize("zoneout", [False, True], ids=["plain", "zoneout"])
def test_torch_finds_no_fault_with_the_native_operations(activation, gain, zoneout):
    options = GateOptions(activation, "refine")
    weights = make_weights(lstm_blocks(options), 4, 5, gain=gain)
    form = (2, True, activation == "cumax", 1)
    keeps = (shares(1, 19, 3, 5), shares(2, 19, 3, 5)) if zoneout else (None, None)
    states = normal(8, 3, 5), normal(9, 3, 5)
    operands = (normal(7, 19, 3, 4), *states, *weights[:2], weights.gain, *keeps)
    torch.library.opcheck(torch.ops.rmem.gated_lstm.default, (*operands, weights.bias, *form, True))
    output = torch.ops.rmem.gated_lstm(*operands, weights.bias, *form, True)
    states = [each.detach() for each in output]
    grads = [torch.ones_like(each) for each in states[:2]]
    constants = [each.detach() if isinstance(each, torch.Tensor) else each for each in operands]
    torch.library.opcheck(
        torch.ops.rmem.gated_lstm_backward.default,
        (*grads, *constants, *states, *form, True, True),
    )


@pytest.mark.skipif(not build.status("gates").available, reason="there is no native form here")
def test_a_second_derivative_of_the_native_form_is_refused():
    options = GateOptions(auxiliary="refine")
    x, hidden, cell = normal(7, 3, 9, 4), normal(8, 3, 5), normal(9, 3, 5)
    states = native.gated_lstm(x, hidden, cell, make_weights(lstm_blocks(options), 4, 5), options)
    gradient = torch.autograd.grad(states.hidden.sum(), x, create_graph=True)[0]
    with pytest.raises(RuntimeError, match="no second derivatives"):
        gradient.sum().backward()


def test_single_precision_is_as_exact_as_its_rounding(lstm):
    options = GateOptions(auxiliary="refine")
    weights = make_weights(lstm_blocks(options), 4, 33)
    smaller = GateWeights(*(None if each is None else each.detach() / 6 for each in weights))
    single = GateWeights(*(None if each is None else each.float() for each in smaller))
    x, hidden, cell = normal(7, 3, 150, 4).detach(), normal(8, 3, 33).detach(), normal(9, 3, 33).detach()
    ours = lstm(x.float(), hidden.float(), cell.float(), single, options)
    exact = reference.gated_lstm(x, hidden, cell, smaller, options)
    torch.testing.assert_close(ours.hidden.double(), exact.hidden, rtol=0, atol=2e-6)


@pytest.mark.parametrize(("dtype", "digits"), [(torch.float32, 3e-6), (torch.float64, 1e-14)], ids=str)
@pytest.mark.parametrize("size_of_inputs", [1.0, 0.1, 1e-3, 1e-5, 1e-12, 1e-30])
def test_small_numbers_keep_their_digits(lstm, dtype, digits, size_of_inputs):
    weights = make_weights(lstm_blocks(GateOptions()), 1, 33, bias=False, forget_bias=False)
    x, start = normal(7, 9, 1, 1, spread=size_of_inputs).to(dtype), torch.zeros(9, 33, dtype=torch.float64)
    rounded = GateWeights(*(None if each is None else each.to(dtype) for each in weights))
    exact = GateWeights(*(None if each is None else each.double() for each in rounded))
    ours = lstm(x, start.to(dtype), start.to(dtype), rounded, GateOptions())
    written = reference.gated_lstm(x.double(), start, start, exact, GateOptions())
    for one, other in zip(ours, written, strict=True):
        torch.testing.assert_close(one.double(), other, rtol=digits, atol=0)


def test_single_precision_gradients_over_many_rows_are_those_of_double(lstm):
    options = GateOptions(auxiliary="refine")
    gradients = {}
    for dtype in (torch.float32, torch.float64):
        weights = GateWeights(
            *(
                None if each is None else (each.detach() / 8).to(dtype).requires_grad_()
                for each in make_weights(lstm_blocks(options), 4, 64)
            )
        )
        x, state = normal(7, 64, 70, 4).detach().to(dtype), torch.zeros(64, 64, dtype=dtype)
        hidden = lstm(x, state, state, weights, options).hidden
        loss = (hidden * normal(8, 64, 70, 64).detach().to(dtype)).sum()
        gradients[dtype] = torch.autograd.grad(loss, [each for each in weights if each is not None])
    for single, double in zip(*gradients.values(), strict=True):
        assert (single.double() - double).norm() < 1e-5 * double.norm()
