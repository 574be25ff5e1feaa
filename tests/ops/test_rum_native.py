"""The native form of the rotational unit of memory gives the numbers of the others."""

import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest
import torch
from rum_weights import leaves_of, make_weights, normal

from rmem_cli.ops.native import build
from rmem_cli.ops.rotation import fast, native, reference
from rmem_cli.ops.rotation.options import Affine, RUMOptions, RUMWeights
from rmem_cli.runs.peak_memory import peak_memory_mb

pytestmark = pytest.mark.skipif(
    not build.status("rotation").available,
    reason=f"nothing can be built here: {build.status('rotation').reason}",
)
LAYER_NORMS = ("none", "before_gate", "after_gate")
ACTIVATIONS = ("relu", "tanh", "sigmoid", "softsign")
CLOSE = {"rtol": 1e-10, "atol": 1e-10}


def start(options, batch, size):
    """A hidden state and, for lambda 1, a memory that is no rotation."""
    memory = 1.2 * torch.linalg.qr(normal(9, batch, size, size).detach())[0] if options.lambda_ else None
    return normal(8, batch, size), memory


def loss_of(result, through_memory):
    """Of outputs and states: with the last memory or without it, which decides how the gradient is found."""
    cotangent = normal(20, *result.outputs.shape).detach()
    loss = (result.outputs * cotangent).sum() + result.hidden.square().sum() + result.cosines.square().sum()
    if through_memory:
        loss = loss + (result.memory * normal(21, *result.memory.shape).detach()).sum()
    return loss


def outcome(form, options, weights, x, hidden, memory, keep=None, active=None, through_memory=False):
    """Outputs, states and gradients; those of the memory are asked for with `through_memory`."""
    if through_memory:
        memory = memory.detach().requires_grad_()
    result = form.rum(x, hidden, memory, weights, options, keep, active)
    leaves = [x, hidden, *leaves_of(weights), *([memory] if through_memory else [])]
    values = [each for each in result if each is not None]
    return values + list(torch.autograd.grad(loss_of(result, through_memory), leaves))


def assert_equal_outcomes(one, other, **tolerance):
    for ours, theirs in zip(one, other, strict=True):
        torch.testing.assert_close(ours, theirs, **(tolerance or CLOSE))


def assert_native_is_fast(options, batch=3, time=7, inputs=4, size=5, bias=True, other=fast, **rest):
    weights = make_weights(options, inputs, size, bias)
    arguments = (options, weights, normal(7, batch, time, inputs), *start(options, batch, size))
    ours, theirs = (outcome(form, *arguments, **rest) for form in (native, other))
    # Where numbers have grown, so has their rounding.
    largest = max(each.detach().abs().max().item() for each in theirs)
    assert_equal_outcomes(ours, theirs, rtol=1e-10, atol=1e-10 * max(largest, 1.0))


@pytest.mark.parametrize("update_gate", [True, False])
@pytest.mark.parametrize("layer_norm", LAYER_NORMS)
@pytest.mark.parametrize("eta", [None, 0.7])
def test_native_and_fast_agree_for_every_option(update_gate, layer_norm, eta):
    for lambda_, activation in product((0, 1), ACTIVATIONS):
        assert_native_is_fast(RUMOptions(lambda_, eta, update_gate, activation, layer_norm))


@pytest.mark.parametrize("layer_norm", LAYER_NORMS)
@pytest.mark.parametrize("time", [7, 13], ids=["as a sequence", "as a matrix"])
@pytest.mark.parametrize("through_memory", [False, True])
def test_both_forms_of_the_memory_and_of_its_gradient_agree_with_fast(layer_norm, time, through_memory):
    options = RUMOptions(1, None, layer_norm=layer_norm, activation="tanh")
    assert_native_is_fast(options, time=time, through_memory=through_memory)


@pytest.mark.parametrize("lambda_", [0, 1])
def test_one_unit_is_kept_or_turned_round(lambda_):
    # The equations as written divide zero by zero there.
    assert_native_is_fast(RUMOptions(lambda_), batch=5, time=30, inputs=2, size=1)
    weights = make_weights(RUMOptions(lambda_), 2, 1)
    result = native.rum(normal(7, 5, 30, 2), *start(RUMOptions(lambda_), 5, 1), weights, RUMOptions(lambda_))
    torch.testing.assert_close(result.cosines.abs(), torch.ones_like(result.cosines))


