"""Under autocast, recurrences and states stay in single precision, and products go down."""

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from rmem_cli import RUM, URLSTM, RecurrentMemoryTransformer, rotate
from rmem_cli.models.cores.fast_slow import FastSlow
from rmem_cli.models.cores.gated_lstm import GatedGRU, GatedLSTM
from rmem_cli.models.cores.layer_norm_lstm import LayerNormLSTM
from rmem_cli.models.cores.prenorm_rmt import PreNormRMT
from rmem_cli.models.cores.recurrent_config import (
    EUNNSettings,
    FastSlowSettings,
    GatedGRUSettings,
    GatedLSTMSettings,
    GORUSettings,
    GRUSettings,
    LayerNormLSTMSettings,
    LSTMSettings,
    RNNSettings,
)
from rmem_cli.models.cores.rmt import RMT
from rmem_cli.models.cores.torch_rnn import GRU, LSTM, RNN
from rmem_cli.models.cores.transformer_config import PreNormRMTSettings, RMTSettings, TransformerXLSettings
from rmem_cli.models.cores.transformer_xl import TransformerXL
from rmem_cli.models.cores.unitary import EUNN, GORU
from rmem_cli.ops.native import build

LONG = {"layers": 2, "heads": 2, "segment_length": 5, "cache_length": 4}
CELL = {"kind": "layer_norm_lstm", "hidden_size": 16}
CORES = {
    "rum, lambda 0": lambda: RUM(16, 16, layer_norm="before_gate"),
    "rum, lambda 1": lambda: RUM(16, 16, lambda_=1, layers=2, eta=1.0, activation="tanh"),
    "gated lstm": lambda: GatedLSTM(16, GatedLSTMSettings(hidden_size=16, layers=2)),
    "ordered lstm": lambda: GatedLSTM(16, GatedLSTMSettings(hidden_size=16, gate="OR", layer_norm=True)),
    "gated gru": lambda: GatedGRU(16, GatedGRUSettings(hidden_size=16, layers=2)),
    "eunn": lambda: EUNN(16, EUNNSettings(hidden_size=16, layers=2, initial_bound=1.0)),
    "complex eunn": lambda: EUNN(16, EUNNSettings(hidden_size=16, complex=True, initial_bound=1.0)),
    "goru": lambda: GORU(16, GORUSettings(hidden_size=16, layers=2, initial_bound=1.0, modrelu_bias=-0.1)),
    "layer-norm lstm": lambda: LayerNormLSTM(16, LayerNormLSTMSettings(hidden_size=16, layers=2)),
    "fast-slow": lambda: FastSlow(16, FastSlowSettings(fast=CELL, slow={"kind": "rum", "hidden_size": 16})),
    "rnn": lambda: RNN(16, RNNSettings(hidden_size=16)),
    "lstm": lambda: LSTM(16, LSTMSettings(hidden_size=16)),
    "gru": lambda: GRU(16, GRUSettings(hidden_size=16)),
    "transformer-xl": lambda: TransformerXL(16, TransformerXLSettings(hidden_size=16, **LONG)),
    "pre-norm transformer-xl": lambda: TransformerXL(
        8, TransformerXLSettings(hidden_size=16, pre_norm=True, **LONG)
    ),
    "learned distances": lambda: TransformerXL(
        16, TransformerXLSettings(hidden_size=16, position_encoding="relative_learned", **LONG)
    ),
    "absolute places": lambda: TransformerXL(
        16, TransformerXLSettings(hidden_size=16, position_encoding="absolute_learned", **LONG)
    ),
    "rmt": lambda: RMT(16, RMTSettings(hidden_size=16, memory_tokens=2, **LONG)),
    "published rmt": lambda: RMT(
        16, RMTSettings(hidden_size=16, memory_tokens=2, published_shift=True, **LONG)
    ),
    "associative rmt": lambda: RMT(
        16, RMTSettings(hidden_size=16, memory_tokens=2, memory_kind="associative", **LONG)
    ),
    "pre-norm rmt": lambda: PreNormRMT(16, PreNormRMTSettings(hidden_size=16, memory_tokens=2, **LONG)),
    "residual streams": lambda: PreNormRMT(
        16, PreNormRMTSettings(hidden_size=16, memory_tokens=2, residual_streams=2, **LONG)
    ),
}


@pytest.fixture(params=["native", "fast"])
def form(request, monkeypatch):
    """The form of the operations; a test that uses it holds for both."""
    if request.param == "fast":
        monkeypatch.setattr(build, "available", lambda family: False)


def outcome(core, x, lengths, autocast, inside=False):
    """Outputs, state and gradients of two segments, the backward pass inside of autocast or not."""
    source = torch.Generator().manual_seed(2)
    parameters = list(core.parameters())

    def gradients(loss):
        return torch.autograd.grad(loss, parameters, materialize_grads=True)

    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        first, state = core(x, None, lengths)
        second, state = core(x, state, lengths)
        weights = torch.randn(2, *first.shape, generator=source)
        loss = (first * weights[0]).sum() + (second * weights[1]).sum()
        if inside:
            return second, state, gradients(loss)
    return second, state, gradients(loss)


