"""A product of a core's Hessian with a vector is what finite differences of its gradient give."""

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

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
    LayerNormLSTMSettings,
)
from rmem_cli.models.cores.rmt import RMT
from rmem_cli.models.cores.transformer_config import PreNormRMTSettings, RMTSettings, TransformerXLSettings
from rmem_cli.models.cores.transformer_xl import TransformerXL
from rmem_cli.models.cores.unitary import EUNN, GORU
from rmem_cli.modules.rum import RUM
from rmem_cli.ops.native import build

# Otherwise some gradients are weakened or held back, and those of no function.
WHOLE = {"embedding_gradient": 1.0, "next_write_gradient": True}
STEP = 1e-6
CELL = {"kind": "layer_norm_lstm", "hidden_size": 5}
CORES = {
    "rum, lambda 0": lambda: RUM(3, 5, eta=1.0),
    "rum, lambda 1": lambda: RUM(3, 5, lambda_=1, layers=2),
    "gated lstm": lambda: GatedLSTM(3, GatedLSTMSettings(hidden_size=5, layers=2)),
    "gated gru": lambda: GatedGRU(3, GatedGRUSettings(hidden_size=5)),
    "eunn": lambda: EUNN(3, EUNNSettings(hidden_size=5, layers=2, initial_bound=1.0)),
    "complex eunn": lambda: EUNN(
        3, EUNNSettings(hidden_size=5, complex=True, fft=True, initial_bound=1.0, modrelu_bias=0.1)
    ),
    "goru": lambda: GORU(3, GORUSettings(hidden_size=5, initial_bound=1.0)),
    "layer-norm lstm": lambda: LayerNormLSTM(3, LayerNormLSTMSettings(hidden_size=5, layers=2)),
    "fast-slow": lambda: FastSlow(3, FastSlowSettings(fast=CELL, slow={**CELL, "hidden_size": 4})),
    "transformer-xl": lambda: TransformerXL(8, TransformerXLSettings(hidden_size=8, layers=2, heads=2)),
    "rmt": lambda: RMT(8, RMTSettings(hidden_size=8, memory_tokens=2, heads=2, layers=2)),
    "associative rmt": lambda: RMT(
        8, RMTSettings(hidden_size=8, memory_tokens=2, heads=2, memory_kind="associative")
    ),
    "pre-norm rmt": lambda: PreNormRMT(
        8, PreNormRMTSettings(hidden_size=8, memory_tokens=2, heads=2, layers=2, segment_length=4, **WHOLE)
    ),
}


@pytest.mark.parametrize("name", CORES)
def test_a_hessian_vector_product_is_right(name, monkeypatch):
    monkeypatch.setattr(build, "available", lambda family: False)
    torch.manual_seed(0)
    core = CORES[name]().double()
    x = torch.randn(2, 4, core.input_size, dtype=torch.float64)
    weights = [each for each in core.parameters() if each.requires_grad]
    directions = [torch.randn_like(each) for each in weights]

    def gradients(create_graph=False):
        first, state = core(x)
        second, _ = core(x, state)
        loss = first.square().sum() + second.sum()
        return torch.autograd.grad(loss, weights, create_graph=create_graph, materialize_grads=True)

    def moved(step):
        with torch.no_grad():
            for weight, direction in zip(weights, directions, strict=True):
                weight.add_(step * direction)
        return gradients()

    with sdpa_kernel(SDPBackend.MATH):
        along = sum((a * b).sum() for a, b in zip(gradients(create_graph=True), directions, strict=True))
        product = torch.autograd.grad(along, weights, materialize_grads=True)
        # Two steps to either side: layer norm of a cell that is nearly zero is far from a parabola.
        far_behind, behind, _, ahead, far_ahead = (
            moved(step) for step in (-2 * STEP, STEP, STEP, STEP, STEP)
        )
    slopes = [
        (8 * (b - c) - (a - d)) / (12 * STEP)
        for a, b, c, d in zip(far_ahead, ahead, behind, far_behind, strict=True)
    ]
    torch.testing.assert_close(list(product), slopes, rtol=1e-6, atol=1e-6)
