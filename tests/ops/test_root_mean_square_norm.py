"""The norm that runs equals its equation, with gradients, and keeps little."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rmem_cli.ops.root_mean_square_norm import fast, reference


def normal(*shape, seed):
    source = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=source).requires_grad_()


def with_gradients(form, x, gain):
    y = form(x, gain)
    weights = normal(*y.shape, seed=9).detach()
    return y, *torch.autograd.grad((y * weights).sum(), [leaf for leaf in (x, gain) if leaf.requires_grad])


def assert_forms_agree(x, gain, tolerance=1e-12):
    found, wanted = (with_gradients(form.normalize, x, gain) for form in (fast, reference))
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance)


@settings(deadline=None, max_examples=30)
@given(leading=st.lists(st.integers(1, 4), max_size=3), hidden=st.integers(1, 9), scale=st.floats(1e-3, 1e3))
def test_norm_equals_its_equation(leading, hidden, scale):
    x = (normal(*leading, hidden, seed=1).detach() * scale).requires_grad_()
    assert_forms_agree(x, normal(hidden, seed=2), 1e-9)


def test_norm_equals_that_of_torch():
    x, gain = normal(3, 5, 7, seed=1), normal(7, seed=2)
    torch.testing.assert_close(
        fast.normalize(x, gain), torch.nn.functional.rms_norm(x, (7,), gain), rtol=0, atol=1e-14
    )


def test_zero_vectors_stay_zero_and_their_gradient_is_finite():
    x = torch.zeros(2, 3, dtype=torch.float64, requires_grad=True)
    assert_forms_agree(x, normal(3, seed=2))
    assert torch.equal(fast.normalize(x, normal(3, seed=2)), torch.zeros_like(x))


@pytest.mark.parametrize("frozen", range(2))
def test_a_frozen_argument_gets_no_gradient_and_the_other_its_own(frozen):
    leaves = [normal(4, 3, seed=1), normal(3, seed=2)]
    leaves[frozen].requires_grad_(False)
    assert_forms_agree(*leaves)


def test_inputs_and_gradients_that_are_not_contiguous_count_as_their_values():
    x, gain = normal(3, 4, 5, seed=1), normal(5, seed=2)
    assert_forms_agree(x.detach().transpose(0, 1).requires_grad_(), gain)
    found, wanted = (
        torch.autograd.grad(form.normalize(x, gain).sum(), [x, gain]) for form in (fast, reference)
    )
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


def test_a_second_backward_pass_gives_the_same():
    leaves = [normal(4, 3, seed=1), normal(3, seed=2)]
    y = fast.normalize(*leaves).square().sum()
    first = torch.autograd.grad(y, leaves, retain_graph=True)
    second = torch.autograd.grad(y, leaves)
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


def test_beside_the_input_one_number_for_each_vector_is_kept():
    kept = []
    x, gain = normal(4, 3, 7, seed=1), normal(7, seed=2)
    with torch.autograd.graph.saved_tensors_hooks(lambda each: kept.append(each) or each, lambda each: each):
        fast.normalize(x, gain)
    given = {each.untyped_storage().data_ptr() for each in (x, gain)}
    added = [each for each in kept if each.untyped_storage().data_ptr() not in given]
    assert sum(each.numel() for each in added) == 4 * 3
