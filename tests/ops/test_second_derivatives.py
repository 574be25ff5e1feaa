"""A gradient that is differentiated in turn is right in every form, or refused whatever it is asked by."""

import itertools
import re
from pathlib import Path

import pytest
import torch
from torch.autograd import gradgradcheck

import rmem_cli
from rmem_cli.ops.associative_memory import fast as fast_memory
from rmem_cli.ops.associative_memory import reference as memory_reference
from rmem_cli.ops.attention import fast as attention
from rmem_cli.ops.attention import masks
from rmem_cli.ops.attention import native as native_attention
from rmem_cli.ops.attention.masks import Layout, Rules
from rmem_cli.ops.feed_forward import fast as feed_forward
from rmem_cli.ops.gates import fast as gates
from rmem_cli.ops.gates import native as native_gates
from rmem_cli.ops.gates.options import GateOptions, GateWeights, gru_blocks, lstm_blocks
from rmem_cli.ops.layer_norm_lstm import fast as layer_norm_lstm
from rmem_cli.ops.layer_norm_lstm.options import LayerNormLSTMWeights
from rmem_cli.ops.native import build
from rmem_cli.ops.product import dispatch as product
from rmem_cli.ops.root_mean_square_norm import fast as root_mean_square_norm
from rmem_cli.ops.rotation import fast as rotation
from rmem_cli.ops.rotation import native as native_rotation
from rmem_cli.ops.rotation import rotate, rotation_components, rotation_operator
from rmem_cli.ops.rotation.options import Affine, LayerNormWeights, RUMOptions, RUMWeights

# Every operation with a backward pass written by hand, and the test of this file that goes through it.
HAND_WRITTEN = {
    "ops/attention/fast.py": {"_RelativeAttention"},
    "ops/feed_forward/fast.py": {"_Relu", "_GatedGelu"},
    "ops/gates/fast.py": {"_Recurrence"},
    "ops/layer_norm_lstm/fast.py": {"_Update"},
    "ops/product/dispatch.py": {"_Linear"},
    "ops/product/steps.py": {"_Shared", "_Product"},
    "ops/root_mean_square_norm/fast.py": {"_Normalize"},
    "ops/rotation/memory.py": {"_Begin", "_Turn", "_End"},
    "ops/rotation/rotate.py": {"_Plane", "Rotate", "Unit"},
}


def normal(*shape, seed=0):
    source = torch.Generator().manual_seed(100 * seed + sum(shape))
    return torch.randn(*shape, generator=source, dtype=torch.float64).requires_grad_()


def assert_right(form, *leaves, projected=False):
    """The second derivatives are those of the gradients' finite differences.

    Each of them, or, which takes a tenth of the time, all of them along random directions.
    """
    assert gradgradcheck(form, leaves, fast_mode=projected)


def test_no_hand_written_backward_pass_is_left_out():
    root = Path(rmem_cli.__file__).parent
    found = {}
    for path in root.rglob("*.py"):
        names = re.findall(r"^class (\w+)\(.*Function\):", path.read_text(encoding="utf-8"), re.MULTILINE)
        if names:
            found[path.relative_to(root).as_posix()] = set(names)
    assert found == HAND_WRITTEN


def test_those_of_a_layer_norm_lstm_are_right():
    size = 3
    shapes = [(2, 4 * size), (size, 4 * size), (4 * size,), (4 * size,), (4 * size,), (size,), (size,)]
    leaves = [normal(2, 3, 2, seed=1), normal(2, size, seed=2), normal(2, size, seed=3)]
    leaves += [normal(*shape, seed=4 + place) for place, shape in enumerate(shapes)]
    keep = (normal(2, 3, size, seed=12).detach() > 0).double()

    def of(x, hidden, cell, *weights):
        weights = LayerNormLSTMWeights(*weights)
        return tuple(layer_norm_lstm.layer_norm_lstm(x, hidden, cell, weights, 1.0, keep, keep))

    assert_right(of, *leaves)


