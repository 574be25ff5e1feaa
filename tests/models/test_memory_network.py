"""The memory network is its equations, written out here a second time, row by row, in numpy."""

import numpy as np
import pytest
import torch

from rmem_cli.errors import UsageError
from rmem_cli.models.batch import Batch
from rmem_cli.models.memory_network import MemoryNetwork
from rmem_cli.models.sequence import build_model
from rmem_cli.recipe.problems import RecipeError
from rmem_cli.recipe.reader import read_recipe
from rmem_cli.recipe.schema import ModelSettings

SYMBOLS, SIZE, WORDS = 9, 4, 5
STORIES = [  # sentences, then the question
    [[1, 2, 3], [4, 5], [6, 7, 8, 1, 2], [3, 4]],
    [[5, 1], [2, 2, 7]],
    [[3], [8, 1], [4, 2, 6], [7, 7], [1, 5, 3]],
    [[2, 3, 4]],  # a question about nothing
]
ANSWERS = [3, 1, 7, 2]


def batch_of(stories=STORIES, answers=ANSWERS, dtype=torch.float64):
    rows, time = len(stories), max(map(len, stories)) + 1
    inputs = torch.full((rows, time, WORDS), -1)
    weight, targets = torch.zeros(rows, time, dtype=dtype), torch.zeros(rows, time, dtype=torch.long)
    for row, (story, answer) in enumerate(zip(stories, answers, strict=True)):
        for step, sentence in enumerate(story):
            inputs[row, step, : len(sentence)] = torch.tensor(sentence)
        weight[row, len(story) - 1], targets[row, len(story) - 1] = 1, answer
    lengths = torch.tensor([len(story) for story in stories])
    return Batch(
        inputs, targets, weight, torch.ones(rows, dtype=torch.bool), lengths=lengths, question=lengths - 1
    )


def network(core=None, **options):
    torch.manual_seed(0)
    own = {"size": SIZE, "capacity": 3, "initial_std": 0.5} | options
    settings = ModelSettings.model_validate(
        {"architecture": "memory_network", "memory_network": own, "core": core}
    )
    return build_model(settings, SYMBOLS, SYMBOLS).double().eval()


def sentence_of(table, symbols, position_encoding):
    total = np.zeros(SIZE)
    for j, symbol in enumerate(symbols, start=1):
        for k in range(1, SIZE + 1):
            weight = (1 - j / len(symbols)) - (k / SIZE) * (1 - 2 * j / len(symbols))
            total[k - 1] += (weight if position_encoding else 1) * table[symbol][k - 1]
    return total


def published_sentence_of(table, symbols, places):
    """The published code's: each word weighed by its place among those of the longest sentence."""
    total = np.zeros(SIZE)
    for j, symbol in enumerate(symbols, start=1):
        total += published_weights(j, places) * table[symbol]
    return total


def published_weights(place, places):
    k = np.arange(1, SIZE + 1)
    return 1 + 4 * (k - (SIZE + 1) / 2) * (place - (places + 1) / 2) / SIZE / places


def published(model, story, longest, *, temporal=True):
    """The logits of one question, by the weights of the published code."""
    words = [table.detach().numpy() for table in model.words]
    times = [table.detach().numpy() for table in model.times]
    *told, question = story
    places = longest + temporal
    known = published_sentence_of(words[0], question, places)
    for hop in range(3):
        memory, content = (
            np.array(
                [
                    published_sentence_of(words[table], each, places)
                    + (published_weights(places, places) * times[table][age] if temporal else 0)
                    for age, each in enumerate(told[::-1][:3])
                ]
            ).reshape(-1, SIZE)
            for table in (hop, hop + 1)
        )
        shares = np.exp(memory @ known) / np.exp(memory @ known).sum()
        known = known + shares @ content
    return words[3] @ known


@pytest.mark.parametrize("temporal", [True, False])
def test_published_weights_are_those_of_the_published_code(temporal):
    model = network(position_weights="published", temporal_encoding=temporal)
    batch = batch_of()
    logits = model.logits(model.step(batch, None).outputs)
    for row, story in enumerate(STORIES):
        wanted = published(model, story, batch.inputs.shape[-1], temporal=temporal)
        np.testing.assert_allclose(logits[row, len(story) - 1].detach(), wanted, atol=1e-12)


