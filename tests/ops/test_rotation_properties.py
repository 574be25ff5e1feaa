"""What makes a rotation a rotation, for random and for degenerate pairs, in float32."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rmem_cli import rotate, rotation_components, rotation_operator

CASES = ("random", "parallel", "opposite", "nearly_parallel", "nearly_opposite", "tiny", "huge")
DEGENERATE = Path(__file__).parent.parent / "golden" / "rum_rotation_degenerate.npz"


def pairs(case, count, size, seed=0, dtype=torch.float32):
    """`count` pairs of vectors `[count, size]` of one kind."""
    source = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=source, dtype=dtype)

    x, noise = normal(count, size), normal(count, size)
    length = torch.rand(count, 1, generator=source, dtype=dtype) + 0.5
    scale = 10.0 ** torch.empty(count, 1, dtype=dtype).uniform_(-8, -1, generator=source)
    return {
        "random": (x, noise),
        "parallel": (x, length * x),
        "opposite": (x, -length * x),
        "nearly_parallel": (x, length * x + scale * noise),
        "nearly_opposite": (x, -length * x + scale * noise),
        "tiny": (1e-9 * x, 1e-9 * noise),
        "huge": (1e15 * x, 1e15 * noise),
    }[case]


def unit(x):
    return x / x.norm(dim=-1, keepdim=True)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("size", [2, 3, 17])
def test_ten_thousand_operators_are_rotations_from_x_to_y(case, size):
    x, y = pairs(case, 10_000, size)
    operator = rotation_operator(x, y)
    identity = torch.eye(size)
    assert (operator @ operator.mT - identity).abs().max() < 5e-6
    assert (torch.linalg.det(operator) - 1).abs().max() < 1e-5
    turned = (operator @ unit(x).unsqueeze(-1)).squeeze(-1)
    assert (turned - unit(y)).abs().max() < 5e-6


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_on_a_line_nothing_is_turned_but_round(dtype):
    x, y = pairs("random", 10_000, 1, dtype=dtype)
    h = torch.randn(10_000, 1, generator=torch.Generator().manual_seed(1), dtype=dtype)
    torch.testing.assert_close(rotate(x, y, h), h * torch.sign(x * y))


@pytest.mark.parametrize("case", CASES)
def test_rotate_equals_the_operator(case):
    x, y = pairs(case, 10_000, 7)
    h = torch.randn(10_000, 7, generator=torch.Generator().manual_seed(1))
    expected = (rotation_operator(x, y) @ h.unsqueeze(-1)).squeeze(-1)
    torch.testing.assert_close(rotate(x, y, h), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("case", CASES)
def test_what_is_orthogonal_to_both_vectors_stays(case):
    x, y = pairs(case, 10_000, 9, dtype=torch.float64)
    h = torch.randn(10_000, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    u, v, _ = rotation_components(x, y)
    h = h - (h * u).sum(-1, keepdim=True) * u - (h * v).sum(-1, keepdim=True) * v
    torch.testing.assert_close(rotate(x, y, h), h, rtol=0, atol=1e-6)


@pytest.mark.parametrize("case", CASES)
def test_the_components_are_orthonormal_and_give_the_operator(case):
    x, y = pairs(case, 10_000, 5)
    u, v, plane = rotation_components(x, y)
    basis = torch.stack([u, v], dim=-1)
    torch.testing.assert_close(basis.mT @ basis, torch.eye(2).expand(10_000, 2, 2), rtol=0, atol=5e-6)
    identity = torch.eye(5)
    expected = identity - basis @ basis.mT + basis @ plane @ basis.mT
    torch.testing.assert_close(rotation_operator(x, y), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("case", [*CASES, "x zero", "y zero", "both zero"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_values_and_gradients_are_finite(case, dtype):
    x, y = pairs(case if case in CASES else "random", 2_000, 6, dtype=dtype)
    x = torch.zeros_like(x) if case in ("x zero", "both zero") else x
    y = torch.zeros_like(y) if case in ("y zero", "both zero") else y
    leaves = [tensor.clone().requires_grad_() for tensor in (x, y, torch.randn_like(x))]
    u, v, plane = rotation_components(leaves[0], leaves[1])
    everything = [rotate(*leaves), rotation_operator(leaves[0], leaves[1]), u, v, plane]
    gradients = torch.autograd.grad(sum(each.sum() for each in everything), leaves)
    assert all(each.isfinite().all() for each in [*everything, *gradients])


@pytest.mark.parametrize("length", [6e-8, 1e-5, 1.53e-5, 1e-4])
@pytest.mark.parametrize("again", [False, True], ids=["first", "recorded"])
def test_short_vectors_of_float16_turn_as_in_float32_or_not_at_all(length, again):
    x, y = torch.tensor([length, 0.0, 0.0]).half(), torch.tensor([0.0, length, 0.0]).half()
    leaves = [each.requires_grad_() for each in (x, y, torch.tensor([0.5, 0.0, 0.25]).half())]
    turned = rotate(*leaves)
    # A float16 below 2 ** -16 has no reciprocal.
    expected = [0.5, 0.0, 0.25] if x[0] <= 2**-16 else [0.0, 0.5, 0.25]
    assert turned.tolist() == expected
    everything = [turned, rotation_operator(*leaves[:2]), *rotation_components(*leaves[:2])]
    assert torch.equal(everything[1] @ leaves[2], turned)
    loss = sum(each.sum() for each in everything) / 100  # a gradient is as large as the vector is short
    gradients = torch.autograd.grad(loss, leaves, create_graph=again)
    assert all(each.isfinite().all() for each in [*everything, *gradients])


@pytest.mark.parametrize("zero", ["x", "y", "both"])
def test_the_rotation_is_the_identity_where_a_vector_is_zero(zero):
    x, y = pairs("random", 100, 6)
    x = torch.zeros_like(x) if zero in ("x", "both") else x
    y = torch.zeros_like(y) if zero in ("y", "both") else y
    assert torch.equal(rotation_operator(x, y), torch.eye(6).expand(100, 6, 6))


def test_the_published_degenerate_inputs_give_rotations_with_moderate_gradients():
    with np.load(DEGENERATE) as file:
        golden = {key: torch.from_numpy(np.array(file[key])) for key in file}
    for case in sorted({key.split(".")[0] for key in golden if "." in key}):
        x, y = golden[f"{case}.x"].requires_grad_(), golden[f"{case}.y"].requires_grad_()
        h = golden["h"].clone().requires_grad_()
        operator = rotation_operator(x, y)
        torch.testing.assert_close(operator @ operator.mT, torch.eye(7).double()[None], rtol=0, atol=1e-12)
        gradients = torch.autograd.grad(rotate(x, y, h).sum(), [x, y, h])
        assert all(each.abs().max() < 100 for each in gradients), case
        if "zero" in case:
            assert torch.equal(operator, torch.eye(7).double()[None])


def test_the_gradient_at_parallel_vectors_is_the_limit_of_the_gradients_beside_them():
    x = torch.randn(5, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    h = torch.randn(5, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    away = torch.randn(5, dtype=torch.float64, generator=torch.Generator().manual_seed(4))

    def gradient(distance):
        y = (2 * x + distance * away).requires_grad_()
        return torch.autograd.grad(rotate(x, y, h).square()[:2].sum(), y)[0]

    torch.testing.assert_close(gradient(0.0), gradient(1e-7), rtol=0, atol=1e-6)


@settings(deadline=None, max_examples=50)
@given(size=st.integers(2, 12), batch=st.integers(1, 4), seed=st.integers(0, 10**6))
def test_a_rotation_there_and_back_changes_nothing(size, batch, seed):
    x, y = pairs("random", batch, size, seed, torch.float64)
    h = torch.randn(batch, size, dtype=torch.float64, generator=torch.Generator().manual_seed(seed + 1))
    torch.testing.assert_close(rotate(y, x, rotate(x, y, h)), h, rtol=0, atol=1e-9)


def test_leading_axes_are_a_batch():
    x, y = pairs("random", 6, 4)
    h = torch.randn(6, 4)
    expected = rotate(x, y, h).view(2, 3, 4)
    assert torch.equal(rotate(x.view(2, 3, 4), y.view(2, 3, 4), h.view(2, 3, 4)), expected)


def test_arguments_of_different_shapes_are_broadcast():
    x, y = pairs("random", 6, 4)
    h = torch.randn(4).requires_grad_()
    torch.testing.assert_close(rotate(x, y, h), rotate(x, y, h.expand(6, 4)))
    torch.testing.assert_close(rotation_operator(x[:1], y), rotation_operator(x[:1].expand(6, 4), y))
    rotate(x, y, h).sum().backward()
    assert h.grad.shape == (4,)