def rum_weights(options, inputs, size):
    def affine(seed, rows):
        return Affine(normal(rows, size, seed=seed), normal(size, seed=seed + 1))

    norms = None
    if options.layer_norm != "none":
        count = 6 if options.update_gate else 4
        norms = LayerNormWeights(*(normal(size, seed=20 + each) for each in range(count)))
    gate = affine(3, inputs + size) if options.update_gate else None
    return RUMWeights(affine(1, inputs + size), gate, affine(5, inputs), norms)


def flat(weights):
    present = [weights.target, weights.gate, weights.embedding, weights.layer_norm]
    return [each for group in present for each in (group or ()) if each is not None]


def rebuilt(weights, tensors):
    tensors = iter(tensors)

    def again(group):
        return (
            None
            if group is None
            else type(group)(*(None if each is None else next(tensors) for each in group))
        )

    return RUMWeights(*(again(group) for group in weights))


def rum_case(options, batch=2, time=3, inputs=2, size=3):
    """The leaves of a RUM, and what makes its states of a form and leaves."""
    weights = rum_weights(options, inputs, size)
    leaves = [normal(batch, time, inputs, seed=7), normal(batch, size, seed=8)]
    if options.lambda_ == 1:
        memory = torch.linalg.qr(normal(batch, size, size, seed=9).detach())[0]
        leaves.append(memory.requires_grad_())
    states = len(leaves)
    leaves += [each for group in weights if group is not None for each in group if each is not None]

    def run(form, leaves, keep=None, active=None):
        memory = leaves[2] if states == 3 else None
        found = form.rum(
            leaves[0], leaves[1], memory, rebuilt(weights, leaves[states:]), options, keep, active
        )
        return tuple(each for each in found if each is not None)

    return leaves, run


@pytest.mark.parametrize("lambda_", [0, 1])
@pytest.mark.parametrize(
    "form",
    [
        {},
        {"eta": 0.7},
        {"update_gate": False},
        {"layer_norm": "before_gate", "activation": "tanh"},
        {"layer_norm": "after_gate", "activation": "softsign"},
        {"activation": "sigmoid", "eta": 1.5, "layer_norm": "before_gate"},
    ],
    ids=str,
)
@pytest.mark.slow
def test_those_of_a_rum_are_right(lambda_, form):
    leaves, run = rum_case(RUMOptions(lambda_=lambda_, **form))
    assert_right(lambda *leaves: run(rotation, leaves), *leaves, projected=form != {})


@pytest.mark.parametrize("lambda_", [0, 1])
def test_those_of_a_rum_with_zoneout_and_lengths_are_right(lambda_):
    leaves, run = rum_case(RUMOptions(lambda_=lambda_, activation="tanh"))
    keep = (normal(2, 3, 3, seed=11).detach() > 0).double()
    active = torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 1.0]], dtype=torch.float64).unsqueeze(-1)
    assert_right(lambda *leaves: run(rotation, leaves, keep, active), *leaves)


@pytest.mark.parametrize("lambda_", [0, 1])
def test_those_of_a_rum_are_right_where_the_gradient_gets_no_gradient_from_outside(lambda_):
    """A sum's gradient is constant, which must not make that of the whole look constant."""
    leaves, run = rum_case(RUMOptions(lambda_=lambda_, activation="tanh"))
    x = leaves[0]
    assert_right(lambda *leaves: run(rotation, leaves)[0].sum(), *leaves)
    (gradient,) = torch.autograd.grad(run(rotation, leaves)[0].sum(), x, create_graph=True)
    (product,) = torch.autograd.grad(gradient.square().sum(), x)
    with torch.no_grad():
        step = 1e-5 * product / product.norm()

    def penalty(x):
        return torch.autograd.grad(run(rotation, [x, *leaves[1:]])[0].sum(), x)[0].square().sum()

    slope = (penalty((x + step).requires_grad_()) - penalty((x - step).requires_grad_())) / 2e-5
    torch.testing.assert_close(slope, product.norm(), rtol=1e-6, atol=1e-8)