def reference(model, story, *, hops=3, capacity=3, position=True, temporal=True, linear=False):
    """The logits of one question."""
    words = [table.detach().numpy() for table in model.words]
    times = [table.detach().numpy() for table in model.times]
    *told, question = story
    told = told[::-1][:capacity]
    known = sentence_of(words[0], question, position)
    for hop in range(hops):
        memory = [sentence_of(words[hop], each, position) for each in told]
        content = [sentence_of(words[hop + 1], each, position) for each in told]
        if temporal:
            memory = [each + times[hop][age] for age, each in enumerate(memory)]
            content = [each + times[hop + 1][age] for age, each in enumerate(content)]
        scores = np.array([each @ known for each in memory])
        shares = scores if linear else np.exp(scores) / np.exp(scores).sum()
        known = known + sum(
            (share * each for share, each in zip(shares, content, strict=True)), np.zeros(SIZE)
        )
    return words[hops] @ known


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, {}),
        ({"hops": 1}, {"hops": 1}),
        ({"capacity": 2}, {"capacity": 2}),
        ({"capacity": 50}, {"capacity": 50}),
        ({"position_encoding": False}, {"position": False}),
        ({"temporal_encoding": False}, {"temporal": False}),
        ({"linear_start_steps": 5}, {"linear": True}),
    ],
)
def test_the_network_is_its_equations(options, expected):
    model, batch = network(**options), batch_of()
    result = model.step(batch, None)
    logits = model.logits(result.outputs)
    for row, (story, answer) in enumerate(zip(STORIES, ANSWERS, strict=True)):
        wanted = reference(model, story, **expected)
        np.testing.assert_allclose(logits[row, len(story) - 1].detach(), wanted, atol=1e-12)
        loss = np.log(np.exp(wanted).sum()) - wanted[answer]
        np.testing.assert_allclose(result.losses[row].sum().item(), loss, atol=1e-12)


def test_its_gradients_are_those_of_its_equations():
    model, batch = network(), batch_of()
    model.step(batch, None).nll_sum.backward()
    for table in (model.words[0], model.words[2], model.words[3], model.times[0], model.times[3]):
        for place in [(1, 0), (2, 3)]:
            losses = []
            for change in (1e-6, -1e-6):
                with torch.no_grad():
                    table[place] += change
                losses.append(model.step(batch, None).nll_sum.item())
                with torch.no_grad():
                    table[place] -= change
            assert table.grad[place].item() == pytest.approx((losses[0] - losses[1]) / 2e-6, abs=1e-7)


def test_a_question_is_answered_alike_alone_and_beside_others():
    model = network()
    whole = model.step(batch_of(), None).losses.sum(1)
    for row, (story, answer) in enumerate(zip(STORIES, ANSWERS, strict=True)):
        alone = model.step(batch_of([story], [answer]), None).losses.sum()
        torch.testing.assert_close(alone, whole[row])


def test_the_softmax_comes_after_the_steps_of_the_linear_start():
    model, batch = network(linear_start_steps=2), batch_of()
    linear = [reference(model, story, linear=True) for story in STORIES]
    last = [reference(model, story) for story in STORIES]
    for done, expected in enumerate((linear, linear, last, last)):
        model.begin_training_step(done)
        outputs = model.train().step(batch, None).outputs
        for row, story in enumerate(STORIES):
            found = model.logits(outputs)[row, len(story) - 1].detach()
            np.testing.assert_allclose(found, expected[row], atol=1e-12)
        model.eval().step(batch, None)
    assert model.state_dict()["trained_steps"] == 4


def test_noise_makes_sentences_older_and_keeps_their_order():
    model = network(time_noise=0.5, capacity=50).train()
    there = torch.arange(20) < torch.tensor([20, 7, 1, 0])[:, None]
    seen = set()
    for _ in range(50):
        ages = model._ages(there)
        for row, count in enumerate(there.sum(1).tolist()):
            own = ages[row, :count].tolist()
            assert own == sorted(set(own))
            assert max(own, default=0) <= 1.5 * count
            seen.add(tuple(own))
    assert len(seen) > 50
    assert torch.equal(model.eval()._ages(there)[1], torch.arange(20))


