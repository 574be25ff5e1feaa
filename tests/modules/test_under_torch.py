"""Modules and operations under what torch itself makes of those of others."""

import pytest
import torch
from torch.func import functional_call
from torch.utils.checkpoint import checkpoint

from rmem_cli import RUM, URLSTM, RecurrentMemoryTransformer, RUMCell, rotate
from rmem_cli.ops.native import build

RMT = {"memory_tokens": 2, "segment_length": 6, "layers": 2, "heads": 2, "head_size": 4, "cache_length": 6}
LUCIDRAINS = {"num_tokens": 11, "dim": 8, "depth": 1, "num_memory_tokens": 2, "seq_len": 6, "dim_head": 4}
MODULES = {
    "RUM": lambda: RUM(5, 7, layers=2),
    "RUM with eta": lambda: RUM(5, 7, eta=1.0),
    "RUM with lambda 1": lambda: RUM(5, 7, lambda_=1),
    "RUMCell": lambda: RUMCell(7, lambda_=1, input_size=5),
    "URLSTM": lambda: URLSTM(5, 7, 2, batch_first=True, bidirectional=True),
    "URLSTM with layer norm": lambda: URLSTM(5, 7, batch_first=True, layer_norm=True),
    "RecurrentMemoryTransformer": lambda: RecurrentMemoryTransformer(11, 8, **RMT),
    "LucidrainsTransformer": lambda: RecurrentMemoryTransformer(**LUCIDRAINS),
}


@pytest.fixture(params=["native", "fast"])
def form(request, monkeypatch):
    """Where `fast`, no native form runs."""
    if request.param == "fast":
        monkeypatch.setattr(build, "usable", lambda *_: False)


@pytest.fixture
def fresh_compiler():
    """Nothing that another test had translated."""
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def made(name):
    """The module in double precision, and inputs of it."""
    torch.manual_seed(0)
    module = MODULES[name]().double()
    if "Transformer" in name:
        return module, torch.randint(11, (3, 6))
    x = torch.randn(*([3, 5] if name == "RUMCell" else [3, 6, 5]), dtype=torch.float64)
    return module, x.requires_grad_()


def outputs_and_gradients(module, call, x):
    """Of all parameters, and of inputs that are numbers."""
    y = call(x)[0]
    leaves = [*module.parameters(), *([x] if x.requires_grad else [])]
    return [y, *torch.autograd.grad(y.square().sum(), leaves, allow_unused=True)]


@pytest.mark.parametrize("name", MODULES)
def test_a_checkpoint_around_a_module_changes_nothing(form, name):
    module, x = made(name)

    def checkpointed(x):
        return checkpoint(module, x, use_reentrant=False)

    found = outputs_and_gradients(module, checkpointed, x)
    torch.testing.assert_close(found, outputs_and_gradients(module, module, x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_a_checkpoint_around_rotate_changes_nothing(dtype):
    vectors = [torch.randn(3, 4, dtype=dtype, requires_grad=True) for _ in range(3)]
    plain = torch.autograd.grad(rotate(*vectors).square().sum(), vectors)
    there = torch.autograd.grad(checkpoint(rotate, *vectors, use_reentrant=False).square().sum(), vectors)
    torch.testing.assert_close(there, plain)


@pytest.mark.parametrize("name", MODULES)
def test_a_functional_call_of_a_module_is_a_call_of_it(form, name):
    module, x = made(name)
    weights = {key: value.detach() for key, value in module.named_parameters()}
    assert torch.equal(functional_call(module, weights, (x,))[0], module(x)[0])


@pytest.mark.parametrize("name", MODULES)
def test_torch_compile_captures_a_module_as_one_graph_with_equal_numbers(form, name, fresh_compiler):
    module, x = made(name)
    captured = torch.compile(module, backend="eager", fullgraph=True)
    found = outputs_and_gradients(module, captured, x)
    torch.testing.assert_close(found, outputs_and_gradients(module, module, x), rtol=1e-10, atol=1e-12)


def replica(module):
    """What `torch.nn.DataParallel` makes of a module for each of its devices, here for the same one."""
    parts = list(module.modules())
    copies = {part: part._replicate_for_data_parallel() for part in parts}
    for part, copied in copies.items():
        for name, child in part._modules.items():
            setattr(copied, name, copies.get(child))
        for name, parameter in part._parameters.items():
            setattr(copied, name, None if parameter is None else parameter * 1.0)
    return copies[module]


@pytest.mark.parametrize("name", MODULES)
def test_a_replica_of_data_parallel_reads_as_its_module_does(form, name):
    module, x = made(name)
    copied = replica(module)
    assert not list(copied.parameters())
    torch.testing.assert_close(copied(x), module(x))
    _, *state = module(x)
    named = {"xl_memories": state.pop()} if name == "LucidrainsTransformer" else {}
    torch.testing.assert_close(copied(x, *state, **named), module(x, *state, **named))
