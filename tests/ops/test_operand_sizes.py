"""Operands that do not belong together are refused, in every form; no number is read from beyond them."""

import pytest
import torch

from rmem_cli import RUM, URLSTM
from rmem_cli.ops.attention import native as native_attention
from rmem_cli.ops.gates import fast as fast_gates
from rmem_cli.ops.gates import native as native_gates
from rmem_cli.ops.gates.options import GateOptions, GateWeights
from rmem_cli.ops.native import build
from rmem_cli.ops.product import native as native_product


@pytest.mark.parametrize("lambda_", [0, 1])
@pytest.mark.parametrize(("batch", "of_state"), [(64, 1), (2, 4), (3, 2)])
def test_a_rum_refuses_the_state_of_another_batch(op_form, lambda_, batch, of_state):
    rum = RUM(3, 16, lambda_=lambda_)
    with pytest.raises(ValueError, match=r"must (both )?have"):
        rum(torch.ones(batch, 5, 3), rum.initial_state(of_state))


def test_a_rum_refuses_the_memory_of_another_batch_or_size(op_form):
    rum = RUM(3, 16, lambda_=1)
    for memory in (torch.eye(16).expand(1, 16, 16), torch.eye(15).expand(8, 15, 15)):
        with pytest.raises(ValueError, match=r"must (both )?have"):
            rum(torch.ones(8, 5, 3), {**rum.initial_state(8), "memory.0": memory})


@pytest.mark.parametrize(("batch", "of_state"), [(64, 1), (2, 4), (3, 2)])
def test_an_lstm_refuses_states_of_another_batch(op_form, batch, of_state):
    lstm = URLSTM(3, 16)
    fits, other = torch.zeros(1, batch, 16), torch.zeros(1, of_state, 16)
    for states in ((other, other), (fits, other), (other, fits)):
        with pytest.raises(ValueError, match=r"must (both )?have"):
            lstm(torch.ones(5, batch, 3), states)


@pytest.mark.parametrize("core", [lambda: RUM(3, 16), lambda: URLSTM(3, 16)], ids=["RUM", "URLSTM"])
@pytest.mark.parametrize("inputs", [1, 2, 4])
def test_inputs_of_another_width_are_refused(op_form, core, inputs):
    with pytest.raises(ValueError, match=rf"the inputs are \[5, 2, {inputs}\]; they must be \[.*, 3\]"):
        core()(torch.ones(5, 2, inputs))


def test_one_length_holds_for_all_rows(op_form):
    rum = RUM(3, 16)
    x = torch.randn(64, 5, 3)
    for_all, for_each = (rum(x, None, torch.full((count,), 3))[0] for count in (1, 64))
    assert torch.equal(for_all, for_each)


native_only = pytest.mark.skipif(
    not all(build.status(family).available for family in build.FAMILIES),
    reason="there are no native forms here",
)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def gated_lstm(form, keeps=(), **changed):
    fitting = {"input": normal(24, 3), "recurrent": normal(24, 6), "bias": normal(24), "gain": None}
    states = normal(2, 6, seed=1), normal(2, 6, seed=2)
    weights = GateWeights(**{**fitting, **changed})
    x, options = normal(2, 5, 3, seed=3), GateOptions(coupled=False)
    return form.gated_lstm(x, *states, weights, options, *keeps)


@native_only
@pytest.mark.parametrize(
    "changed",
    [
        {"bias": normal(9)},
        {"gain": normal(12)},
        {"recurrent": normal(23, 6)},
        {"recurrent": normal(0, 0)},
        {"input": normal(23, 3)},
    ],
    ids=lambda changed: "".join(changed),
)
def test_the_native_lstm_refuses_weights_that_do_not_fit(changed):
    with pytest.raises(RuntimeError):
        gated_lstm(native_gates, **changed)


@native_only
@pytest.mark.parametrize("keeps", [(normal(2, 5, 4),), (None, normal(1, 5, 6))], ids=["hidden", "cell"])
def test_the_native_lstm_refuses_shares_of_zoneout_that_do_not_fit(keeps):
    with pytest.raises(RuntimeError, match="the sizes of the share"):
        gated_lstm(native_gates, keeps=keeps)


@native_only
@pytest.mark.parametrize("downsize", [0, 4])
def test_the_native_lstm_refuses_masters_that_do_not_share_its_units(downsize):
    states = normal(2, 6, seed=1), normal(2, 6, seed=2)
    weights, bias = (normal(24, 3), normal(24, 6)), normal(24)
    with pytest.raises(RuntimeError, match="master_downsize"):
        torch.ops.rmem.gated_lstm(
            normal(5, 2, 3), *states, *weights, None, None, None, bias, 1, True, True, downsize, True
        )


@native_only
def test_a_gain_may_lie_in_memory_in_any_way():
    gain = normal(48)[::2]
    ours, others = (gated_lstm(form, gain=gain) for form in (native_gates, fast_gates))
    torch.testing.assert_close(ours, others)


@native_only
@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("cached", (3, 4, 24)),
        ("content_bias", (2, 5)),
        ("distance_bias", (2, 8)),
        ("distances", (3, 9, 6)),
        ("mask", (4, 4)),
    ],
)
def test_the_native_attention_refuses_operands_that_do_not_fit(name, shape):
    shapes = {
        "projected": (2, 4, 36),
        "cached": (2, 4, 24),
        "distances": (2, 9, 6),
        "content_bias": (2, 6),
        "distance_bias": (2, 9),
        "mask": (4, 8),
    }
    operands = {each: torch.zeros(shapes[each]) for each in shapes}
    operands["mask"] = operands["mask"].bool()
    native_attention.relative_attention(**operands)
    operands[name] = operands[name].new_zeros(shape)
    with pytest.raises(RuntimeError):
        native_attention.relative_attention(**operands)


@native_only
@pytest.mark.parametrize(
    "core", [RUM(3, 16), RUM(3, 16, lambda_=1), URLSTM(3, 16, batch_first=True)], ids=str
)
def test_an_empty_batch_has_empty_outputs_and_gradients_of_zero(core):
    outputs, _ = core(torch.ones(0, 5, 3))
    assert outputs.shape == (0, 5, 16)
    outputs.sum().backward()
    assert all(not weight.grad.any() for weight in core.parameters())


def test_without_inputs_the_states_alone_count(op_form):
    x = torch.ones(5, 2, 0, requires_grad=True)
    for core in (RUM(0, 16), URLSTM(0, 16)):
        core(x)[0].sum().backward()
        assert x.grad.shape == x.shape


@native_only
@pytest.mark.parametrize(("rows", "depth", "columns"), [(4, 3, 0), (0, 3, 4), (4, 0, 3)])
def test_an_empty_product_is_that_of_torch(rows, depth, columns):
    left, right = torch.ones(rows, depth), torch.ones(depth, columns)
    assert torch.equal(native_product.product(left, right), left @ right)
