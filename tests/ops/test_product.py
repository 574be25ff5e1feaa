"""Native products are those of torch, and taken where they are faster."""

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode
from typer.testing import CliRunner

from rmem_cli.app import app
from rmem_cli.ops.native import build
from rmem_cli.ops.product import dispatch, native

pytestmark = pytest.mark.skipif(
    not build.status("product").available,
    reason=f"nothing can be built here: {build.status('product').reason}",
)
WIDE, NARROW = {"cpu_name": "AMD EPYC"}, {"cpu_name": "Intel(R) Xeon(R)"}


class Operations(TorchDispatchMode):
    """Names of the operations that are called."""

    def __init__(self):
        super().__init__()
        self.called = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.called.append(function.name())
        return function(*args, **(kwargs or {}))


def is_native(run):
    with Operations() as operations:
        run()
    return "rmem::product" in operations.called


@pytest.fixture
def processor(monkeypatch):
    """Sets what torch says of the processor."""

    def set_to(name=WIDE["cpu_name"], capability="AVX512"):
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"cpu_name": name})
        monkeypatch.setattr(torch.backends.mkl, "is_available", lambda: True)
        dispatch.mkl_is_narrow.cache_clear()

    yield set_to
    dispatch.mkl_is_narrow.cache_clear()


@pytest.fixture
def everything_native(processor, monkeypatch):
    processor()
    monkeypatch.setattr(dispatch, "_LEAST_MULTIPLICATIONS", 0)
    monkeypatch.setattr(dispatch, "_LEAST_SIZE", 0)


def numbers(*shape, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def laid_out(matrix, layout):
    """The same numbers, elsewhere in memory."""
    rows, columns = matrix.shape
    if layout == "transposed":
        return matrix.T.contiguous().T
    if layout == "strided":
        return matrix.new_zeros(2 * rows, columns + 3)[::2, 2:-1].copy_(matrix)
    if layout == "repeated":
        return matrix[:1].expand(rows, columns)
    return matrix


layouts = st.sampled_from(["contiguous", "transposed", "strided", "repeated"])
sizes = st.integers(1, 40)


def gradients(form, leaves, of_gradient):
    y = form(*leaves)
    return y, *torch.autograd.grad(y, leaves, of_gradient.expand_as(y))


@settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=sizes,
    inputs=st.one_of(sizes, st.integers(120, 300)),
    outputs=st.one_of(sizes, st.integers(60, 140)),
    layouts=st.tuples(layouts, layouts, layouts),
    biased=st.booleans(),
)
@pytest.mark.parametrize(("dtype", "close"), [(torch.float64, 1e-12), (torch.float32, 1e-4)], ids=str)
def test_native_linear_maps_and_their_gradients_are_those_of_torch(
    everything_native, dtype, close, rows, inputs, outputs, layouts, biased
):
    x = laid_out(numbers(rows, inputs, seed=1).to(dtype), layouts[0]).requires_grad_()
    weight = laid_out(numbers(outputs, inputs, seed=2).to(dtype), layouts[1]).requires_grad_()
    bias = [numbers(2 * outputs, seed=3).to(dtype)[::2].requires_grad_()] if biased else []
    given = laid_out(numbers(rows, outputs, seed=4).to(dtype), layouts[2])
    for of_gradient in given, torch.ones((), dtype=dtype):
        found = gradients(dispatch.linear, [x, weight, *bias], of_gradient)
        wanted = gradients(nn.functional.linear, [x, weight, *bias], of_gradient)
        for one, other in zip(found, wanted, strict=True):
            torch.testing.assert_close(one, other, rtol=close, atol=close)


def test_torch_finds_no_fault_with_the_native_product():
    factors = numbers(4, 3, seed=1), numbers(3, 5, seed=2)
    for bias in None, numbers(5, seed=3):
        torch.library.opcheck(torch.ops.rmem.product.default, (*factors, bias))