@pytest.mark.parametrize("lambda_", [0, 1])
@pytest.mark.parametrize(
    ("batch", "time", "inputs", "size"),
    [
        (1, 1, 1, 2),
        (1, 9, 3, 7),
        (5, 1, 2, 3),
        (2, 11, 7, 13),
        (9, 20, 3, 33),
        (2, 70, 3, 37),
        (2, 70, 3, 33),
    ],
)
@pytest.mark.parametrize("form", [fast, reference], ids=["fast", "reference"])
def test_the_forms_agree_on_odd_sizes(lambda_, batch, time, inputs, size, form):
    options = RUMOptions(lambda_, 1.0)
    assert_native_is_fast(options, batch, time, inputs, size, bias=False, other=form)


@pytest.mark.parametrize("lambda_", [0, 1])
@pytest.mark.parametrize("time", [7, 13])
def test_zoneout_and_rows_that_end_early_agree_with_fast(lambda_, time):
    keep = (normal(30, 3, time, 5) > -0.3).double()
    active = (torch.arange(time) < torch.tensor([time, 4, 0])[:, None]).double().unsqueeze(-1)
    for some_keep, some_active in (
        (keep, None),
        (None, active),
        (keep, active),
        (torch.tensor(0.9).double(), active),
    ):
        assert_native_is_fast(RUMOptions(lambda_), time=time, keep=some_keep, active=some_active)
        if lambda_:
            rest = {"keep": some_keep, "active": some_active, "through_memory": True}
            assert_native_is_fast(RUMOptions(1), time=time, **rest)


CASES = {
    "parallel": (2.0, 0.0),
    "opposite": (-2.0, 0.0),
    "nearly parallel": (2.0, 1e-9),
    "nearly opposite": (-2.0, 1e-9),
    "zero target": (0.0, 0.0),
    "zero input": (None, 1.0),
    "both zero": (None, 0.0),
}


