"""What `--compile` makes of a core."""

import os
import shutil

import pytest
import torch
from small_cores import ALL, small_core

from rmem_cli.models.cores.fast_slow import FastSlow
from rmem_cli.models.cores.recurrent_config import EUNNSettings, FastSlowSettings, GORUSettings
from rmem_cli.models.cores.rmt import RMT
from rmem_cli.models.cores.transformer_config import RMTSettings
from rmem_cli.models.cores.unitary import EUNN, GORU
from rmem_cli.modules.rum import RUM
from rmem_cli.ops.native import build
from rmem_cli.recipe.registry import build as build_component

OF_TORCH = {"rnn", "lstm", "gru"}  # its modules, which it does not translate
CELL = {"kind": "layer_norm_lstm", "hidden_size": 5}


def gradients(core, x):
    y, _ = core(x)
    return [y, *torch.autograd.grad(y.square().sum(), list(core.parameters()), allow_unused=True)]


@pytest.mark.skipif(shutil.which(os.environ.get("CXX", "g++")) is None, reason="needs a C++ compiler")
@pytest.mark.parametrize(
    "make",
    [
        lambda: RUM(3, 5, lambda_=1),
        lambda: EUNN(3, EUNNSettings(hidden_size=5, complex=True)),
        lambda: GORU(3, GORUSettings(hidden_size=5)),
        lambda: FastSlow(3, FastSlowSettings(fast=CELL, slow=CELL)),
        lambda: RMT(
            8,
            RMTSettings(hidden_size=8, memory_tokens=2, heads=2, head_size=4, inner_size=8, segment_length=4),
        ),
    ],
    ids=["rum", "eunn", "goru", "fast-slow", "rmt"],
)
@pytest.mark.slow
def test_a_compiled_core_gives_the_same_numbers_and_no_warning(make, recwarn):
    torch.manual_seed(0)
    core = make()
    x = torch.randn(2, 2, core.input_size)  # each step is translated by itself
    plain = gradients(core, x)
    recwarn.clear()
    core.compile()
    assert core._compiled_call_impl is not None, "torch takes another way from here on"
    for ours, theirs in zip(gradients(core, x), plain, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    assert not [str(each.message) for each in recwarn if "_dynamo" in each.filename]


@pytest.fixture
def as_on_a_gpu(monkeypatch):
    """No native forms, which are of the CPU."""
    monkeypatch.setattr(build, "usable", lambda *_: False)
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.mark.parametrize("name", sorted(set(ALL) - OF_TORCH))
def test_a_core_is_captured_as_one_graph_with_equal_numbers(as_on_a_gpu, name):
    torch.manual_seed(0)
    settings = small_core(name, segment_length=6)
    if name == "rum":
        settings = settings.model_copy(update={"lambda_": 1})
    core = build_component(settings, 3).double()
    x = torch.randn(2, 6, 3, dtype=torch.float64, requires_grad=True)
    captured = torch.compile(core, backend="eager", fullgraph=True)
    for ours, theirs in zip(gradients(captured, x), gradients(core, x), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)