def test_those_of_a_rum_over_more_steps_than_a_memory_is_copied_after_are_right(monkeypatch):
    monkeypatch.setattr("rmem_cli.ops.rotation.memory._STEPS_BETWEEN_COPIES", 2)
    leaves, run = rum_case(RUMOptions(lambda_=1, activation="tanh"), batch=1, time=5)
    assert_right(lambda *leaves: run(rotation, leaves), *leaves)


@pytest.mark.parametrize("angle", ["random", "obtuse", "acute"])
def test_those_of_a_rotation_are_right(angle):
    x, h = normal(3, 5, seed=1), normal(3, 5, seed=3)
    offset = {"random": 0.0, "obtuse": -3.0, "acute": 3.0}[angle]
    y = (normal(3, 5, seed=2) + offset * x).detach().requires_grad_()
    assert_right(rotate, x, y, h)
    assert_right(rotation_operator, x, y)
    assert_right(rotation_components, x, y)


@pytest.mark.parametrize("place", ["zero", "parallel", "opposite"])
@pytest.mark.parametrize("of", [rotate, rotation_operator, rotation_components], ids=lambda of: of.__name__)
def test_those_of_a_rotation_are_finite_where_its_plane_is_undefined(place, of):
    x = normal(2, 4, seed=1)
    scale = {"zero": 0.0, "parallel": 2.0, "opposite": -2.0}[place]
    y = (scale * x).detach().requires_grad_()
    arguments = [x, y, normal(2, 4, seed=3)] if of is rotate else [x, y]
    found = of(*arguments)
    loss = sum(each.square().sum() for each in (found if isinstance(found, tuple) else (found,)))
    gradients = torch.autograd.grad(loss, arguments, create_graph=True, materialize_grads=True)
    second = torch.autograd.grad(
        sum(each.square().sum() for each in gradients), arguments, materialize_grads=True
    )
    assert all(each.isfinite().all() for each in (*gradients, *second))


@pytest.mark.parametrize("activation", ["sigmoid", "cumax"])
@pytest.mark.parametrize("auxiliary", ["none", "master", "refine"])
@pytest.mark.parametrize("coupled", [True, False], ids=["coupled", "uncoupled"])
@pytest.mark.parametrize("gained", [False, True], ids=["plain", "layer norm"])
def test_those_of_a_gated_lstm_are_right(activation, auxiliary, coupled, gained):
    leaves, run = lstm_case(GateOptions(activation, auxiliary, coupled), gained)
    assert_right(lambda *leaves: run(gates, leaves), *leaves)


def lstm_case(options, gained=False):
    rows = 2 * len(lstm_blocks(options))
    leaves = [normal(2, 3, 1, seed=1), normal(2, 2, seed=2), normal(2, 2, seed=3)]
    leaves += [normal(rows, 1, seed=4), normal(rows, 2, seed=5), normal(rows, seed=6), normal(2, seed=7)]
    leaves += [normal(rows, seed=8)] if gained else []

    def run(form, leaves, *keeps):
        return tuple(form.gated_lstm(*leaves[:3], GateWeights(*leaves[3:]), options, *keeps))

    return leaves, run


def test_those_of_a_gated_lstm_with_zoneout_are_right():
    leaves, run = lstm_case(GateOptions("sigmoid", "refine"))
    keeps = [normal(2, 3, 2, seed=seed).detach().sigmoid() for seed in (9, 10)]
    assert_right(lambda *leaves: run(gates, leaves, *keeps), *leaves)


@pytest.mark.parametrize("activation", ["sigmoid", "cumax"])
@pytest.mark.parametrize("auxiliary", ["none", "refine"])
def test_those_of_a_gated_gru_are_right(activation, auxiliary):
    options = GateOptions(activation, auxiliary)
    rows = 2 * len(gru_blocks(options))

    def run(x, hidden, *weights):
        return gates.gated_gru(x, hidden, GateWeights(*weights[:4], None, weights[4]), options)

    weights = [normal(rows, 1, seed=4), normal(rows, 2, seed=5), normal(rows, seed=6), normal(2, seed=7)]
    assert_right(run, normal(2, 3, 1, seed=1), normal(2, 2, seed=2), *weights, normal(2, seed=8))


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_those_of_relative_attention_are_right(masked, dropout):
    mask = masks.attention_mask(Layout(3, cache=2), Rules()) if masked else None
    shapes = [(2, 2, 3, 2), (2, 2, 5, 2), (2, 2, 5, 2), (2, 6, 2), (2, 2), (2, 6)]

    def run(*leaves):
        torch.manual_seed(1)
        return attention.relative_attention(*leaves, mask, dropout)

    assert_right(run, *(normal(*shape, seed=index) for index, shape in enumerate(shapes)))


