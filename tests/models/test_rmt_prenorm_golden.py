"""The numbers of the lucidrains package: logits, memories, caches, losses, gradients."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from rmem_cli.models.batch import Batch
from rmem_cli.models.config import EmbeddingSettings, LinearHeadSettings
from rmem_cli.models.cores.prenorm_rmt import PreNormRMT
from rmem_cli.models.cores.transformer_config import PreNormRMTSettings
from rmem_cli.models.encoders import Embedding
from rmem_cli.models.heads import LinearHead
from rmem_cli.models.sequence import SequenceModel
from rmem_cli.training.backprop import Full, Replay, TrainingStep
from rmem_cli.training.config import FullSettings, ReplaySettings

# RMEM_GOLDEN names another folder of vectors of the same kind.
GOLDEN = Path(os.environ.get("RMEM_GOLDEN", Path(__file__).parent.parent / "golden"))
FILES = sorted(GOLDEN.glob("luci_*.npz"))
TOLERANCE = {"rtol": 0, "atol": 1e-9}
SEGMENTS, LENGTH = 3, 8
NAMES = {
    "read_memory_emb": "core.read_vectors",
    "memory_tokens": "core.write_vectors",
    "token_emb": "encoder.table",
    "pos_emb.weight": "core.positions",
    "to_logits": "head.linear",
    "layers.": "core.stack.layers.",
    ".0.branch.null_kv": ".attention.null",
    ".0.branch.norm": ".attention.norm",
    ".0.branch.to_out": ".attention.output",
    ".0.branch.learned_value_residual_mix.0": ".attention.mixing",
    ".1.branch.0": ".feed_forward.norm",
    ".1.branch.1": ".feed_forward.inner",
    ".1.branch.4": ".feed_forward.outer",
}
STREAMS = {
    "norm.gamma": "gain",
    "static_alpha": "mixture",
    "dynamic_alpha_fn": "mixture_map",
    "dynamic_alpha_scale": "mixture_scale",
    "static_beta": "share",
    "dynamic_beta_fn": "share_map",
    "dynamic_beta_scale": "share_scale",
}


def load(path):
    with np.load(path) as file:
        return {key: torch.from_numpy(np.array(file[key])) for key in file}


def options_of(stem, golden):
    """The options that the name and the contents of a file stand for."""
    caches = golden.get("seg0.xl_memories.0")
    alpha = golden.get("param.layers.0.0.static_alpha")
    return {
        "memory_tokens": golden["param.memory_tokens"].shape[0],
        "layers": 2,
        "heads": 2,
        "head_size": 8,
        "segment_length": LENGTH,
        "cache_length": 0 if caches is None else caches.shape[-2],
        "cache_memory": True,
        "null_after_cache": True,
        "absolute_positions": "param.pos_emb.weight" in golden,
        "rotary_positions": "rotary" in stem,
        "write_to_next_write": "addwrite" in stem,
        "residual_streams": 1 if alpha is None else alpha.shape[0],
    }


def build(path, **options):
    """The model with the published weights, and the file."""
    golden = load(path)
    core = PreNormRMT(16, PreNormRMTSettings(hidden_size=16, **{**options_of(path.stem, golden), **options}))
    model = SequenceModel(
        Embedding(13, EmbeddingSettings(size=16)), core, LinearHead(16, 13, LinearHeadSettings())
    ).double()
    model.load_state_dict(renamed(golden, "param."))
    return model, golden


def renamed(golden, prefix):
    """The entries of a sort under our names; queries, keys and values are one matrix."""
    found = {}
    for name, value in golden.items():
        if not name.startswith(prefix):
            continue
        name = name.removeprefix(prefix)
        if name == "norm.weight":
            name = "core.stack.norm.weight"
        for theirs, ours in NAMES.items():
            name = name.replace(theirs, ours)
        for theirs, ours in STREAMS.items():
            for branch in range(2):
                name = name.replace(f".{branch}.{theirs}", f".residuals.{branch}.{ours}")
        found[name] = value
    for name in [name for name in found if name.endswith(".0.branch.to_q.weight")]:
        layer = name.removesuffix(".0.branch.to_q.weight")
        joined = torch.cat([found.pop(name), found.pop(f"{layer}.0.branch.to_kv.weight")])
        found[f"{layer}.attention.queries_keys_values.weight"] = joined
    return found


def segments(model, golden):
    """For each segment: logits `[batch, time, symbols]`, the state after it, and its mean loss."""
    state = None
    for start in range(0, SEGMENTS * LENGTH, LENGTH):
        tokens = golden["data"][:, start : start + LENGTH + 1]
        y, state = model.core(model.encoder(tokens[:, :-1]), state)
        logits = model.head.logits(y)
        yield logits, state, functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())


def assert_equal(actual, expected):
    torch.testing.assert_close(actual, expected, **TOLERANCE)


def assert_loss_and_gradients(model, golden, prefix, loss):
    assert_equal(loss, golden[f"{prefix}loss" if prefix else "total_loss"])
    if loss.requires_grad:
        loss.backward()
    expected = renamed(golden, f"{prefix}grad.")
    assert set(expected) == {name for name, _ in model.named_parameters()}
    for name, parameter in model.named_parameters():
        assert_equal(parameter.grad, expected[name])


def test_there_are_vectors():
    assert FILES


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_three_segments_and_all_gradients_equal_the_published_ones(path):
    model, golden = build(path)
    total = 0.0
    for number, (logits, state, loss) in enumerate(segments(model, golden)):
        assert_equal(logits, golden[f"seg{number}.logits"])
        assert_equal(state["memory"], golden[f"seg{number}.memories"])
        for layer in range(2 if model.core.cache.length else 0):
            expected = golden[f"seg{number}.xl_memories.{layer}"]
            assert_equal(state[f"cache.{layer}"].permute(2, 0, 3, 1, 4), expected)
        total = total + loss / SEGMENTS
    assert_loss_and_gradients(model, golden, "", total)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_without_a_cache_it_is_the_function_of_the_published_wrapper(path):
    model, golden = build(path, cache_length=0)
    total = sum(loss for *_, loss in segments(model, golden)) / SEGMENTS
    assert_loss_and_gradients(model, golden, "wrapper_", total)


def whole(golden):
    """The three segments as one batch."""
    tokens = golden["data"][:, : SEGMENTS * LENGTH + 1]
    weight = torch.ones(len(tokens), SEGMENTS * LENGTH, dtype=torch.float64)
    return Batch(tokens[:, :-1], tokens[:, 1:], weight, torch.ones(len(tokens), dtype=torch.bool))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_replay_equals_the_published_replay_by_option(path):
    model, golden = build(path)
    form = Replay(ReplaySettings(published_caches=True))
    gradient = form.gradient(model, whole(golden), None, "mean", TrainingStep(0, 0))
    assert_loss_and_gradients(model, golden, "replay_", torch.tensor(gradient.loss, dtype=torch.float64))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
@pytest.mark.parametrize("form", [Full(FullSettings()), Replay(ReplaySettings())], ids=["full", "replay"])
def test_full_and_replayed_gradients_are_those_of_the_function_itself(path, form):
    model, golden = build(path)
    gradient = form.gradient(model, whole(golden), None, "mean", TrainingStep(0, 0))
    assert_loss_and_gradients(model, golden, "", torch.tensor(gradient.loss, dtype=torch.float64))
