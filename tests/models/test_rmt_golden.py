"""The numbers of the published Recurrent Memory Transformer: losses, memories, caches, gradients."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from rmem_cli.models.cores.rmt import RMT
from rmem_cli.models.cores.transformer_config import RMTSettings

# RMEM_GOLDEN names another folder of vectors of the same kind.
GOLDEN = Path(os.environ.get("RMEM_GOLDEN", Path(__file__).parent.parent / "golden"))
# One file was made with scores in float32.
FILES = sorted(path for path in GOLDEN.glob("lmrmt_*.npz") if "float32" not in path.stem)
TOLERANCE = {"rtol": 0, "atol": 1e-9}
SEGMENTS, LENGTH = 3, 8
NAMES = {
    "dec_attn.qkv_net": "queries_keys_values",
    "dec_attn.o_net": "attention_output",
    "dec_attn.layer_norm": "attention_norm",
    "pos_ff.CoreNet.0": "inner",
    "pos_ff.CoreNet.3": "outer",
    "pos_ff.layer_norm": "feed_forward_norm",
    "layers.0.": "stack.layers.0.",
    "layers.1.": "stack.layers.1.",
    "r_w_bias": "stack.positions.content_bias",
    "r_r_bias": "stack.positions.position_bias",
    "mem_tokens": "memory",
}


def load(path):
    with np.load(path) as file:
        return {key: torch.from_numpy(np.array(file[key])) for key in file}


def options_of(stem, golden):
    """The options that the name and the contents of a file stand for."""
    return {
        "memory_tokens": golden["param.mem_tokens"].shape[0],
        "layers": 2,
        "heads": 2,
        "head_size": 8,
        "inner_size": 32,
        "cache_length": int(golden["mem_len"]),
        "cache_memory": True,
        "published_shift": True,
        "memory_at_end": "memstart" not in stem,
        "read_memory_from_cache": "readcache" in stem,
        "pre_norm": "prelnorm" in stem,
    }


def our_name(name):
    if name.startswith(("word_emb", "crit")):
        return name.partition(".")[0]
    if name.endswith("r_net.weight"):
        return f"stack.positions.maps.{name.split('.')[1]}.weight"
    for theirs, ours in NAMES.items():
        name = name.replace(theirs, ours)
    return name


def build(path):
    """The model with the published weights, its table of words, and the file."""
    golden = load(path)
    core = RMT(16, RMTSettings(hidden_size=16, **options_of(path.stem, golden))).double()
    weights = {
        our_name(name.removeprefix("param.")): value
        for name, value in golden.items()
        if name.startswith("param.") and "word_emb" not in name and "crit" not in name
    }
    weights["memory"] = weights["memory"].squeeze(1)
    core.load_state_dict(weights)
    table = golden["param.word_emb.emb_layers.0.weight"].clone().requires_grad_()
    bias = golden["param.crit.out_layers.0.bias"].clone().requires_grad_()
    return core, table, bias, golden


def assert_equal(actual, expected):
    torch.testing.assert_close(actual, expected, **TOLERANCE)


def test_there_are_vectors():
    assert FILES


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_three_segments_and_all_gradients_equal_the_published_ones(path):
    core, table, bias, golden = build(path)
    tokens = golden["data"].T
    state, total = None, 0.0
    for segment in range(SEGMENTS):
        start = segment * LENGTH
        y, state = core(table[tokens[:, start : start + LENGTH]], state)
        assert_equal(y.transpose(0, 1), golden[f"seg{segment}.pred_hidden"])
        assert_equal(state["memory"].transpose(0, 1), golden[f"seg{segment}.mem_tokens_out"])
        for layer in range(2 if core.cache.length else 0):
            expected = golden[f"seg{segment}.mems_out.{layer}"]
            assert_equal(state[f"cache.{layer}"][:, -len(expected) :].transpose(0, 1), expected)
        logits = (y @ table.T + bias).flatten(0, 1)
        targets = tokens[:, start + 1 : start + LENGTH + 1]
        losses = functional.cross_entropy(logits, targets.flatten(), reduction="none").view(targets.shape)
        assert_equal(losses.T, golden[f"seg{segment}.loss"])
        total = total + losses.mean() / SEGMENTS
    assert_equal(total, golden["total_loss"])
    total.backward()
    ours = {name: parameter.grad for name, parameter in core.named_parameters()}
    ours["memory"] = ours["memory"].unsqueeze(1)
    ours["word_emb"], ours["crit"] = table.grad, bias.grad
    gradients = [name for name in golden if name.startswith("grad.")]
    assert len(gradients) == len(ours)
    for name in gradients:
        assert_equal(ours[our_name(name.removeprefix("grad."))], golden[name])