@pytest.mark.parametrize("lambda_", [0, 1])
@pytest.mark.parametrize("time", [4, 12])
@pytest.mark.parametrize("case", CASES)
def test_degenerate_rotations_have_the_finite_gradients_of_fast(lambda_, time, case):
    along, apart = CASES[case]
    size = 5
    embedded, other = normal(1, size).detach(), normal(2, size).detach()
    target = (along or 0.0) * embedded + apart * other
    embedded = torch.zeros(size).double() if along is None else embedded
    zeros = torch.zeros(3 + size, size).double()
    weights = RUMWeights(
        Affine(zeros.clone().requires_grad_(), target.requires_grad_()),
        Affine(normal(3, 3 + size, size), normal(4, size)),
        Affine(zeros[:3].clone().requires_grad_(), embedded.requires_grad_()),
    )
    options = RUMOptions(lambda_, 1.0, activation="tanh")
    arguments = (options, weights, normal(7, 2, time, 3), *start(options, 2, size))
    ours, theirs = (outcome(form, *arguments) for form in (native, fast))
    assert all(each.isfinite().all() for each in ours)
    # Beside opposite vectors the gradient is as large as they are near, and rounding them moves it as much.
    if case == "nearly opposite":
        angle = apart * other.norm() / target.norm()
        rounding = torch.finfo(torch.float64).eps / angle
        for one, wanted in zip(ours, theirs, strict=True):
            assert (one - wanted).norm() <= 16 * rounding * wanted.norm()
    else:
        assert_equal_outcomes(ours, theirs, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("lambda_", [0, 1])
@pytest.mark.parametrize(
    "frozen", [("target", "gate"), ("embedding",), ("embedding", "target", "gate")], ids=str
)
def test_tensors_may_be_views_and_weights_frozen(lambda_, frozen):
    options = RUMOptions(lambda_)
    weights = make_weights(options, 4, 5)
    detached = {name: Affine(*(each.detach() for each in getattr(weights, name))) for name in frozen}
    weights = weights._replace(**detached)
    x, hidden = normal(7, 4, 9, 3), normal(8, 5, 3)
    memory = start(options, 3, 5)[1].mT if lambda_ else None

    def gradients(form):
        result = form.rum(x.permute(2, 1, 0), hidden.t(), memory, weights, options)
        leaves = [x, hidden, *(each for each in leaves_of(weights) if each.requires_grad)]
        return [result.outputs, *torch.autograd.grad(result.outputs.transpose(0, 1).square().sum(), leaves)]

    assert_equal_outcomes(gradients(native), gradients(fast))


def assert_memory_agrees_with_fast(memory, time, size):
    options, batch = RUMOptions(1, 1.0), len(memory)
    arguments = (
        options,
        make_weights(options, 4, size),
        normal(7, batch, time, 4),
        normal(8, batch, size),
        memory,
    )
    ours, theirs = (outcome(form, *arguments) for form in (native, fast))
    largest = max(each.detach().abs().max().item() for each in theirs)
    assert_equal_outcomes(ours, theirs, rtol=1e-9, atol=1e-9 * max(largest, 1.0))


@pytest.mark.parametrize(
    ("time", "size"),
    [(25, 50), (70, 50), (90, 83), (139, 243)],
    ids=["as a sequence", "by columns", "by columns after a chunk", "by columns after two chunks"],
)
def test_a_memory_that_starts_as_one_identity_agrees_with_fast(time, size):
    assert_memory_agrees_with_fast(torch.eye(size).double().expand(3, size, size), time, size)


@pytest.mark.parametrize("changed", [0.0, 0.5], ids=["an identity each", "an identity for all rows but one"])
def test_memories_of_their_own_agree_with_fast(changed):
    memory = torch.eye(50).double().repeat(3, 1, 1)
    memory[2, 7, 3] = changed
    assert_memory_agrees_with_fast(memory, 25, 50)


@pytest.mark.parametrize("lambda_", [0, 1])
def test_nothing_but_what_needs_a_gradient_gets_one(lambda_):
    options = RUMOptions(lambda_)
    weights = RUMWeights(*(Affine(*(t.detach() for t in each)) for each in make_weights(options, 4, 5)[:3]))
    hidden, memory = start(options, 3, 5)
    result = native.rum(normal(7, 3, 9, 4).detach(), hidden, memory, weights, options)
    result.outputs.sum().backward()
    assert hidden.grad is not None
    with torch.no_grad():
        again = native.rum(normal(7, 3, 9, 4), hidden, memory, weights, options)
    assert_equal_outcomes([result.outputs, result.cosines], [again.outputs, again.cosines])
    assert not again.outputs.requires_grad


@pytest.mark.parametrize("lambda_", [0, 1])
@pytest.mark.parametrize("time", [4, 12])
@pytest.mark.parametrize("through_memory", [False, True])
def test_a_second_backward_pass_repeats_the_first(lambda_, time, through_memory):
    options = RUMOptions(lambda_)
    weights = make_weights(options, 4, 5)
    hidden, memory = start(options, 3, 5)
    result = native.rum(normal(7, 3, time, 4), hidden, memory, weights, options)
    loss = loss_of(result, through_memory and lambda_ == 1)
    first = torch.autograd.grad(loss, leaves_of(weights), retain_graph=True)
    for one, two in zip(first, torch.autograd.grad(loss, leaves_of(weights)), strict=True):
        assert torch.equal(one, two)


@pytest.mark.parametrize("lambda_", [0, 1])
@pytest.mark.parametrize("cut", [3, 6])
def test_a_state_may_be_used_twice(lambda_, cut):
    options = RUMOptions(lambda_, 1.0)
    weights = make_weights(options, 4, 5)
    x = normal(7, 3, 17, 4)

    def gradients(form):
        first = form.rum(x[:, :cut], *start(options, 3, 5), weights, options)
        parts = x[:, cut:], x[:, cut + 1 :]
        rest = [form.rum(part, first.hidden, first.memory, weights, options) for part in parts]
        loss = sum(loss_of(each, through_memory=lambda_ == 1) for each in rest)
        return torch.autograd.grad(loss, [x, *leaves_of(weights)])

    assert_equal_outcomes(gradients(native), gradients(fast), rtol=1e-9, atol=1e-9)


def test_a_long_sequence_goes_back_by_way_of_the_copies_of_its_memory():
    # Large biases turn the vectors little from step to step: a chaotic recurrence would magnify rounding.
    steadied = [
        Affine((kernel.detach() / 10).requires_grad_(), (3 * bias.detach()).requires_grad_())
        for kernel, bias in make_weights(RUMOptions(1), 3, 4)[:3]
    ]
    arguments = (RUMOptions(1, 1.0), RUMWeights(*steadied), normal(7, 2, 600, 3), *start(RUMOptions(1), 2, 4))
    ours, theirs = (outcome(form, *arguments, through_memory=True) for form in (native, fast))
    largest = max(each.detach().abs().max().item() for each in theirs)
    assert_equal_outcomes(ours, theirs, rtol=1e-9, atol=1e-9 * largest)


def single_and_double_gradients(options, batch, time, size):
    """Of all weights, whose kernels are scaled so that no recurrence is chaotic."""
    scaled = [
        Affine(kernel.detach() / kernel.shape[0] ** 0.5, bias.detach())
        for kernel, bias in make_weights(options, 4, size)[:3]
    ]
    gradients = {}
    for dtype in (torch.float32, torch.float64):
        weights = RUMWeights(
            *(Affine(*(each.to(dtype).requires_grad_() for each in affine)) for affine in scaled)
        )
        x = normal(7, batch, time, 4).detach().to(dtype)
        memory = torch.eye(size, dtype=dtype).repeat(batch, 1, 1) if options.lambda_ else None
        result = native.rum(x, torch.zeros(batch, size, dtype=dtype), memory, weights, options)
        loss = (result.outputs * normal(8, batch, time, size).detach().to(dtype)).sum()
        gradients[dtype] = torch.autograd.grad(loss, leaves_of(weights))
    return zip(*gradients.values(), strict=True)


@pytest.mark.parametrize(("time", "size"), [(1000, 50), (290, 200)], ids=["as a matrix", "as a sequence"])
def test_gradients_through_many_float32_memories_are_those_of_float64(time, size):
    for single, double in single_and_double_gradients(RUMOptions(1, 1.0), 1, time, size):
        assert (single.double() - double).norm() < 1e-3 * double.norm()


@pytest.mark.parametrize("lambda_", [0, 1])
def test_float32_gradients_over_many_rows_are_those_of_float64(lambda_):
    for single, double in single_and_double_gradients(RUMOptions(lambda_), batch=64, time=30, size=60):
        assert (single.double() - double).norm() < 1e-4 * double.norm()


@pytest.mark.parametrize("scale", [1e-3, 1e-6])
def test_a_small_state_that_is_lengthened_keeps_its_direction(scale):
    options, size = RUMOptions(0, 1.0, activation="tanh"), 17
    exact = make_weights(options, 4, size, bias=False)
    single = [
        None if each is None else Affine(*(t if t is None else t.float() for t in each)) for each in exact
    ]
    x, hidden = scale * normal(7, 3, 1, 4), torch.zeros(3, size, dtype=torch.float64)
    ours = native.rum(x.float(), hidden.float(), None, RUMWeights(*single[:3]), options).outputs
    torch.testing.assert_close(
        ours.double(), reference.rum(x, hidden, None, exact, options).outputs, rtol=0, atol=2e-6
    )


def test_a_number_that_is_none_is_passed_on():
    options = RUMOptions(1, 1.0)
    x = normal(7, 3, 7, 4).detach()
    x[1, 2, 0] = float("nan")
    outputs = native.rum(x, *start(options, 3, 5), make_weights(options, 4, 5), options).outputs
    assert outputs[1, 2:].isnan().all()
    assert outputs[[0, 2]].isfinite().all()
    assert outputs[1, :2].isfinite().all()


@pytest.mark.parametrize("lambda_", [0, 1])
@pytest.mark.parametrize(
    "given",
    [normal(8, 9, 5, 3).permute(2, 0, 1), normal(8, 3, 5, 9).transpose(1, 2), normal(8, 1).expand(3, 9, 5)],
    ids=["time first", "time last", "one number"],
)
def test_gradients_of_outputs_may_be_laid_out_in_any_way(lambda_, given):
    options = RUMOptions(lambda_, 1.0)
    weights = make_weights(options, 4, 5)
    x = normal(7, 3, 9, 4)
    outputs = native.rum(x, *start(options, 3, 5), weights, options).outputs
    strided, plain = (
        torch.autograd.grad(outputs, [x, *leaves_of(weights)], each, retain_graph=True)
        for each in (given.detach(), given.detach().contiguous())
    )
    torch.testing.assert_close(strided, plain)


@pytest.mark.parametrize("lambda_", [0, 1])
@pytest.mark.parametrize("size", [5, 40])
def test_the_number_of_threads_changes_no_bit(lambda_, size):
    options = RUMOptions(lambda_, 1.0, layer_norm="before_gate")
    weights = make_weights(options, 33, size)
    arguments = (options, weights, normal(7, 23, 70, 33), *start(options, 23, size))
    before = torch.get_num_threads()
    try:
        outcomes = []
        for threads in (1, 2, 3, 7):
            torch.set_num_threads(threads)
            outcomes.append(outcome(native, *arguments))
    finally:
        torch.set_num_threads(before)
    for each in outcomes[1:]:
        assert_equal_outcomes(each, outcomes[0], rtol=0, atol=0)


def operands(options, time, batch=2, inputs=3, size=4):
    """Arguments of the operation itself."""
    norms = None if options.layer_norm == "none" else normal(6, 3 if options.update_gate else 2, 2, size)
    hidden, memory = start(options, batch, size)
    if memory is not None:
        memory.requires_grad_()
    weights = make_weights(options, inputs, size)
    kernels, biases = zip(weights.embedding, weights.target, weights.gate or (None, None), strict=True)
    form = (options.activation, options.layer_norm, options.eta, options.eps, True)
    return (normal(7, batch, time, inputs), hidden, memory, *kernels, norms, None, None, *biases, *form)


OPERATIONS = pytest.mark.parametrize(
    ("options", "time"),
    [
        (RUMOptions(0, None, update_gate=False), 3),
        (RUMOptions(0, 1.0, layer_norm="before_gate", activation="tanh"), 3),
        (RUMOptions(1, None, activation="tanh"), 3),
        (RUMOptions(1, 1.0, layer_norm="after_gate", activation="softsign"), 9),
    ],
)


@OPERATIONS
def test_torch_finds_no_fault_with_the_operation(options, time):
    torch.library.opcheck(torch.ops.rmem.rum.default, operands(options, time))


@OPERATIONS
def test_gradients_are_those_of_finite_differences(options, time):
    def results(*arguments):
        return [each for each in torch.ops.rmem.rum(*arguments)[:4] if each.numel()]

    assert torch.autograd.gradcheck(results, operands(options, time), atol=1e-5, rtol=1e-4)


def test_a_second_derivative_is_refused():
    options = RUMOptions(0)
    x = normal(7, 3, 7, 4)
    outputs = native.rum(x, *start(options, 3, 5), make_weights(options, 4, 5), options).outputs
    gradient = torch.autograd.grad(outputs.sum(), x, create_graph=True)[0]
    with pytest.raises(RuntimeError, match="second derivatives"):
        gradient.sum().backward()


# In a process of its own: what others have freed is resident as well, and would be taken for new blocks.
_BLOCKS_OF_MANY_SIZES = """
import resource, torch
from rmem_cli import RUM

torch.set_num_threads(1)
rum = RUM(3, 16)

def resident(time):
    rum(torch.randn(64, time, 3))[0].sum().backward()
    with open("/proc/self/statm") as pages:
        return int(pages.read().split()[1]) * resource.getpagesize()

before = resident(10)
largest = max(resident(4000) for _ in range(2)) - before
print(largest, max(resident(time) for time in (2900, 2100, 1500, 1100, 800, 580)) - before)
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="resident memory is read from /proc")
def test_blocks_of_many_sizes_take_little_more_memory_than_those_of_the_largest():
    command = [sys.executable, "-c", _BLOCKS_OF_MANY_SIZES]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    largest, of_many_sizes = map(int, printed.split())
    assert of_many_sizes < 1.5 * largest


def test_a_thousand_calls_leak_nothing():
    options = RUMOptions(1, 1.0)
    weights = make_weights(options, 4, 16)
    hidden, memory = start(options, 64, 16)

    def calls(count):
        for _ in range(count):
            native.rum(normal(7, 64, 20, 4), hidden, memory, weights, options).outputs.sum().backward()
        return peak_memory_mb(torch.device("cpu"))

    before = calls(100)
    # The smallest result, the last hidden state, would take eight if it were left behind.
    assert calls(1000) - before < 4
