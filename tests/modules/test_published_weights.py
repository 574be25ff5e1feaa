"""Weights of the published code, converted: the numbers that it gives with them."""

import os
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from package_vectors import FILES, assert_equal, read, untold
from safetensors.torch import save_file
from torch.nn import functional

from rmem_cli import (
    RecurrentMemoryTransformer,
    RecurrentMemoryTransformerWrapper,
    convert_lm_rmt,
    convert_recurrent_memory_transformer,
)
from rmem_cli.errors import DataError

LM_RMT = sorted((Path(__file__).parents[1] / "golden").glob("lmrmt_*.npz"))
PLAIN = next(path for path in FILES if "plain" in path.stem)


def lm_rmt(path):
    """The weights of a published model, and what it gave."""
    with np.load(path) as file:
        found = {key: torch.from_numpy(np.array(file[key])) for key in file}
    weights = {key.removeprefix("param."): value for key, value in found.items() if key.startswith("param.")}
    # As a state dict has them: shared tensors twice, and the frequencies of the sinusoids.
    weights["crit.out_layers.0.weight"] = weights["word_emb.emb_layers.0.weight"]
    return {**weights, "pos_emb.inv_freq": torch.ones(8)}, found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_converted_model_of_the_package_gives_its_logits_memories_and_caches(path):
    options, weights, golden = read(path)
    model = convert_recurrent_memory_transformer(weights, **untold(options))
    memories = caches = None
    for number, segment in enumerate(golden["tokens"][:, :16].split(6, dim=1)):
        logits, memories, caches = model(segment, memories, xl_memories=caches)
        assert_equal(logits, golden[f"seg{number}.logits"])
        assert_equal(memories, golden[f"seg{number}.memories"])
        for layer, cache in enumerate(caches or []):
            assert_equal(cache, golden[f"seg{number}.xl_memories.{layer}"])
    assert not model.training
    assert (caches is None) == ("seg0.xl_memories.0" not in golden)


@pytest.mark.parametrize("path", LM_RMT, ids=lambda path: path.stem)
def test_a_converted_model_of_lm_rmt_gives_its_losses_and_memories(path):
    weights, golden = lm_rmt(path)
    model = convert_lm_rmt(
        weights, tgt_len=8, mem_len=int(golden["mem_len"]), mem_at_end="memstart" not in path.stem
    )
    tokens = golden["data"].T
    wrapper = RecurrentMemoryTransformerWrapper(model)
    logits, state = wrapper(tokens[:, :-1])
    losses = functional.cross_entropy(logits.mT, tokens[:, 1:], reduction="none")
    for segment in range(3):
        assert_equal(losses[:, 8 * segment : 8 * segment + 8].T, golden[f"seg{segment}.loss"])
    assert_equal(state["memory"].transpose(0, 1), golden["seg2.mem_tokens_out"])


