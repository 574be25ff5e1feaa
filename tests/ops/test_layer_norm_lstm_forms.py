"""The layer-norm LSTM equals its equations, and those written in numpy, with slopes taken numerically."""

import numpy as np
import pytest
import torch
from torch import nn

from rmem_cli.ops.layer_norm_lstm import fast, native, reference
from rmem_cli.ops.layer_norm_lstm.options import LayerNormLSTMWeights
from rmem_cli.ops.native import build
from rmem_cli.ops.product.steps import CHUNK, StepMatrix

UPDATES = {"fast": fast.update}
if build.status("layer_norm_lstm").available:
    UPDATES["native"] = native.update
FORMS = pytest.mark.parametrize("update", UPDATES.values(), ids=UPDATES)
SIZES = pytest.mark.parametrize(
    ("batch", "time", "inputs", "size"),
    [(1, 1, 1, 1), (1, 2 * CHUNK + 3, 3, 7), (5, 1, 2, 3), (3, CHUNK, 6, 4), (37, 2, 2, 19)],
)
ZONEOUT = pytest.mark.parametrize("zoneout", [(), ("hidden",), ("cell",), ("hidden", "cell")], ids=str)


def normal(seed, *shape, spread=1.0):
    source = torch.Generator().manual_seed(seed)
    return (spread * torch.randn(*shape, generator=source, dtype=torch.float64)).requires_grad_()


def weights_of(inputs, size):
    shapes = [(inputs, 4 * size), (size, 4 * size), (4 * size,), (4 * size,), (4 * size,), (size,), (size,)]
    return LayerNormLSTMWeights(*(normal(seed, *shape) for seed, shape in enumerate(shapes)))


def drawn(batch, time, inputs, size, zoneout=()):
    operands = normal(10, batch, time, inputs), normal(11, batch, size), normal(12, batch, size)
    source = torch.Generator().manual_seed(13)
    keeps = {
        f"{name}_keep": torch.rand(batch, time, size, generator=source, dtype=torch.float64)
        for name in zoneout
    }
    return operands, weights_of(inputs, size), keeps


def with_gradients(states, leaves):
    loss = sum((state * normal(20 + i, *state.shape).detach()).sum() for i, state in enumerate(states))
    return [*states, *torch.autograd.grad(loss, leaves, allow_unused=True, materialize_grads=True)]


@SIZES
@ZONEOUT
@FORMS
def test_each_form_equals_the_equations(update, batch, time, inputs, size, zoneout):
    operands, weights, keeps = drawn(batch, time, inputs, size, zoneout)
    leaves = [*operands, *weights]
    ours = with_gradients(fast.layer_norm_lstm(*operands, weights, 0.7, **keeps, update=update), leaves)
    written = with_gradients(reference.layer_norm_lstm(*operands, weights, 0.7, **keeps), leaves)
    torch.testing.assert_close(ours, written, rtol=1e-9, atol=1e-9)


def in_numpy(x, hidden, cell, weights, forget_bias, hidden_keep=None, cell_keep=None):
    """The README's equations for one row after the other, unit by unit where a norm is taken."""

    def norm(block):
        mean = sum(block) / len(block)
        variance = sum((each - mean) ** 2 for each in block) / len(block)
        return np.array([(each - mean) / np.sqrt(variance + 1e-3) for each in block])

    def sigmoid(z):
        return 1 / (1 + np.exp(-z))

    size = hidden.shape[1]
    hiddens, cells = np.empty((*x.shape[:2], size)), np.empty((*x.shape[:2], size))
    for row in range(len(x)):
        h, c = hidden[row], cell[row]
        for step in range(x.shape[1]):
            z = x[row, step] @ weights.input + h @ weights.recurrent + weights.bias
            i, f, o, j = (
                weights.gate_gain[at : at + size] * norm(z[at : at + size])
                + weights.gate_shift[at : at + size]
                for at in range(0, 4 * size, size)
            )
            new_c = sigmoid(f + forget_bias) * c + sigmoid(i) * np.tanh(j)
            new_h = sigmoid(o) * np.tanh(weights.cell_gain * norm(new_c) + weights.cell_shift)
            kept_h = 1 if hidden_keep is None else hidden_keep[row, step]
            kept_c = 1 if cell_keep is None else cell_keep[row, step]
            h, c = kept_h * new_h + (1 - kept_h) * h, kept_c * new_c + (1 - kept_c) * c
            hiddens[row, step], cells[row, step] = h, c
    return hiddens, cells


