"""Products by oneDNN are those of torch, and taken where they are faster."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from rmem_cli.ops import product

needs_onednn = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="torch has no oneDNN here")
WIDE, NARROW = {"cpu_name": "AMD EPYC"}, {"cpu_name": "Intel(R) Xeon(R)"}


class Operations(TorchDispatchMode):
    """Names of the operations that are called, and what oneDNN was given on the right."""

    def __init__(self):
        super().__init__()
        self.called = []
        self.right_factors = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.called.append(function.name())
        if function.name() == "mkldnn::_linear_pointwise":
            self.right_factors.append(args[1])
        return function(*args, **(kwargs or {}))


def uses_onednn(run):
    with Operations() as operations:
        run()
    return "mkldnn::_linear_pointwise" in operations.called


@pytest.fixture
def processor(monkeypatch):
    """Sets what torch says of the processor."""

    def set_to(name=WIDE["cpu_name"], capability="AVX512"):
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"cpu_name": name})
        monkeypatch.setattr(torch.backends.mkl, "is_available", lambda: True)
        product._mkl_is_narrow.cache_clear()

    yield set_to
    product._mkl_is_narrow.cache_clear()


@pytest.fixture
def everything_by_onednn(processor, monkeypatch):
    processor()
    monkeypatch.setattr(product, "_LEAST_MULTIPLICATIONS", 0)


def numbers(*shape, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def laid_out(matrix, layout):
    """The same numbers, elsewhere in memory."""
    rows, columns = matrix.shape
    if layout == "transposed":
        return matrix.T.contiguous().T
    if layout == "strided":
        return torch.zeros(2 * rows, columns + 3)[::2, 2:-1].copy_(matrix)
    if layout == "repeated":
        return matrix[:1].expand(rows, columns)
    return matrix


layouts = st.sampled_from(["contiguous", "transposed", "strided", "repeated"])
sizes = st.integers(1, 40)


def gradients(form, leaves, of_gradient):
    y = form(*leaves)
    return y, *torch.autograd.grad(y, leaves, of_gradient.expand_as(y))


@needs_onednn
@settings(deadline=None, max_examples=60)
@given(rows=sizes, inputs=sizes, outputs=sizes, x_layout=layouts, weight_layout=layouts, biased=st.booleans())
def test_onednn_gives_the_products_of_torch_and_their_gradients(
    rows, inputs, outputs, x_layout, weight_layout, biased
):
    x = laid_out(numbers(rows, inputs, seed=1), x_layout).requires_grad_()
    weight = laid_out(numbers(outputs, inputs, seed=2), weight_layout).requires_grad_()
    bias = [numbers(2 * outputs, seed=3)[::2].requires_grad_()] if biased else []
    for of_gradient in numbers(rows, outputs, seed=4), torch.ones(()):
        found = gradients(
            lambda x, weight, *bias: product._Linear.apply(x, weight, *bias or [None]),
            [x, weight, *bias],
            of_gradient,
        )
        wanted = gradients(nn.functional.linear, [x, weight, *bias], of_gradient)
        for one, other in zip(found, wanted, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


@needs_onednn
@pytest.mark.parametrize("x_layout", ["contiguous", "transposed", "strided"])
@pytest.mark.parametrize("weight_layout", ["contiguous", "transposed", "strided"])
def test_onednn_is_given_no_part_of_a_larger_matrix_to_read_slowly(
    everything_by_onednn, x_layout, weight_layout
):
    x = laid_out(numbers(6, 5, seed=1), x_layout).requires_grad_()
    weight = laid_out(numbers(7, 5, seed=2), weight_layout).requires_grad_()
    with Operations() as operations:
        product.linear(x, weight).backward(laid_out(numbers(6, 7, seed=3), "strided"))
    assert len(operations.right_factors) == 3
    assert all(each.is_contiguous() or each.mT.is_contiguous() for each in operations.right_factors)


@needs_onednn
def test_gradients_by_onednn_can_be_differentiated(everything_by_onednn):
    def second_derivative(form):
        x, weight = (numbers(5, 7, seed=seed).requires_grad_() for seed in (1, 2))
        (of_x,) = torch.autograd.grad(form(x, weight).square().sum(), x, create_graph=True)
        return torch.autograd.grad(of_x.square().sum(), [x, weight])

    for one, other in zip(
        second_derivative(product.linear), second_derivative(nn.functional.linear), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-4)


@needs_onednn
def test_a_module_keeps_leading_axes_and_leaves_frozen_weights_alone(everything_by_onednn):
    module = product.Linear(6, 5)
    module.weight.requires_grad_(False)
    x = numbers(2, 3, 4, 6, seed=1).requires_grad_()
    y = module(x)
    y.sum().backward()
    torch.testing.assert_close(y, nn.functional.linear(x, module.weight, module.bias))
    assert module.weight.grad is None
    torch.testing.assert_close(module.bias.grad, torch.full((5,), 24.0))
    torch.testing.assert_close(x.grad, module.weight.sum(0).expand_as(x))


LARGE = (256, 256), (128, 256)


@needs_onednn
@pytest.mark.filterwarnings("ignore:TF32")
def test_large_products_go_to_onednn_where_mkl_is_narrow(processor):
    x, weight = (numbers(*shape, seed=1) for shape in LARGE)
    processor()
    assert uses_onednn(lambda: product.linear(x, weight))
    assert uses_onednn(lambda: product.product(x, weight.mT))
    assert not uses_onednn(lambda: product.linear(x[:127], weight))
    assert not uses_onednn(lambda: product.linear(x.double(), weight.double()))
    assert not uses_onednn(lambda: product.linear(x.to("meta"), weight.to("meta")))
    with torch.backends.mkldnn.flags(enabled=False):
        assert not uses_onednn(lambda: product.linear(x, weight))
    processor(name=NARROW["cpu_name"])
    assert not uses_onednn(lambda: product.linear(x, weight))
    processor(capability="AVX2")
    assert not uses_onednn(lambda: product.linear(x, weight))


@needs_onednn
def test_automatic_half_precision_stays_torchs_own(processor):
    processor()
    x, weight = (numbers(*shape, seed=1) for shape in LARGE)
    with torch.autocast("cpu", torch.bfloat16):
        assert product.linear(x, weight).dtype == torch.bfloat16


@needs_onednn
def test_operations_are_counted_whichever_library_multiplies(processor):
    x, weight = (numbers(*shape, seed=1).requires_grad_() for shape in LARGE)

    def counted():
        with FlopCounterMode(display=False) as counter:
            product.linear(x, weight).sum().backward()
        return counter.get_total_flops()

    processor()
    by_onednn = counted()
    processor(capability="AVX2")
    assert by_onednn == counted() == 3 * 2 * 256 * 256 * 128


@needs_onednn
def test_the_same_product_has_the_same_bits(processor):
    processor()
    x, weight = (numbers(*shape, seed=1) for shape in LARGE)
    first = product.linear(x, weight)
    assert all(torch.equal(first, product.linear(x.clone(), weight.clone())) for _ in range(20))