@pytest.mark.parametrize("depth", [0, 1])
def test_a_product_of_no_depth_is_its_bias(depth):
    bias = numbers(5, seed=3)
    found = native.product(torch.zeros(4, depth), torch.zeros(depth, 5), bias)
    torch.testing.assert_close(found, bias.expand(4, 5))


def test_the_number_of_threads_changes_no_bit():
    before = torch.get_num_threads()
    x, weight = numbers(70, 300, seed=1), numbers(300, 150, seed=2)
    try:
        found = []
        for threads in (1, 2, 3, 8):
            torch.set_num_threads(threads)
            found.append(native.product(x, weight))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(found[0], each) for each in found)


def test_native_gradients_can_be_differentiated(everything_native):
    def second_derivative(form):
        x, weight = (numbers(5, 7, seed=seed).requires_grad_() for seed in (1, 2))
        (of_x,) = torch.autograd.grad(form(x, weight).square().sum(), x, create_graph=True)
        return torch.autograd.grad(of_x.square().sum(), [x, weight])

    for one, other in zip(
        second_derivative(dispatch.linear), second_derivative(nn.functional.linear), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-4)


def test_a_module_keeps_leading_axes_and_leaves_frozen_weights_alone(everything_native):
    module = dispatch.Linear(6, 5)
    module.weight.requires_grad_(False)
    x = numbers(2, 3, 4, 6, seed=1).requires_grad_()
    y = module(x)
    y.sum().backward()
    torch.testing.assert_close(y, nn.functional.linear(x, module.weight, module.bias))
    assert module.weight.grad is None
    torch.testing.assert_close(module.bias.grad, torch.full((5,), 24.0))
    torch.testing.assert_close(x.grad, module.weight.sum(0).expand_as(x))


LARGE = (256, 256), (128, 256)


def test_large_products_are_native_where_mkl_is_narrow(processor):
    x, weight = (numbers(*shape, seed=1) for shape in LARGE)
    processor()
    assert is_native(lambda: dispatch.linear(x, weight))
    assert is_native(lambda: dispatch.product(x, weight.mT))
    assert not is_native(lambda: dispatch.linear(x[:127], weight))
    assert is_native(lambda: dispatch.linear(x.double(), weight.double()))
    assert not is_native(lambda: dispatch.linear(x.half(), weight.half()))
    assert not is_native(lambda: dispatch.linear(x.view(-1)[: 8 * 256].view(8, 256), weight.repeat(99, 1)))
    assert not is_native(lambda: dispatch.linear(x.to("meta"), weight.to("meta")))
    processor(name=NARROW["cpu_name"])
    assert not is_native(lambda: dispatch.linear(x, weight))
    processor(capability="AVX2")
    assert not is_native(lambda: dispatch.linear(x, weight))


def test_automatic_half_precision_stays_torchs_own(processor):
    processor()
    x, weight = (numbers(*shape, seed=1) for shape in LARGE)
    with torch.autocast("cpu", torch.bfloat16):
        assert dispatch.linear(x, weight).dtype == torch.bfloat16


def test_operations_are_counted_whichever_form_multiplies(processor):
    x, weight = (numbers(*shape, seed=1).requires_grad_() for shape in LARGE)

    def counted():
        with FlopCounterMode(display=False) as counter:
            dispatch.linear(x, weight).sum().backward()
        return counter.get_total_flops()

    processor()
    natively = counted()
    processor(capability="AVX2")
    assert natively == counted() == 3 * 2 * 256 * 256 * 128


def test_doctor_names_torchs_own_products_where_they_run(processor):
    def line():
        output = CliRunner().invoke(app, ["doctor"], catch_exceptions=False).stdout
        return next(each for each in output.splitlines() if each.strip().startswith("product"))

    for family in build.FAMILIES:  # as this processor needs them, before it is said to be another
        build.status(family)
    processor()
    assert "native" in line()
    processor(name=NARROW["cpu_name"])
    assert "fast" in line()
    assert "torch's own" in line()
