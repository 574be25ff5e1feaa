"""The associative memory stores and replaces, and the form that runs equals its equations."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rmem_cli.ops.associative_memory import fast, reference

FORMS = (reference, fast)


def normal(*shape, seed=0):
    source = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=source).requires_grad_()


def assert_same_with_gradients(found, expected, leaves):
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-11)
    weights = [normal(*one.shape, seed=9).detach() for one in found]
    gradients, wanted = (
        torch.autograd.grad(
            sum((a * b).sum() for a, b in zip(each, weights, strict=True)), leaves, retain_graph=True
        )
        for each in (found, expected)
    )
    for one, other in zip(gradients, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-9)


@settings(deadline=None, max_examples=25)
@given(batch=st.integers(1, 3), size=st.integers(1, 4), order=st.integers(1, 4), normalized=st.booleans())
def test_the_features_equal_their_equations(batch, size, order, normalized):
    x = normal(batch, 3, size)
    found, expected = (form.features(x, order, normalized) for form in FORMS)
    assert found.shape == (batch, 3, 2 * size * order)
    assert (found >= 0).all()
    assert_same_with_gradients([found], [expected], [x])


@settings(deadline=None, max_examples=25)
@given(
    batch=st.integers(1, 3),
    places=st.integers(1, 4),
    features=st.integers(1, 5),
    size=st.integers(1, 4),
    empty=st.booleans(),
    correction=st.booleans(),
)
def test_reading_and_writing_equal_their_equations(batch, places, features, size, empty, correction):
    memory, normalizer = normal(batch, features, size), normal(batch, features, seed=1)
    keys, values, strengths = (
        normal(batch, places, features),
        normal(batch, places, size),
        normal(batch, places),
    )
    leaves = [memory, normalizer, keys, values, strengths]
    used = [memory * (not empty), normalizer.abs() * (not empty), keys.abs(), values, strengths.sigmoid()]
    found, expected = ((form.read(*used[:3]), *form.write(*used, correction)) for form in FORMS)
    assert_same_with_gradients(found, expected, leaves)


def test_normalized_features_have_length_1_and_the_direction_of_the_others_and_zeros_stay():
    x = torch.cat([normal(1, 5, 6).detach() * 1e-3, torch.zeros(1, 1, 6).double()], dim=1)
    found, others = fast.features(x, 3, normalized=True), fast.features(x, 3)
    torch.testing.assert_close(found.norm(dim=-1), torch.tensor([[1.0] * 5 + [0.0]]).double())
    torch.testing.assert_close(found * others.norm(dim=-1, keepdim=True), others)


def empty_memory(features, size):
    return torch.zeros(1, features, size).double(), torch.zeros(1, features).double()


def keys_of(count, seed=3):
    return fast.features(normal(1, count, 8, seed=seed), 3).detach()


def test_a_key_gives_the_value_written_under_it():
    value, strength = normal(1, 1, 5), torch.ones(1, 1).double()
    state = fast.write(*empty_memory(48, 5), keys_of(1), value, strength)
    torch.testing.assert_close(fast.read(*state, keys_of(1)), value, rtol=1e-4, atol=1e-4)


def test_a_second_value_under_a_key_replaces_the_first_and_takes_no_more_room():
    strength = torch.ones(1, 1).double()
    first = fast.write(*empty_memory(48, 5), keys_of(1), normal(1, 1, 5), strength)
    second = fast.write(*first, keys_of(1), normal(1, 1, 5, seed=8), strength)
    torch.testing.assert_close(fast.read(*second, keys_of(1)), normal(1, 1, 5, seed=8), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(second[1], first[1], rtol=1e-3, atol=1e-3)
    third = fast.write(*first, keys_of(1), normal(1, 1, 5, seed=8), strength, correction=False)
    torch.testing.assert_close(third[1], 2 * first[1])


def test_small_keys_are_read_as_well_as_large_ones_if_normalized():
    """Features are products of two numbers: of keys of a thousandth, a millionth, less than the constant."""
    value, strength = normal(1, 1, 5), torch.ones(1, 1).double()
    small = normal(1, 1, 8, seed=3).detach() * 1e-3
    for normalized, share in ((True, 1.0), (False, 0.0)):
        keys = fast.features(small, 3, normalized)
        state = fast.write(*empty_memory(48, 5), keys, value, strength)
        torch.testing.assert_close(fast.read(*state, keys), share * value, rtol=1e-4, atol=1e-4)


def test_nothing_is_read_from_an_empty_memory_or_written_without_strength():
    assert not fast.read(*empty_memory(48, 5), keys_of(2)).any()
    memory, _ = fast.write(*empty_memory(48, 5), keys_of(2), normal(1, 2, 5), torch.zeros(1, 2).double())
    assert not memory.any()