@pytest.mark.parametrize("kind", ["rum", "gru", "lstm"])
def test_a_core_can_be_the_controller(kind):
    model, batch = network({"kind": kind, "hidden_size": SIZE}), batch_of()
    outputs, _ = model.outputs(batch, None)
    story = STORIES[2]
    words = [table.detach() for table in model.words]
    times = [table.detach() for table in model.times]

    def sentence(hop, symbols):
        return torch.from_numpy(sentence_of(words[hop].numpy(), symbols, True))

    known, state = model.controller.step(sentence(0, story[-1])[None], None)
    for hop in range(3):
        told = story[:-1][::-1][:3]
        memory = torch.stack([sentence(hop, each) + times[hop][age] for age, each in enumerate(told)])
        content = torch.stack(
            [sentence(hop + 1, each) + times[hop + 1][age] for age, each in enumerate(told)]
        )
        read = torch.softmax(memory @ known[0], 0) @ content
        known, state = model.controller.step(read[None], state)
    torch.testing.assert_close(outputs[2, 4], known[0])
    model.step(batch, None).nll_sum.backward()
    assert all(each.grad is not None and each.grad.isfinite().all() for each in model.controller.parameters())


def test_a_step_on_the_meta_device_needs_no_other():
    model = network(linear_start_steps=2, time_noise=0.1).train().to("meta")
    result = model.step(batch_of().to(torch.device("meta"), torch.float64), None)
    result.nll_sum.backward()
    assert result.outputs.shape == (4, 6, SIZE)


def test_what_does_not_fit_is_refused_with_a_cure():
    settings = ModelSettings.model_validate(
        {"architecture": "memory_network", "memory_network": {"size": SIZE}, "core": None}
    )
    with pytest.raises(UsageError, match=r"set task\.classes to vocabulary"):
        MemoryNetwork(SYMBOLS, 3, settings)
    with pytest.raises(
        UsageError, match=r"has outputs of 6 units, and memory_network\.size is 4; make them equal"
    ):
        network({"kind": "gru", "hidden_size": 6})
    with pytest.raises(UsageError, match="choose a recurrent core"):
        network({"kind": "rmt", "hidden_size": SIZE, "memory_tokens": 1, "segment_length": 3})
    words = Batch(*[torch.zeros(1, 2, dtype=torch.long)] * 3, torch.ones(1, dtype=torch.bool))
    with pytest.raises(UsageError, match="task babi of level sentence"):
        network().outputs(words, None)


RECIPE = """\
name: made_up
title: A made-up experiment
paper: null
task: {kind: babi, number: 1}
model: {architecture: memory_network, memory_network: {size: 4}}
optimizer: {kind: sgd, lr: 0.1}
train: {steps: 3, batch_size: 2}
eval: [{name: test, split: test, metrics: [accuracy]}]
seeds: [1]
rows: [{id: one, title: One}]
"""


@pytest.mark.parametrize(
    ("sets", "path", "message"),
    [
        (["task.level=word"], "model.architecture", "take task babi of level sentence"),
        (["model.encoder={kind: one_hot}"], "model.encoder", "is no part of a memory network; leave it out"),
        (["model.output_dropout=0.1"], "model.output_dropout", "is no part of a memory network"),
        (
            ["model={architecture: memory_network}"],
            "model.memory_network",
            "is missing; give at least its size",
        ),
        (["model.architecture=sequence"], "model.core", "is missing; there are: rnn, "),
        (
            ["model={core: {kind: gru, hidden_size: 4}, memory_network: {size: 4}}"],
            "model.memory_network",
            "set model.architecture to memory_network",
        ),
        (["eval.test.core={hidden_size: 5}"], "eval.test.core", "the model has none; leave it out"),
        (["eval.test.task={level: word}"], "eval.test.task", "take task babi of level sentence"),
    ],
)
def test_recipes_of_other_parts_are_refused_with_place_and_cure(sets, path, message):
    recipe = read_recipe(RECIPE.encode(), "made_up.yaml", "made_up")
    with pytest.raises(RecipeError) as refused:
        recipe.runs(overrides=sets)
    assert any(problem.path == path and message in problem.message for problem in refused.value.problems)