def joined(tensors):
    return torch.cat([each.flatten() for each in tensors])


@pytest.mark.parametrize("name", CORES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("cut", [False, True], ids=["whole", "lengths"])
@pytest.mark.parametrize("inside", [False, True], ids=["backward outside", "backward inside"])
def test_states_are_single_and_gradients_close_to_those_without(form, name, dtype, cut, inside):
    torch.manual_seed(0)
    core = CORES[name]()
    x = torch.randn(3, 5, core.input_size).to(dtype)
    lengths = torch.tensor([5, 2, 4]) if cut else None
    y, state, gradients = outcome(core, x.float(), lengths, autocast=False)
    ours, states, ours_gradients = outcome(core, x, lengths, autocast=True, inside=inside)
    assert ours.dtype == torch.float32
    assert {key: value.dtype for key, value in states.items()} == {key: state[key].dtype for key in states}
    assert (ours - y).norm() < 0.03 * y.norm()
    difference = joined(ours_gradients) - joined(gradients)
    assert difference.norm() < 0.05 * joined(gradients).norm()


@pytest.mark.parametrize(
    "name",
    [
        "rum, lambda 0",
        "rum, lambda 1",
        "gated lstm",
        "gated gru",
        "eunn",
        "complex eunn",
        "layer-norm lstm",
        "lstm",
    ],
)
def test_recurrences_have_the_bits_that_they_have_without(form, name):
    torch.manual_seed(0)
    core = CORES[name]()
    x = torch.randn(3, 5, core.input_size)
    plain, under = (outcome(core, x, None, autocast) for autocast in (False, True))
    assert torch.equal(plain[0], under[0])
    assert all(torch.equal(one, other) for one, other in zip(plain[2], under[2], strict=True))


class _Products(TorchDispatchMode):
    """The types of the results of torch's products."""

    def __init__(self):
        super().__init__()
        self.dtypes = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if func.overloadpacket in (torch.ops.aten.mm, torch.ops.aten.addmm, torch.ops.aten.bmm):
            self.dtypes.add(result.dtype)
        return result


@pytest.mark.parametrize("name", ["transformer-xl", "rmt", "pre-norm rmt"])
def test_products_of_transformers_go_down(name):
    core = CORES[name]()
    with _Products() as products, torch.autocast("cpu", dtype=torch.bfloat16):
        core(torch.randn(2, 5, core.input_size))
    assert products.dtypes == {torch.bfloat16}


def test_a_model_of_public_modules_trains(form):
    torch.manual_seed(0)
    lstm, head, rum = URLSTM(8, 16, bidirectional=True), nn.Linear(32, 8), RUM(8, 16, lambda_=1)
    transformer = RecurrentMemoryTransformer(7, 16, memory_tokens=2, segment_length=5, layers=1, heads=2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y, (hidden, cell) = lstm(torch.randn(5, 3, 8))
        y, state = rum(head(y))
        logits, memory = transformer(torch.randint(7, (3, 5)))
        turned = rotate(*torch.randn(3, 4, 6).bfloat16())
    states = (hidden, cell, y, turned, *state.values(), *memory.values())
    assert {each.dtype for each in states} == {torch.float32}
    (y.sum() + logits.float().square().sum()).backward()
    for module in (lstm, head, rum, transformer):
        given = [each.grad for each in module.parameters() if each.grad is not None]
        assert given
        assert all(each.isfinite().all() for each in given)


def test_double_precision_stays(form):
    core = GatedLSTM(4, GatedLSTMSettings(hidden_size=6)).double()
    x = torch.randn(2, 3, 4, dtype=torch.float64)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y, state = core(x)
    assert {each.dtype for each in (y, *state.values())} == {torch.float64}


@pytest.mark.parametrize(
    "make",
    [
        lambda: GORU(4, GORUSettings(hidden_size=5, zoneout=0.001)),
        lambda: RUM(4, 5, zoneout=0.001),
        lambda: LayerNormLSTM(4, LayerNormLSTMSettings(hidden_size=5, hidden_zoneout=0.1, cell_zoneout=0.01)),
        lambda: GatedLSTM(4, GatedLSTMSettings(hidden_size=5, hidden_zoneout=0.1, cell_zoneout=0.01)),
    ],
    ids=["goru", "rum", "layer-norm lstm", "gated lstm"],
)
def test_zoneout_of_inputs_in_lower_precision_keeps_its_share(make):
    torch.manual_seed(0)
    core, x = make().eval(), torch.randn(2, 6, 4).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        found, expected = core(x)[0], core(x.float())[0]
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)
