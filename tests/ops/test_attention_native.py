"""Relative attention in C++ gives the numbers of the equations as written."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rmem_cli.ops.attention import dispatch, fast, heads, masks, native, reference
from rmem_cli.ops.attention.masks import Layout, Rules
from rmem_cli.ops.native import build

pytestmark = pytest.mark.skipif(
    not build.status("attention").available, reason="there is no native form here"
)


def normal(*shape, seed=0, dtype=torch.float64):
    source = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=source).to(dtype).requires_grad_()


def operands(layout, batch=2, count=2, size=3, later=None, dtype=torch.float64):
    """Projected, cached, distances and the two biases; without a cache, the second is None."""
    later = max(layout.read, layout.write, 2) - 1 if later is None else later
    rows = layout.keys + later
    shapes = [(batch, layout.queries, 3 * count * size), (batch, layout.cache, 2 * count * size)]
    shapes += [(count, rows, size), (count, size), (count, rows)]
    made = [normal(*shape, seed=index, dtype=dtype) for index, shape in enumerate(shapes)]
    return [made[0], made[1] if layout.cache else None, *made[2:]]


def as_written(projected, cached, distances, content_bias, distance_bias, mask, form=reference):
    count = len(distances)
    queries, keys, values = heads.split(projected, count)
    if cached is not None:
        keys, values = (
            torch.cat(each, 2) for each in zip(heads.split(cached, count, 2), (keys, values), strict=True)
        )
    positions = (distances, content_bias, distance_bias)
    return heads.merge(form.relative_attention(queries, keys, values, *positions, mask))


def gradients(result, leaves, seed=9):
    weights = normal(*result.shape, seed=seed, dtype=result.dtype).detach()
    return torch.autograd.grad((result * weights).sum(), [each for each in leaves if each is not None])


def assert_as_written(leaves, mask, tolerance=1e-12, form=reference):
    found, expected = native.relative_attention(*leaves, mask), as_written(*leaves, mask, form)
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance)
    for each, wanted in zip(gradients(found, leaves), gradients(expected, leaves), strict=True):
        torch.testing.assert_close(each, wanted, rtol=0, atol=tolerance)


@settings(deadline=None, max_examples=40)
@given(
    batch=st.integers(1, 3),
    count=st.integers(1, 3),
    segment=st.integers(1, 7),
    memory=st.integers(0, 3),
    cache=st.integers(0, 4),
    size=st.integers(1, 5),
    reads_cache=st.booleans(),
    ragged=st.booleans(),
)
def test_it_equals_its_equations(batch, count, segment, memory, cache, size, reads_cache, ragged):
    layout = Layout(segment, memory, memory, cache)
    lengths = torch.randint(0, segment + 1, (batch,), generator=torch.Generator().manual_seed(segment))
    mask = masks.attention_mask(
        layout,
        Rules(memory_reads_cache=reads_cache),
        lengths=lengths if ragged else None,
        cached=torch.arange(batch) % (cache + 1) if ragged else None,
    )
    assert_as_written(operands(layout, batch, count, size), mask)


@pytest.mark.parametrize("segment", [24, 25, 130, 300])
@pytest.mark.parametrize(("cache", "window"), [(0, None), (60, None), (60, 60)])
def test_it_equals_the_fast_form_over_several_tiles(segment, cache, window):
    layout = Layout(segment, 3, 3, cache)
    mask = masks.attention_mask(layout, Rules(window=window))
    assert_as_written(operands(layout, 2, 2, 40), mask, 1e-10, fast)


def test_without_a_mask_all_see_all():
    layout = Layout(29)
    assert_as_written(operands(layout, later=layout.queries), None)


@pytest.mark.parametrize(("batch", "count"), [(5, 1), (3, 2), (1, 5)])
def test_threads_share_the_examples_of_a_head(batch, count):
    mask = masks.attention_mask(Layout(6), Rules())
    leaves = operands(Layout(6), batch, count)
    before = torch.get_num_threads()
    try:
        results = []
        for threads in (1, 2, 3, 4, 7):
            torch.set_num_threads(threads)
            found = native.relative_attention(*leaves, mask)
            results.append([found, *gradients(found, leaves)])
    finally:
        torch.set_num_threads(before)
    for each in results[1:]:
        torch.testing.assert_close(each, results[0], rtol=0, atol=1e-12)


def test_no_example_has_no_result():
    leaves = operands(Layout(4), batch=0)
    found = native.relative_attention(*leaves, masks.attention_mask(Layout(4), Rules()))
    assert found.shape == (0, 4, 6)
    assert not any(each.any() for each in gradients(found, leaves))


def test_the_same_inputs_give_the_same_bits():
    mask = masks.attention_mask(Layout(50, 4, 4, 20), Rules())
    leaves = operands(Layout(50, 4, 4, 20), batch=3, count=2, size=16, dtype=torch.float32)
    first, second = (
        [found, *gradients(found, leaves)]
        for found in (native.relative_attention(*leaves, mask) for _ in range(2))
    )
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


def test_in_single_precision_it_is_as_close_as_single_precision_allows():
    layout = Layout(70, 5, 5, 30)
    mask = masks.attention_mask(layout, Rules(memory_reads_cache=True))
    leaves = operands(layout, 2, 2, 32, dtype=torch.float32)
    exact = [None if each is None else each.detach().double().requires_grad_() for each in leaves]
    found, expected = native.relative_attention(*leaves, mask), as_written(*exact, mask, fast)
    pairs = zip([found, *gradients(found, leaves)], [expected, *gradients(expected, exact)], strict=True)
    for each, wanted in pairs:
        assert (each - wanted).norm() <= 2e-6 * wanted.norm()


def test_a_query_that_sees_nothing_has_no_result():
    mask = masks.attention_mask(Layout(3), Rules())
    mask[1] = True
    found = native.relative_attention(*operands(Layout(3)), mask)
    assert found[:, 1].isnan().all()
    assert found[:, [0, 2]].isfinite().all()


def test_the_operands_need_not_be_contiguous():
    layout = Layout(5, cache=2)
    mask = masks.attention_mask(layout, Rules())
    leaves = operands(layout)
    apart = [each.detach().mT.contiguous().mT.requires_grad_() for each in leaves]
    assert not apart[0].is_contiguous()
    found, expected = (
        native.relative_attention(*apart, mask.mT.contiguous().mT),
        as_written(*leaves, mask),
    )
    torch.testing.assert_close(gradients(found, apart), gradients(expected, leaves), rtol=0, atol=1e-12)


def test_frozen_positions_get_no_gradient_and_change_no_other():
    layout = Layout(5, cache=2)
    mask = masks.attention_mask(layout, Rules())
    leaves = operands(layout)
    found = native.relative_attention(*leaves[:2], *(each.detach() for each in leaves[2:]), mask)
    expected = as_written(*leaves, mask)
    torch.testing.assert_close(
        gradients(found, leaves[:2]), gradients(expected, leaves[:2]), rtol=0, atol=1e-12
    )


def test_nothing_is_kept_where_no_gradient_is_wanted():
    leaves = operands(Layout(5))
    mask = masks.attention_mask(Layout(5), Rules())
    with torch.no_grad():
        found = native.relative_attention(*leaves, mask)
        _, kept = torch.ops.rmem.relative_attention(*leaves, mask, False)
    assert kept.numel() == 0
    torch.testing.assert_close(found, native.relative_attention(*leaves, mask), rtol=0, atol=0)


def test_two_backward_passes_give_the_same():
    leaves = operands(Layout(5))
    found = native.relative_attention(*leaves, masks.attention_mask(Layout(5), Rules()))
    wanted = [each for each in leaves if each is not None]
    first = torch.autograd.grad(found.sum(), wanted, retain_graph=True)
    assert all(map(torch.equal, first, torch.autograd.grad(found.sum(), wanted)))


@pytest.mark.parametrize("cache", [0, 2])
def test_torch_finds_no_fault_with_the_operations(cache):
    layout = Layout(4, 2, 2, cache)
    mask = masks.attention_mask(layout, Rules())
    leaves = operands(layout)
    torch.library.opcheck(torch.ops.rmem.relative_attention.default, (*leaves, mask, True))
    detached = [None if each is None else each.detach() for each in leaves]
    attended, kept = torch.ops.rmem.relative_attention(*detached, mask, True)
    arguments = (attended, *detached, mask, kept)
    torch.library.opcheck(torch.ops.rmem.relative_attention_backward.default, arguments)
    present = [index for index, each in enumerate(leaves) if each is not None]

    def attend(*given):
        full = list(leaves)
        for index, each in zip(present, given, strict=True):
            full[index] = each
        return native.relative_attention(*full, mask)

    assert torch.autograd.gradcheck(attend, [leaves[index] for index in present])


def test_a_second_derivative_is_refused():
    leaves = operands(Layout(3))
    found = native.relative_attention(*leaves, masks.attention_mask(Layout(3), Rules()))
    (gradient,) = torch.autograd.grad(found.square().sum(), leaves[0], create_graph=True)
    with pytest.raises(RuntimeError, match="no second derivatives"):
        gradient.sum().backward()


def test_wrong_widths_are_refused():
    projected, _, *positions = operands(Layout(4))
    with pytest.raises(
        RuntimeError, match=r"the queries, keys and values are \[2, 4, 17\]; here they must be \[2, 4, 18\]"
    ):
        native.relative_attention(projected[..., :-1], None, *positions, None)
    distances, content_bias, distance_bias = positions
    with pytest.raises(RuntimeError, match="at least one later key"):
        native.relative_attention(projected, None, distances[:, :4], content_bias, distance_bias[:, :4], None)
    with pytest.raises(RuntimeError, match=r"mask are \[1, 4, 4\]; here they must be \[2, 4, 4\]"):
        native.relative_attention(projected, None, *positions, torch.zeros(1, 4, 4, dtype=torch.bool))


@pytest.mark.parametrize("option", [{"dropout": 0.5}, {"published_shift": True}])
def test_what_it_cannot_do_runs_in_the_fast_form(option, monkeypatch):
    leaves = operands(Layout(4))
    mask = masks.attention_mask(Layout(4), Rules())
    torch.manual_seed(0)
    found = dispatch.relative_attention(*leaves, mask, **option)
    monkeypatch.setattr(dispatch, "form", lambda *_: "fast")
    torch.manual_seed(0)
    assert torch.equal(found, dispatch.relative_attention(*leaves, mask, **option))
