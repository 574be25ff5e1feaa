"""The form that runs equals the equations as written, and the masks say what they should."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rmem_cli.ops.attention import fast, masks, positions, reference
from rmem_cli.ops.attention.masks import Layout, Rules


def normal(*shape, seed=0):
    source = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=source).requires_grad_()


def inputs(batch, heads, queries, keys, rows, size):
    shapes = [(heads, batch, queries, size), (heads, batch, keys, size), (heads, batch, keys, size)]
    shapes += [(heads, rows, size), (heads, size), (heads, rows)]
    return [normal(*shape, seed=index) for index, shape in enumerate(shapes)]


def assert_same_with_gradients(one, other, leaves):
    torch.testing.assert_close(one, other, rtol=0, atol=1e-12)
    weights = normal(*one.shape, seed=9).detach()
    gradients = torch.autograd.grad((one * weights).sum(), leaves)
    expected = torch.autograd.grad((other * weights).sum(), leaves)
    for each, wanted in zip(gradients, expected, strict=True):
        torch.testing.assert_close(each, wanted, rtol=0, atol=1e-12)


@settings(deadline=None, max_examples=25)
@given(
    batch=st.integers(1, 3),
    heads=st.integers(1, 2),
    segment=st.integers(1, 5),
    memory=st.integers(0, 3),
    cache=st.integers(0, 4),
    size=st.integers(1, 4),
    published=st.booleans(),
)
def test_relative_attention_equals_its_equations(batch, heads, segment, memory, cache, size, published):
    layout = Layout(segment, memory, memory, cache)
    mask = masks.attention_mask(layout, Rules(memory_reads_cache=True))
    rows = layout.keys if published else layout.keys + max(memory - 1, 1)
    leaves = inputs(batch, heads, layout.queries, layout.keys, rows, size)
    queries, keys, values, table, content_bias, distance_bias = leaves
    form = reference.published_relative_attention if published else reference.relative_attention
    expected = form(*leaves, mask)
    if published:
        table = torch.nn.functional.pad(table, (0, 0, 0, 1))
        distance_bias = torch.nn.functional.pad(distance_bias, (0, 1))
    found = fast.relative_attention(queries, keys, values, table, content_bias, distance_bias, mask)
    assert_same_with_gradients(found, expected, leaves)


def test_the_gradient_goes_through_what_was_not_dropped():
    leaves = inputs(2, 3, 4, 6, 7, 5)
    mask = masks.attention_mask(Layout(4, cache=2), Rules())
    found, expected = (
        torch.manual_seed(0) and form.relative_attention(*leaves, mask, dropout=0.4)
        for form in (fast, reference)
    )
    assert not torch.allclose(found, fast.relative_attention(*leaves, mask))
    assert_same_with_gradients(found, expected, leaves)


@pytest.mark.parametrize("masked", [False, True])
def test_attention_equals_its_equations(masked):
    queries, keys, values, *_ = leaves = inputs(2, 3, 4, 6, 1, 5)
    mask = masks.attention_mask(Layout(4, cache=2), Rules()) if masked else None
    found = fast.attention(queries, keys, values, mask)
    assert_same_with_gradients(found, reference.attention(queries, keys, values, mask), leaves[:3])


def test_the_shift_is_a_view():
    products = normal(2, 3, 4, 9).detach()
    assert fast.relative_shift(products, 7).untyped_storage().data_ptr() == products.data_ptr()


@pytest.mark.parametrize("dropped", [0.0, 0.5])
def test_dropout_keeps_the_mean(dropped):
    torch.manual_seed(0)
    arguments = [each.detach() for each in inputs(200, 2, 3, 4, 5, 2)]
    arguments[:3] = [each[:, :1].expand(-1, 2000, -1, -1) for each in arguments[:3]]
    mean = fast.relative_attention(*arguments, dropout=dropped).mean(1)
    expected = fast.relative_attention(*arguments)[:, 0]
    torch.testing.assert_close(mean, expected, rtol=0, atol=0.1)


# `x` where the row must not see the column; rows and columns r read, s segment, w write, c cache.
PLAIN = """
  c c r r s s s w w
