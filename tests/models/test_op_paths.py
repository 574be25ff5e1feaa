"""The forms of ops that a model names are those that run when it is trained."""

import pytest
import torch

from rmem_cli.models.batch import Batch, SourceBatch
from rmem_cli.models.sequence import build_model
from rmem_cli.ops.forms import forms_in, noted_forms
from rmem_cli.recipe.registry import CORES
from rmem_cli.recipe.schema import ModelSettings

SHORT = {"hidden_size": 8, "heads": 2, "segment_length": 4}
MODELS = {
    "rnn": {"kind": "rnn", "hidden_size": 8},
    "lstm": {"kind": "lstm", "hidden_size": 8},
    "gru": {"kind": "gru", "hidden_size": 8},
    "rum": {"kind": "rum", "hidden_size": 8},
    "rum lambda 1": {"kind": "rum", "hidden_size": 8, "lambda": 1},
    "gated_lstm": {"kind": "gated_lstm", "hidden_size": 8},
    "gated_gru": {"kind": "gated_gru", "hidden_size": 8},
    "eunn": {"kind": "eunn", "hidden_size": 8},
    "complex eunn": {"kind": "eunn", "hidden_size": 8, "complex": True},
    "goru": {"kind": "goru", "hidden_size": 8},
    "layer_norm_lstm": {"kind": "layer_norm_lstm", "hidden_size": 8},
    "fast_slow": {
        "kind": "fast_slow",
        "fast": {"kind": "layer_norm_lstm", "hidden_size": 8},
        "slow": {"kind": "rum", "hidden_size": 6},
    },
    "fast_slow of two forms": {
        "kind": "fast_slow",
        "fast": {"kind": "gated_lstm", "hidden_size": 8},
        "slow": {"kind": "gated_gru", "hidden_size": 6},
    },
    "transformer_xl": {"kind": "transformer_xl", **SHORT, "cache_length": 4},
    "relative learned": {"kind": "transformer_xl", **SHORT, "position_encoding": "relative_learned"},
    "absolute": {"kind": "transformer_xl", **SHORT, "position_encoding": "absolute_sinusoid"},
    "attention dropout": {"kind": "transformer_xl", **SHORT, "attention_dropout": 0.1},
    "rmt": {"kind": "rmt", **SHORT, "memory_tokens": 2},
    "published shift": {"kind": "rmt", **SHORT, "memory_tokens": 2, "published_shift": True},
    "associative": {"kind": "rmt", **SHORT, "memory_tokens": 2, "memory_kind": "associative"},
    "prenorm_rmt": {"kind": "prenorm_rmt", **SHORT, "memory_tokens": 2},
}


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("name", MODELS)
def test_a_step_of_training_runs_the_forms_that_the_model_names(name, device):
    core = MODELS[name]
    settings = ModelSettings(core=CORES.settings(core["kind"]).model_validate(core))
    model = build_model(settings, symbols=5, classes=5).to(device).train()
    symbols = torch.ones(2, 4, dtype=torch.long)
    batch = Batch(symbols, symbols, torch.ones(2, 4), torch.ones(2, dtype=torch.bool))
    with noted_forms() as ran:
        state = model.step(batch.to(torch.device(device), torch.float32), None).state
        model.step(batch.to(torch.device(device), torch.float32), state)
    assert {op: forms_in(form) for op, form in model.op_paths().items()} == ran


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize(("source_core", "core"), [("gated_lstm", "gated_gru"), ("rum", "layer_norm_lstm")])
def test_a_pointer_generator_names_the_forms_of_both_of_its_cores(source_core, core, device):
    settings = {
        "architecture": "pointer_generator",
        "core": MODELS[core],
        "source_core": MODELS[source_core],
        "pointer_generator": {"size": 4},
    }
    model = build_model(ModelSettings.model_validate(settings), symbols=5, classes=5).to(device).train()
    symbols, ones = torch.ones(2, 4, dtype=torch.long), torch.ones(2, 4)
    source = {"source": symbols, "source_words": symbols, "source_lengths": torch.tensor([4, 2])}
    batch = SourceBatch(symbols, symbols, ones, torch.ones(2, dtype=torch.bool), **source)
    with noted_forms() as ran:
        model.step(batch.to(torch.device(device), torch.float32), None)
    assert {op: forms_in(form) for op, form in model.op_paths().items()} == ran


def test_every_kind_of_core_is_tried():
    assert {core["kind"] for core in MODELS.values()} == set(CORES.kinds()) - {"pretrained_rmt"}