@pytest.mark.parametrize("name", ["relu", "gated_gelu"])
@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_those_of_feed_forward_parts_are_right(name, dropout):
    shapes = {"relu": [(5, 3), (5,), (3, 5), (3,)], "gated_gelu": [(3,), (10, 3), (3, 5)]}[name]

    def run(*leaves):
        torch.manual_seed(1)
        return getattr(feed_forward, name)(*leaves, dropout=dropout)

    assert_right(run, normal(2, 3, 3, seed=9), *(normal(*shape, seed=i) for i, shape in enumerate(shapes)))


def test_those_of_the_norm_are_right():
    assert_right(root_mean_square_norm.normalize, normal(2, 3, 5, seed=1), normal(5, seed=2))


@pytest.mark.parametrize("correction", [True, False])
def test_those_of_an_associative_memory_are_those_of_its_equations(correction):
    """How new a key is counts as a constant, as in the published code: finite differences see it move."""

    def second(form):
        leaves = normal(2, 3, 3, seed=1), normal(2, 3, 3, seed=2), normal(2, 3, seed=3)
        keys = form.features(leaves[0], 2)
        memory = keys.new_zeros(2, keys.shape[2], 3), keys.new_zeros(2, keys.shape[2])
        for _ in range(2):
            memory = form.write(*memory, keys, leaves[1], leaves[2].sigmoid(), correction)
        gradients = torch.autograd.grad(form.read(*memory, keys).square().sum(), leaves, create_graph=True)
        return torch.autograd.grad(sum(each.square().sum() for each in gradients), leaves)

    fast, written = (second(form) for form in (fast_memory, memory_reference))
    torch.testing.assert_close(fast, written)


def test_those_of_a_large_product_are_right(monkeypatch):
    monkeypatch.setattr(product, "_natively", lambda *_: build.available("product"))
    assert_right(product.linear, normal(3, 5, seed=1), normal(2, 5, seed=2), normal(2, seed=3))


def native_cases():
    """Family, leaves, and a function of these, for every native form with a gradient."""
    for lambda_, eta in itertools.product([0, 1], [None, 0.7]):
        options = RUMOptions(lambda_=lambda_, eta=eta, layer_norm="before_gate")
        leaves, run = rum_case(options)
        yield "rotation", leaves, lambda leaves, run=run: run(native_rotation, leaves)[0]
    for gained in (False, True):
        leaves, run = lstm_case(GateOptions(auxiliary="refine"), gained)
        yield "gates", leaves, lambda leaves, run=run: run(native_gates, leaves)[0]
    shapes = [(2, 3, 12), (2, 2, 8), (2, 6, 2), (2, 2), (2, 6)]
    leaves = [normal(*shape, seed=index) for index, shape in enumerate(shapes)]
    yield "attention", leaves, lambda leaves: native_attention.relative_attention(*leaves, None)


@pytest.mark.parametrize("case", range(7))
def test_those_of_native_forms_are_refused_whatever_they_are_asked_by(case):
    family, leaves, run = list(native_cases())[case]
    if not build.status(family).available:
        pytest.skip(f"there is no native form here: {build.status(family).reason}")
    for place, leaf in enumerate(leaves):
        others = [each.detach() for each in leaves]
        others[place] = leaf
        (gradient,) = torch.autograd.grad(run(others).sum(), leaf, create_graph=True)
        # A part that torch can differentiate, which must not hide the one that it cannot.
        penalty = gradient.square().sum() + leaf.pow(3).sum()
        with pytest.raises(RuntimeError, match="no second derivatives; RMEM_NATIVE=off"):
            torch.autograd.grad(penalty, leaf)
