"""The pointer generator is its equations, written out here a second time, word by word, in numpy."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from rmem_cli.errors import UsageError
from rmem_cli.models.batch import Batch, SourceBatch
from rmem_cli.models.pointer_generator import BothWays, StateBridge
from rmem_cli.models.sequence import build_model
from rmem_cli.models.state import select
from rmem_cli.recipe.registry import CORES, build
from rmem_cli.recipe.schema import ModelSettings
from rmem_cli.training.backprop import Full, Replay, TrainingStep
from rmem_cli.training.config import FullSettings, ReplaySettings

SYMBOLS, SIZE, HIDDEN = 7, 3, 4
UNKNOWN, BEGIN = 0, 1
# Words of sources; 7 and up are no symbols, and each row counts its own. What is said has two words of each.
SOURCES = [[3, 7, 2, 7, 8], [5], [7, 4, 6]]
SAID = [[7, 8, 3, 2], [5, 6], [2, 7, 7]]

STEPS = 150
WIDE = {"kind": "gru", "hidden_size": 24}
CORES_TRIED = {
    "lstm": {"kind": "lstm", "hidden_size": HIDDEN},
    "two layers": {"kind": "lstm", "hidden_size": HIDDEN, "layers": 2},
    "gru": {"kind": "gru", "hidden_size": HIDDEN},
    "rum": {"kind": "rum", "hidden_size": HIDDEN},
    "rum with memory": {"kind": "rum", "hidden_size": HIDDEN, "lambda": 1, "layers": 2},
    "gated lstm": {"kind": "gated_lstm", "hidden_size": HIDDEN},
    "goru": {"kind": "goru", "hidden_size": HIDDEN},
    "fast slow": {
        "kind": "fast_slow",
        "fast": {"kind": "layer_norm_lstm", "hidden_size": HIDDEN},
        "slow": {"kind": "rum", "hidden_size": 5},
    },
}


def padded(rows, fill=UNKNOWN):
    out = torch.full((len(rows), max(map(len, rows))), fill)
    for row, words in enumerate(rows):
        out[row, : len(words)] = torch.tensor(words)
    return out


def symbols_of(words):
    return torch.where(words < SYMBOLS, words, UNKNOWN)


def batch_of(sources=SOURCES, said=SAID, width=0):
    """Padding is `width` steps more than needed."""
    words = torch.nn.functional.pad(padded(sources), (0, width))
    targets = padded(said)
    return SourceBatch(
        padded([[BEGIN, *row[:-1]] for row in said]),
        targets,
        padded([[1] * len(row) for row in said], 0).double(),
        torch.ones(len(said), dtype=torch.bool),
        source=symbols_of(words),
        source_words=words,
        source_lengths=torch.tensor([len(row) for row in sources]),
    )


def network(core="lstm", source_core=None, **options):
    torch.manual_seed(0)
    settings = ModelSettings.model_validate(
        {
            "architecture": "pointer_generator",
            "core": WIDE if core == "wide" else CORES_TRIED[core],
            "source_core": source_core and CORES_TRIED[source_core],
            "pointer_generator": {"size": SIZE, "initial_std": 0.7} | options,
        }
    )
    return build_model(settings, SYMBOLS, SYMBOLS).double().eval()


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softmax(x):
    return np.exp(x - x.max()) / np.exp(x - x.max()).sum()


def lstm_step(weights, prefix, x, h, c):
    gates = weights[f"{prefix}weight_ih_l0"] @ x + weights[f"{prefix}bias_ih_l0"]
    gates = gates + weights[f"{prefix}weight_hh_l0"] @ h + weights[f"{prefix}bias_hh_l0"]
    i, f, g, o = np.split(gates, 4)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def affine(weights, name, x):
    bias = weights.get(f"{name}.bias", 0)
    return weights[f"{name}.weight"] @ x + bias


def reference(model, source, said, pointer=True, coverage=False):
    """For one row: P(w) of each step, its loss, the loss on coverage, attention and p_gen; LSTMs."""
    w = {name: value.detach().numpy() for name, value in model.state_dict().items()}
    symbol = [word if word < SYMBOLS else UNKNOWN for word in source]
    read, ends = {}, {}
    for name, order in (("forwards", 1), ("backwards", -1)):
        h = c = np.zeros(HIDDEN)
        outputs = []
        for word in symbol[::order]:
            h, c = lstm_step(w, f"reader.{name}.module.", w["vectors.weight"][word], h, c)
            outputs.append(h)
        read[name], ends[name] = outputs[::order], (c, h)
    vectors = [np.concatenate(pair) for pair in zip(read["forwards"], read["backwards"], strict=True)]
    c, h = (
        np.maximum(
            affine(w, f"bridge.make.{n}", np.concatenate([ends["forwards"][n], ends["backwards"][n]])), 0
        )
        for n in (0, 1)
    )
    context, seen = np.zeros(2 * HIDDEN), np.zeros(len(source))
    told = {"P": [], "losses": [], "again": [], "attention": [], "p_gen": []}
    words = [BEGIN, *said[:-1]]
    for word, target in zip(words, said, strict=True):
        x = w["vectors.weight"][word if word < SYMBOLS else UNKNOWN]
        x = affine(w, "decoder.input", np.concatenate([x, context]))
        h, c = lstm_step(w, "decoder.core.module.", x, h, c)
        query = np.concatenate([c, h])
        scores = []
        for i, vector in enumerate(vectors):
            key = affine(w, "decoder.key", vector) + affine(w, "decoder.query", query)
            if coverage:
                key = key + w["decoder.coverage.weight"][:, 0] * seen[i]
            scores.append((w["decoder.score.weight"] @ np.tanh(key))[0])
        attention = softmax(np.array(scores))
        context = sum(a * vector for a, vector in zip(attention, vectors, strict=True))
        output = affine(w, "decoder.output", np.concatenate([h, context]))
        own = softmax(affine(w, "vocabulary", output))
        told["attention"].append(attention)
        told["again"].append(np.minimum(attention, seen).sum())
        seen = seen + attention
        if pointer:
            p_gen = sigmoid(affine(w, "decoder.pointer", np.concatenate([context, query, x])))[0]
            told["p_gen"].append(p_gen)
            final = np.zeros(max(SYMBOLS, max(source) + 1, max(said) + 1))
            final[:SYMBOLS] = p_gen * own
            for a, each in zip(attention, source, strict=True):
                final[each] += (1 - p_gen) * a
        else:
            final, target = own, target if target < SYMBOLS else UNKNOWN
        told["P"].append(final)
        told["losses"].append(-np.log(final[target]))
    return {name: np.array(values) for name, values in told.items()}


OPTIONS = [
    {},
    {"coverage": True},
    {"coverage": True, "coverage_loss": 0.5},
    {"pointer": False},
    {"pointer": False, "coverage": True},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_the_model_is_its_equations(options):
    model, batch = network(**options), batch_of()
    (said, _), result = model.say(batch), model.step(batch, None)
    again = 0
    for row, (source, words) in enumerate(zip(SOURCES, SAID, strict=True)):
        told = reference(model, source, words, options.get("pointer", True), options.get("coverage", False))
        found = result.outputs[row, : len(words)].exp().detach().numpy()
        np.testing.assert_allclose(found[:, : told["P"].shape[1]], told["P"], atol=1e-12)
        np.testing.assert_allclose(found.sum(-1), 1, atol=1e-12)
        np.testing.assert_allclose(result.losses[row, : len(words)].detach(), told["losses"], atol=1e-12)
        attention = said.attention[row, : len(words)].detach()
        np.testing.assert_allclose(attention[:, : len(source)], told["attention"], atol=1e-12)
        assert not attention[:, len(source) :].any()
        if said.pointing is not None:
            p_gen = said.pointing[row, : len(words)].sigmoid().detach()
            np.testing.assert_allclose(p_gen, told["p_gen"], atol=1e-12)
        again += told["again"].sum()
    if options.get("coverage"):
        expected = options.get("coverage_loss", 1.0) * again
        np.testing.assert_allclose(result.auxiliary["coverage"].item(), expected, atol=1e-12)
        np.testing.assert_allclose(result.loss.item(), result.nll_sum.item() + expected, atol=1e-12)
    else:
        assert result.auxiliary == {}


@pytest.mark.parametrize("options", [{"coverage": True}, {"pointer": False}], ids=str)
def test_its_gradients_are_those_of_its_equations(options):
    model, batch = network(**options), batch_of()
    model.step(batch, None).loss.backward()
    source = np.random.default_rng(0)
    for name, weight in model.named_parameters():
        place = tuple(source.integers(size) for size in weight.shape)
        losses = []
        for change in (1e-5, -1e-5):
            with torch.no_grad():
                weight[place] += change
            losses.append(model.step(batch, None).loss.item())
            with torch.no_grad():
                weight[place] -= change
        numeric = (losses[0] - losses[1]) / 2e-5
        assert weight.grad[place].item() == pytest.approx(numeric, abs=1e-8), name


@pytest.mark.parametrize("source_core", CORES_TRIED)
@pytest.mark.parametrize("core", CORES_TRIED)
def test_any_two_stepwise_cores_read_and_say_and_every_weight_learns(core, source_core):
    model = network(core, source_core, coverage=True)
    # Maps from state to state pass nothing on where they are below zero.
    for parameter in model.bridge.parameters():
        parameter.data.abs_()
    result = model.step(batch_of(), None)
    torch.testing.assert_close(result.outputs.exp().sum(-1), torch.ones(3, 4).double())
    result.loss.backward()
    without = {name for name, weight in model.named_parameters() if weight.grad is None}
    assert without == set()


@pytest.mark.parametrize("core", CORES_TRIED)
def test_a_row_is_read_alike_alone_and_beside_others_with_more_padding(core):
    model = network(core, coverage=True)
    whole = model.step(batch_of(width=2), None).losses
    for row, (source, words) in enumerate(zip(SOURCES, SAID, strict=True)):
        alone = model.step(batch_of([source], [words]), None).losses[0]
        torch.testing.assert_close(alone, whole[row, : len(words)])


@pytest.mark.parametrize("core", CORES_TRIED)
def test_a_decoder_gone_through_step_by_step_says_the_same(core):
    model, batch = network(core, coverage=True), batch_of()
    whole = model.say(batch)[0]
    read, *ends = model.reader(model.vectors(batch.source), batch.source_lengths)
    there = torch.arange(read.shape[1]) < batch.source_lengths[:, None]
    source = model.decoder.read(read, there)
    reached = model.decoder.start(source, model.bridge(*ends))
    for step, x in enumerate(model.vectors(symbols_of(batch.inputs)).unbind(1)):
        said, reached = model.decoder.step(x, source, reached)
        for one, all_ in zip(said, whole, strict=True):
            torch.testing.assert_close(one, all_[:, step])


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("core", CORES_TRIED)
def test_read_in_parts_it_gives_what_it_gives_as_a_whole(core, options):
    model, batch = network(core, **options), batch_of()
    whole, state, parts = model.step(batch, None), None, []
    for segment in batch.split(1):
        parts.append(model.step(segment, state))
        state = parts[-1].state
    torch.testing.assert_close(torch.cat([part.losses for part in parts], 1), whole.losses)
    torch.testing.assert_close(torch.cat([part.outputs for part in parts], 1), whole.outputs)
    torch.testing.assert_close(sum(part.loss for part in parts), whole.loss)
    assert state.keys() == whole.state.keys()
    for name, value in state.items():
        torch.testing.assert_close(value, whole.state[name])
    gradients = torch.autograd.grad(whole.loss, list(model.parameters()), allow_unused=True)
    of_parts = torch.autograd.grad(
        sum(part.loss for part in parts), list(model.parameters()), allow_unused=True
    )
    for found, expected in zip(of_parts, gradients, strict=True):
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("core", ["lstm", "rum with memory"])
def test_its_gradient_is_the_same_with_the_activations_of_one_step_at_a_time(core, options):
    model, batch, gradients = network(core, **options), batch_of(), []
    for backprop in (Full(FullSettings()), Replay(ReplaySettings(segment_length=1))):
        model.zero_grad()
        backprop.gradient(model, batch, None, "mean", TrainingStep(1, 1))
        gradients.append({name: weight.grad for name, weight in model.named_parameters()})
    for name, expected in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], expected)


def test_its_source_is_read_once_however_many_parts_are_said_about_it():
    model, batch, read = network(), batch_of(), []
    model.reader.register_forward_hook(lambda *_: read.append(1))
    state = None
    for segment in batch.split(1):
        _, state = model.outputs(segment, state)
    assert len(read) == 1


def test_rows_that_start_afresh_have_their_source_read_and_the_others_go_on():
    model, (first, second) = network("rum with memory", coverage=True), batch_of().split(2)
    _, state = model.outputs(first, None)
    fresh = torch.tensor([False, True, False])
    found, after = model.outputs(replace(second, fresh=fresh), state)
    on, on_after = model.outputs(second, state)
    anew, anew_after = model.outputs(second, None)
    torch.testing.assert_close(found, torch.where(fresh[:, None, None], anew, on))
    for name, value in after.items():
        expected = on_after[name].clone()
        expected[1] = anew_after[name][1]
        torch.testing.assert_close(value, expected)


def test_rows_of_a_state_go_on_by_themselves_in_another_order():
    model, (first, second) = network("rum with memory", coverage=True), batch_of().split(2)
    _, state = model.outputs(first, None)
    whole, _ = model.outputs(second, state)
    rows = torch.tensor([2, 0, 2])
    found, _ = model.outputs(second.rows(rows), select(state, rows))
    torch.testing.assert_close(found, whole[rows])


def test_a_state_of_another_model_or_of_other_rows_is_refused():
    model, batch = network(), batch_of()
    _, state = model.outputs(batch, None)
    on = replace(batch, fresh=torch.zeros(3, dtype=torch.bool))
    for wrong in (
        select(state, torch.tensor([0, 1])),
        network("two layers").outputs(batch, None)[1],
        model.outputs(batch_of(width=1), None)[1],
        {name: value for name, value in state.items() if name != "context"},
    ):
        with pytest.raises(ValueError, match="the state is not one of this"):
            model.outputs(on, wrong)


def test_what_is_in_no_source_is_never_said():
    model, batch = network(), batch_of()
    outputs, _ = model.outputs(batch, None)
    costs = model.step(batch, None).outputs
    there = torch.zeros(3, SYMBOLS + 5, dtype=torch.bool)
    there[:, :SYMBOLS] = there[0, 7] = there[0, 8] = there[2, 7] = True
    assert torch.equal(outputs.isneginf(), ~there[:, None].expand_as(outputs))
    assert torch.equal(outputs[outputs.isfinite()], costs[outputs.isfinite()])
    assert not network(pointer=False).outputs(batch, None)[0].isinf().any()


def test_what_is_said_depends_on_no_later_word():
    model = network(coverage=True)
    whole = model.outputs(batch_of(), None)[0]
    for known in range(1, 4):
        batch = batch_of()
        batch.inputs[:, known:] = 6
        torch.testing.assert_close(model.outputs(batch, None)[0][:, :known], whole[:, :known])


def test_words_that_are_no_symbols_are_read_as_the_unknown_one():
    model, batch = network(), batch_of()
    known = batch.map(lambda values: values)
    known.inputs.copy_(symbols_of(batch.inputs))
    torch.testing.assert_close(model.outputs(known, None)[0], model.outputs(batch_of(), None)[0])


def test_the_reader_that_begins_at_the_end_is_that_of_the_text_turned_round():
    torch.manual_seed(0)
    forwards, backwards = (build(CORES.settings("gru")(kind="gru", hidden_size=HIDDEN), SIZE) for _ in "ab")
    x, lengths = torch.randn(2, 4, SIZE), torch.tensor([4, 2])
    read, ahead, back = BothWays(forwards, backwards)(x, lengths)
    for row, length in enumerate(lengths.tolist()):
        text = x[row : row + 1, :length]
        torch.testing.assert_close(read[row, :length, :HIDDEN], forwards(text)[0][0])
        torch.testing.assert_close(read[row, :length, HIDDEN:], backwards(text.flip(1))[0][0].flip(0))
        torch.testing.assert_close(ahead["hidden"][row], forwards(text)[1]["hidden"][0])
        torch.testing.assert_close(back["hidden"][row], backwards(text.flip(1))[1]["hidden"][0])
        assert not read[row, length:].any()


def test_a_memory_that_starts_as_the_identity_is_not_made_of_the_source():
    cores = [build(CORES.settings("rum")(kind="rum", hidden_size=HIDDEN, lambda_=1), SIZE) for _ in "ab"]
    bridge = StateBridge(*cores, 0.5)
    ends = {"hidden.0": torch.randn(2, HIDDEN), "memory.0": torch.randn(2, HIDDEN, HIDDEN)}
    made = bridge(ends, ends)
    assert torch.equal(made["memory.0"], torch.eye(HIDDEN).expand(2, -1, -1))
    assert [tuple(each.weight.shape) for each in bridge.make] == [(HIDDEN, 2 * HIDDEN)]


def test_a_copied_word_of_tiny_probability_has_a_finite_loss():
    model = network().float()
    with torch.no_grad():
        model.vocabulary.bias[:] = torch.tensor(
            [300.0, *[0.0] * 6]
        )  # in single precision, the rest underflows
        model.decoder.pointer.bias.fill_(400)
    batch = batch_of([[3, 4]], [[5, 8, 3]]).to(torch.device("cpu"), torch.float32)
    result = model.step(batch, None)
    assert result.losses[0, 0].item() == pytest.approx(300, abs=10)
    result.loss.backward()
    assert all(weight.grad.isfinite().all() for weight in model.parameters() if weight.grad is not None)


@pytest.mark.parametrize("core", CORES_TRIED)
def test_under_autocast_probabilities_are_single_and_the_loss_is_close(core):
    model, batch = network(core, coverage=True).float(), batch_of().to(torch.device("cpu"), torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        result = model.step(batch, None)
    assert result.outputs.dtype == torch.float32
    torch.testing.assert_close(result.outputs.exp().sum(-1), torch.ones(3, 4))
    torch.testing.assert_close(result.loss, model.step(batch, None).loss, rtol=0.01, atol=0)


def test_compiled_it_costs_the_same():
    model, batch = network(coverage=True), batch_of()
    expected = model.step(batch, None).loss
    model.compile(backend="aot_eager")
    torch.testing.assert_close(model.step(batch, None).loss, expected)


def test_of_an_empty_source_nothing_is_copied():
    result = network(coverage=True).step(batch_of([[3], []], [[3], [4]]), None)
    assert result.losses.isfinite().all()
    result.loss.backward()


def test_a_segment_has_the_whole_source():
    first, second = batch_of().split(2)
    for segment in (first, second):
        assert torch.equal(segment.source, batch_of().source)
        assert torch.equal(segment.source_words, batch_of().source_words)
        assert torch.equal(segment.source_lengths, batch_of().source_lengths)
    assert torch.equal(second.inputs, batch_of().inputs[:, 2:])
    assert batch_of().rows(slice(1, 2)).source.shape == (1, 5)


def some_to_copy(rows, source):
    """Two symbols and two words that are none, in any order, to be said as they are."""
    words = []
    for _ in range(rows):
        known = iter(torch.randint(2, SYMBOLS, (2,), generator=source).tolist())
        unknown = iter([SYMBOLS, SYMBOLS + 1])
        order = torch.randperm(4, generator=source).tolist()
        words.append([next(known) if place < 2 else next(unknown) for place in order])
    return batch_of(words, words).to(torch.device("cpu"), torch.float32)


@pytest.mark.parametrize("pointer", [True, False])
def test_words_that_are_no_symbols_are_learnt_to_be_copied_with_a_pointer_alone(pointer):
    model = network("wide", pointer=pointer, size=8, initial_std=0.1).float().train()
    optimizer, source = torch.optim.Adam(model.parameters(), lr=0.02), torch.Generator().manual_seed(1)
    for _ in range(STEPS):
        optimizer.zero_grad()
        model.step(some_to_copy(32, source), None).loss.backward()
        optimizer.step()
    test = some_to_copy(64, source)
    right = model.eval().answers(model.outputs(test, None)[0]) == test.targets
    unknown = test.targets >= SYMBOLS
    assert right[~unknown].float().mean() > 0.9
    assert (right[unknown].float().mean() > 0.9) == pointer


def test_models_of_other_parts_are_refused():
    settings = ModelSettings.model_validate(
        {
            "architecture": "pointer_generator",
            "core": CORES_TRIED["gru"],
            "pointer_generator": {"size": SIZE, "unknown": 7},
        }
    )
    with pytest.raises(UsageError, match="7 symbols and 3 classes"):
        build_model(settings, SYMBOLS, 3)
    with pytest.raises(UsageError, match=r"unknown is 7; the task has the symbols 0 to 6"):
        build_model(settings, SYMBOLS, SYMBOLS)
    model, symbols = network(), torch.zeros(1, 2, dtype=torch.long)
    batch = Batch(symbols, symbols, torch.ones(1, 2), torch.ones(1, dtype=torch.bool))
    with pytest.raises(UsageError, match="the task has none"):
        model.step(batch, None)


@pytest.mark.parametrize("at_once", [1, 3 * SYMBOLS, 10**9], ids=["one by one", "by threes", "all"])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_the_loss_of_training_is_that_of_the_whole_distribution(options, at_once, monkeypatch):
    """With its gradients, and without steps that have no weight."""
    monkeypatch.setattr("rmem_cli.models.pointer_generator._SCORES_AT_ONCE", at_once)
    model, batch = network(**options), batch_of(said=[[7, 8, 3, 2], [5, 6], [2, 9, 7]])
    batch = replace(batch, weight=batch.weight * torch.rand(3, 4, dtype=torch.float64))
    found = []
    for training in (False, True):
        result = model.train(training).step(batch, None)
        model.zero_grad()
        result.loss.backward()
        gradients = {name: weight.grad for name, weight in model.named_parameters()}
        found.append({"losses": result.losses.detach(), "loss": result.loss.detach()} | gradients)
    assert result.outputs is None
    for name, expected in found[0].items():
        torch.testing.assert_close(found[1][name], expected, rtol=1e-12, atol=1e-14)


def test_a_segment_without_any_weight_can_be_trained():
    model, batch = network().train(), batch_of()
    result = model.step(replace(batch, weight=torch.zeros_like(batch.weight)), None)
    result.loss.backward()
    assert result.loss == 0


def test_in_training_only_so_many_scores_of_the_vocabulary_are_there_at_once(monkeypatch):
    monkeypatch.setattr("rmem_cli.models.pointer_generator._SCORES_AT_ONCE", 4 * SYMBOLS)
    model, batch, sizes = network().train(), batch_of(), []
    model.vocabulary.register_forward_hook(lambda _, __, scores: sizes.append(scores.numel()))
    result = model.step(batch, None)
    assert sizes == [4 * SYMBOLS, 4 * SYMBOLS, SYMBOLS]
    result.loss.backward()
    assert sizes[3:]
    assert max(sizes) == 4 * SYMBOLS
