"""The feed-forward parts that run equal their equations, with gradients."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rmem_cli.ops.feed_forward import fast, reference


def normal(*shape, seed):
    source = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=source).requires_grad_()


def arguments(name, leading, hidden, inner):
    shapes = {
        "relu": [(inner, hidden), (inner,), (hidden, inner), (hidden,)],
        "gated_gelu": [(hidden,), (2 * inner, hidden), (hidden, inner)],
    }[name]
    return [normal(*shape, seed=index) for index, shape in enumerate([(*leading, hidden), *shapes])]


def with_gradients(form, leaves, dropout):
    torch.manual_seed(5)
    y = form(*leaves, dropout)
    weights = normal(*y.shape, seed=9).detach()
    return y, torch.autograd.grad((y * weights).sum(), [leaf for leaf in leaves if leaf.requires_grad])


def assert_forms_agree(name, leaves, dropout):
    y, gradients = with_gradients(getattr(fast, name), leaves, dropout)
    expected, wanted = with_gradients(getattr(reference, name), leaves, dropout)
    torch.testing.assert_close(y, expected, rtol=0, atol=1e-12)
    for one, other in zip(gradients, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["relu", "gated_gelu"])
@settings(deadline=None, max_examples=20)
@given(
    leading=st.lists(st.integers(0, 4), min_size=1, max_size=3),
    hidden=st.integers(1, 6),
    inner=st.integers(1, 9),
    dropout=st.sampled_from([0.0, 0.4]),
)
def test_feed_forward_equals_its_equation(name, leading, hidden, inner, dropout):
    assert_forms_agree(name, arguments(name, leading, hidden, inner), dropout)


@pytest.mark.parametrize("name", ["relu", "gated_gelu"])
@pytest.mark.parametrize("frozen", range(3))
def test_frozen_arguments_get_no_gradient_and_the_others_theirs(name, frozen):
    leaves = arguments(name, [3, 2], 5, 7)
    leaves[frozen].requires_grad_(False)
    assert_forms_agree(name, leaves, 0.0)


@pytest.mark.parametrize("name", ["relu", "gated_gelu"])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_a_second_backward_pass_gives_the_same(name, dropout):
    leaves = arguments(name, [4], 3, 5)
    y = getattr(fast, name)(*leaves, dropout).square().sum()
    first = torch.autograd.grad(y, leaves, retain_graph=True)
    second = torch.autograd.grad(y, leaves)
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


@pytest.mark.parametrize("name", ["relu", "gated_gelu"])
def test_inputs_that_are_not_contiguous_count_as_their_values(name):
    leaves = arguments(name, [3, 4], 5, 7)
    turned = [leaves[0].detach().transpose(0, 1).requires_grad_(), *leaves[1:]]
    assert_forms_agree(name, turned, 0.0)


def test_of_a_gated_part_values_gates_and_one_number_for_each_vector_are_kept():
    kept = []
    leaves = arguments("gated_gelu", [4, 3], 5, 7)
    with torch.autograd.graph.saved_tensors_hooks(lambda each: kept.append(each) or each, lambda each: each):
        fast.gated_gelu(*leaves)
    given = {each.untyped_storage().data_ptr() for each in leaves}
    added = [each for each in kept if each.untyped_storage().data_ptr() not in given]
    assert sum(each.numel() for each in added) == 4 * 3 * (2 * 7 + 1)