def with_clusters(weights, cutoffs, divisor, tied, width=16):
    """The weights with an adaptive softmax of the published form, and its losses by the published rule."""
    torch.manual_seed(0)
    ends = [0, *cutoffs, 13]
    widths = [width // divisor**cluster for cluster in range(len(cutoffs) + 1)]
    spans = list(pairwise(ends))

    def normal(*shape):
        return torch.randn(*shape, dtype=torch.float64)

    kept = {name: value for name, value in weights.items() if not name.startswith(("word_emb", "crit"))}
    shapes = [(end - start, size) for (start, end), size in zip(spans, widths, strict=True)]
    tables = [normal(*shape) for shape in (shapes if divisor > 1 else [(13, width)])]
    out = tables if tied else [normal(*table.shape) for table in tables]
    biases = [normal(len(table)) for table in tables]
    for number, table in enumerate(tables):
        kept[f"word_emb.emb_layers.{number}.weight"] = table
        kept[f"crit.out_layers.{number}.weight"] = out[number].clone()
        kept[f"crit.out_layers.{number}.bias"] = biases[number]
    kept["crit.cluster_weight"], kept["crit.cluster_bias"] = normal(len(cutoffs), width), normal(len(cutoffs))
    if divisor > 1:
        for cluster, size in enumerate(widths):
            kept[f"word_emb.emb_projs.{cluster}"] = normal(16, size)
            shared = tied and cluster > 0  # as for WikiText-103
            given = kept[f"word_emb.emb_projs.{cluster}"] if shared else normal(16, size)
            kept[f"crit.out_projs.{cluster}"] = given.clone()

    def loss(hidden, word):
        """Of one position: cluster i has the i-th logit from the end."""
        cluster = next(number for number, (start, end) in enumerate(spans) if start <= word < end)

        def scores(number, extra_weight, extra_bias):
            start, end = spans[number] if divisor == 1 else (None, None)
            place = number if divisor > 1 else 0
            weight = torch.cat([out[place][start:end], extra_weight])
            bias = torch.cat([biases[place][start:end], extra_bias])
            projected = hidden if divisor == 1 else hidden @ kept[f"crit.out_projs.{number}"]
            return (weight @ projected + bias).log_softmax(0)

        head = scores(0, kept["crit.cluster_weight"], kept["crit.cluster_bias"])
        if cluster == 0:
            return -head[word]
        none = torch.empty(0, dtype=torch.float64)
        within = scores(cluster, torch.empty(0, widths[cluster], dtype=torch.float64), none)
        return -head[-cluster] - within[word - spans[cluster][0]]

    return kept, loss


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
@pytest.mark.parametrize("divisor", [1, 2])
def test_clusters_of_lm_rmt_keep_their_probabilities(divisor, tied):
    weights, loss = with_clusters(lm_rmt(LM_RMT[0])[0], [4, 7], divisor, tied)
    cutoffs = (4, 7) if divisor == 1 else ()
    model = convert_lm_rmt(weights, cutoffs=cutoffs)
    hidden = torch.randn(13, 16, dtype=torch.float64)
    expected = torch.stack([loss(each, word) for word, each in enumerate(hidden)])
    assert_equal(model.head.nll(hidden, torch.arange(13)), expected)
    embedded = model.encoder(torch.tensor([[0, 5, 12]]))[0]
    table = weights["word_emb.emb_layers.0.weight"]
    if divisor == 1:
        assert_equal(embedded, table[[0, 5, 12]])
    else:
        assert_equal(embedded[0], weights["word_emb.emb_projs.0"] @ table[0])
    if divisor == 1:
        with pytest.raises(DataError, match=r"2 clusters .* as many cutoffs"):
            convert_lm_rmt(weights)


@pytest.mark.parametrize("around", ["", "module.", "transformer."])
def test_files_of_tensors_are_read(around, tmp_path):
    options, weights, golden = read(PLAIN)
    named = {f"{around}{name}": value for name, value in weights.items()}
    torch.save(named, tmp_path / "model.pt")
    save_file(named, tmp_path / "model.safetensors")
    for file in (tmp_path / "model.pt", str(tmp_path / "model.safetensors")):
        model = convert_recurrent_memory_transformer(file, **untold(options))
        assert_equal(model(golden["tokens"][:, :6])[0], golden["seg0.logits"])


class Harmful:
    def __reduce__(self):
        return os.mkdir, ("harm-was-done",)


def test_a_file_that_is_more_than_tensors_is_refused_and_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save(Harmful(), "model.pt")
    torch.save({"model": {"weight": torch.ones(1)}, "step": 3}, "nested.pt")
    Path("text.safetensors").write_text("no tensors")
    for file, sentence in {
        "model.pt": "nothing else is loaded",
        "text.safetensors": "nothing else is loaded",
        "nested.pt": "no state dict",
        "none.pt": "No such file",
    }.items():
        with pytest.raises(DataError, match=sentence):
            convert_lm_rmt(file)
    assert not Path("harm-was-done").exists()


@pytest.mark.parametrize("name", ["weights.pt", "weights.safetensors"])
@pytest.mark.parametrize("content", [b"", b".", b"\x80\x02a", b"\x80\x02X\x01", b"PK\x03\x04", b"\xff" * 9])
def test_a_file_that_is_damaged_in_whatever_way_is_refused_in_a_sentence(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=f"{name} is no file of tensors alone"):
        convert_lm_rmt(tmp_path / name)


def without(name):
    return lambda weights: weights.pop(name)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (without("to_logits.bias"), r"to_logits\.bias are missing"),
        (without("memory_tokens"), "memory_tokens are missing"),
        (
            lambda weights: weights.update({"shift.weight": torch.ones(2)}),
            r"shift\.weight have no place in this model",
        ),
        (
            lambda weights: weights.update({"norm.weight": torch.ones(13)}),
            r"norm\.weight \(here \[12\]\) are of another shape",
        ),
        (
            lambda weights: weights.update({"layers.0.0.branch.to_kv.weight": torch.ones(16, 9)}),
            r"layers\.0\.0\.branch\.to_q\.weight and .*to_kv\.weight \(here \[24, 12\]\)",
        ),
    ],
    ids=["missing", "missing size", "left over", "shape", "parts"],
)
def test_tensors_that_do_not_fit_are_named(change, sentence):
    options, weights, _ = read(PLAIN)
    change(weights)
    with pytest.raises(DataError, match=sentence):
        convert_recurrent_memory_transformer(weights, **untold(options))


def test_options_that_contradict_the_weights_are_told_by_tensors():
    options, weights, _ = read(PLAIN)
    with pytest.raises(DataError, match=r"layers\.2\..* are missing"):
        convert_recurrent_memory_transformer(weights, **{**untold(options), "depth": 3})


def test_other_attention_of_lm_rmt_is_refused_by_name():
    weights, _ = lm_rmt(LM_RMT[0])
    with pytest.raises(DataError, match="r_emb are of another attention than attn_type 0"):
        convert_lm_rmt({**weights, "r_emb": torch.ones(1)})
    with pytest.raises(ValueError, match="same_length"):
        convert_lm_rmt(weights, mem_len=8, same_length=True)


def test_a_converted_model_goes_on_training():
    options, weights, golden = read(PLAIN)
    model = convert_recurrent_memory_transformer(weights, **untold(options)).train()
    assert isinstance(model, RecurrentMemoryTransformer)
    RecurrentMemoryTransformerWrapper(model)(golden["tokens"], memory_replay_backprop=True)
    assert all(parameter.grad.abs().sum() > 0 for parameter in model.parameters())
    assert not any(weights[name].requires_grad for name in weights)