@ZONEOUT
@FORMS
def test_it_is_what_numpy_makes_of_the_equations_and_its_gradient_their_slope(update, zoneout):
    operands, weights, keeps = drawn(2, 3, 3, 4, zoneout)
    ours = fast.layer_norm_lstm(*operands, weights, 1.0, **keeps, update=update)
    leaves = [*operands, *weights]
    plain = [leaf.detach().numpy() for leaf in leaves]
    shares = {name: keep.numpy() for name, keep in keeps.items()}
    weighed = [normal(20 + i, *state.shape).detach().numpy() for i, state in enumerate(ours)]

    def loss(values):
        states = in_numpy(*values[:3], LayerNormLSTMWeights(*values[3:]), 1.0, **shares)
        return sum((weight * state).sum() for weight, state in zip(weighed, states, strict=True))

    for mine, theirs in zip(
        ours, in_numpy(*plain[:3], LayerNormLSTMWeights(*plain[3:]), 1.0, **shares), strict=True
    ):
        np.testing.assert_allclose(mine.detach().numpy(), theirs, rtol=1e-12, atol=1e-12)
    gradients = with_gradients(ours, leaves)[2:]
    source = np.random.default_rng(1)
    for place, gradient in enumerate(gradients):
        along = source.standard_normal(gradient.shape)

        def at(step, place=place, along=along):
            return loss([value + step * along if i == place else value for i, value in enumerate(plain)])

        slope = (8 * (at(1e-4) - at(-1e-4)) - (at(2e-4) - at(-2e-4))) / 12e-4
        assert slope == pytest.approx((along * gradient.numpy()).sum(), rel=1e-8, abs=1e-8)


@pytest.fixture
def products():
    """A matrix, and the outputs of as many steps as fill a chunk and more."""
    matrix, x = normal(1, 3, 5), normal(2, CHUNK + 3, 2, 3)
    shared = StepMatrix(matrix)
    y = torch.stack([shared.add_to(normal(3, 5), x_t) for x_t in x.unbind(0)])
    return matrix, x, y, x @ matrix + normal(3, 5)


def loss_of(y):
    return (y * torch.linspace(0, 1, y.numel(), dtype=torch.float64).view(y.shape)).square().sum()


def test_many_steps_have_the_gradient_of_one_product(products):
    matrix, x, y, expected = products
    torch.testing.assert_close(y, expected)
    ours, theirs = (torch.autograd.grad(loss_of(each), [matrix, x]) for each in (y, expected))
    torch.testing.assert_close(ours, theirs)


def test_a_pass_that_wants_no_gradient_of_the_matrix_leaves_nothing_to_the_next(products):
    matrix, x, y, expected = products
    for _ in range(2):
        torch.autograd.grad(loss_of(y), x, retain_graph=True)
        ours = torch.autograd.grad(loss_of(y), matrix, retain_graph=True)
        torch.testing.assert_close(ours, torch.autograd.grad(loss_of(expected), matrix, retain_graph=True))
    half = torch.autograd.grad(loss_of(y[:4]), matrix, retain_graph=True)
    torch.testing.assert_close(half, torch.autograd.grad(loss_of(expected[:4]), matrix, retain_graph=True))


def test_a_gradient_of_steps_is_differentiated_in_turn():
    def of(matrix, x):
        shared = StepMatrix(matrix)
        zero = x.new_zeros(5)
        return torch.tanh(shared.add_to(zero, torch.tanh(shared.add_to(zero, x)[:, :3])))

    assert torch.autograd.gradgradcheck(of, (normal(1, 3, 5), normal(2, 2, 3)))


def test_the_forget_bias_is_a_constant_beside_the_forget_gate_alone():
    shift = normal(1, 12)
    ours = reference.with_forget_bias(shift, 2.0) - shift
    assert torch.equal(ours, nn.functional.one_hot(torch.tensor(1), 4).repeat_interleave(3) * 2.0)