r x x . . x x x x x
r x x . . x x x x x
s . . . . . x x x x
s . . . . . . x x x
s . . . . . . . x x
w x x . . . . . . .
w x x . . . . . . .
"""
READ_CACHE = """
  c c r r s s s w w
r . . . . x x x x x
r . . . . x x x x x
s . . . . . x x x x
s . . . . . . x x x
s . . . . . . . x x
w . . . . . . . . .
w . . . . . . . . .
"""
CAUSAL_MEMORY = """
  c c r r s s s w w
r x x . x x x x x x
r x x . . x x x x x
s . . . . . x x x x
s . . . . . . x x x
s . . . . . . . x x
w x x . . . . . . x
w x x . . . . . . .
"""
WINDOW = """
  c c r r s s s w w
r x x . . x x x x x
r x x . . x x x x x
s x . . . . x x x x
s x x . . . . x x x
s x x . . x . . x x
w x x . . . . . . .
w x x . . . . . . .
"""


def table(text):
    return torch.tensor([[cell == "x" for cell in line.split()[1:]] for line in text.split("\n")[2:-1]])


@pytest.mark.parametrize(
    ("text", "rules"),
    [
        (PLAIN, Rules()),
        (READ_CACHE, Rules(memory_reads_cache=True)),
        (CAUSAL_MEMORY, Rules(memory_is_causal=True)),
        (WINDOW, Rules(window=2)),
    ],
    ids=["plain", "read cache", "causal memory", "window"],
)
def test_the_mask_is_the_table(text, rules):
    assert torch.equal(masks.attention_mask(Layout(3, 2, 2, 2), rules), table(text))


def test_in_a_short_row_the_write_memory_follows_its_tokens():
    layout = Layout(3, 2, 2, 2)
    mask = masks.attention_mask(layout, Rules(), lengths=torch.tensor([3, 1]), cached=torch.tensor([2, 1]))
    assert torch.equal(mask[0], table(PLAIN))
    short = masks.attention_mask(Layout(1, 2, 2, 2), Rules())
    short[:, 0] = True
    assert torch.equal(mask[1, :5, :7], short)
    assert mask[1, :5, 7:].all()


def test_every_window_of_a_full_cache_is_as_wide():
    mask = masks.attention_mask(Layout(5, cache=3), Rules(window=3))
    assert torch.equal((~mask).sum(-1), torch.full((5,), 3))


def test_sinusoids_of_opposite_distances_are_mirror_images():
    distances = positions.distances_back(4, 3, None, torch.device("cpu"), torch.float64)
    assert distances.tolist() == [3, 2, 1, 0, -1, -2, -3]
    features = positions.sinusoids(distances, 6)
    assert features.shape == (7, 6)
    torch.testing.assert_close(features.flip(0)[:, :3], -features[:, :3])
    torch.testing.assert_close(features.flip(0)[:, 3:], features[:, 3:])


def test_distances_are_clamped_on_both_sides():
    distances = positions.distances_back(4, 3, 2, torch.device("cpu"), torch.float64)
    assert distances.tolist() == [2, 2, 1, 0, -1, -2, -2]


def test_a_rotary_score_depends_on_the_distance_alone():
    queries, keys = normal(1, 6).detach(), normal(1, 6, seed=1).detach()

    def score(query_place, key_place):
        turned = [
            positions.apply_rotary(
                vector, positions.rotary_angles(torch.tensor([place]), 6, 1e4, torch.float64)
            )
            for vector, place in ((queries, query_place), (keys, key_place))
        ]
        return (turned[0] * turned[1]).sum()

    torch.testing.assert_close(score(7, 3), score(104, 100), rtol=0, atol=1e-4)
    assert (score(7, 3) - score(7, 4)).abs() > 1e-3
