"""The networks of story and question are what their cores give, row by row, without any padding."""

import pytest
import torch

from rmem_cli.errors import UsageError
from rmem_cli.models.batch import Batch
from rmem_cli.models.sequence import build_model
from rmem_cli.models.story_and_question import StoryAndQuestion
from rmem_cli.recipe.registry import CORES
from rmem_cli.recipe.schema import ModelSettings

SYMBOLS, CLASSES, SIZE = 9, 5, 4
STORIES = [([1, 2, 3, 4], [5, 6]), ([7], [8, 1, 2]), ([2, 3], [4]), ([], [6, 6])]
ANSWERS = [3, 1, 4, 2]
RECURRENT = [
    kind for kind in CORES.kinds() if CORES.settings(kind).stepwise and kind not in ("fast_slow", "custom")
]


def batch_of(stories=STORIES, answers=ANSWERS, behind=0, dtype=torch.float64):
    """Stories and questions side by side, with so many steps behind the longest, of which none counts."""
    time = max(len(story) + len(question) for story, question in stories) + behind
    inputs = torch.full((len(stories), time), 8)
    weight, targets = torch.zeros(len(stories), time, dtype=dtype), torch.zeros_like(inputs)
    for row, ((story, question), answer) in enumerate(zip(stories, answers, strict=True)):
        steps = story + question
        inputs[row, : len(steps)] = torch.tensor(steps)
        weight[row, len(steps) - 1], targets[row, len(steps) - 1] = 1, answer
    return Batch(
        inputs,
        targets,
        weight,
        torch.ones(len(stories), dtype=torch.bool),
        lengths=torch.tensor([len(story) + len(question) for story, question in stories]),
        question=torch.tensor([len(story) for story, _ in stories]),
    )


def networks(core="gru", **options):
    torch.manual_seed(0)
    settings = ModelSettings.model_validate(
        {
            "architecture": "story_and_question",
            "encoder": {"kind": "embedding", "size": 3},
            "core": {"kind": core, "hidden_size": SIZE} if isinstance(core, str) else core,
            "head": {"kind": "linear"},
            **options,
        }
    )
    return build_model(settings, SYMBOLS, CLASSES).double().eval()


def expected(model, story, question):
    """The logits of one question, its networks read alone."""

    def last(core, steps):
        x = model.encoder(torch.tensor([steps], dtype=torch.long))
        y, _ = core(x) if steps else (x.new_zeros(1, 1, core.output_size), None)
        return y[:, -1]

    both = torch.cat([last(model.story, story), last(model.question, question)], dim=-1)
    y, _ = model.answer(both[:, None])
    return y[0, 0] @ model.head.linear.weight.T + model.head.linear.bias


@pytest.mark.parametrize("core", RECURRENT)
def test_it_gives_what_its_networks_give_of_each_row_alone(core):
    model, batch = networks(core), batch_of(behind=2)
    result = model.step(batch, None)
    logits = model.logits(result.outputs)
    for row, ((story, question), answer) in enumerate(zip(STORIES, ANSWERS, strict=True)):
        wanted = expected(model, story, question)
        end = len(story) + len(question) - 1
        torch.testing.assert_close(logits[row, end], wanted, atol=1e-10, rtol=0)
        loss = wanted.logsumexp(0) - wanted[answer]
        torch.testing.assert_close(result.losses[row].sum(), loss, atol=1e-10, rtol=0)


def test_gradients_are_those_of_each_row_alone():
    model, batch = networks(), batch_of()
    model.train().step(batch, None).nll_sum.backward()
    found = {name: weight.grad.clone() for name, weight in model.named_parameters()}
    model.zero_grad()
    for (story, question), answer in zip(STORIES, ANSWERS, strict=True):
        logits = expected(model, story, question)
        (logits.logsumexp(0) - logits[answer]).backward()
    for name, weight in model.named_parameters():
        torch.testing.assert_close(found[name], weight.grad, atol=1e-10, rtol=0)
    # The last network has one step, from a state of zeros, so that its recurrent weights are never used.
    unused = {name for name, gradient in found.items() if not gradient.any()}
    assert unused == {"answer.module.weight_hh_l0"}


def test_each_network_has_weights_of_its_own_and_the_last_reads_both():
    model = networks()
    assert isinstance(model, StoryAndQuestion)
    count = {
        name: sum(weight.numel() for weight in part.parameters()) for name, part in model.named_children()
    }
    # GRU of 4 units: 3 * (inputs * 4 + 4 * 4) weights and 2 * 3 * 4 biases.
    assert count["story"] == count["question"] == 3 * (3 * 4 + 16) + 24
    assert count["answer"] == 3 * (8 * 4 + 16) + 24
    assert not torch.equal(*(next(part.parameters()) for part in (model.story, model.question)))


def test_what_stands_behind_a_question_and_in_other_rows_changes_nothing():
    model = networks("lstm")
    padded, plain = (model.step(batch_of(behind=each), None).losses for each in (3, 0))
    torch.testing.assert_close(padded[:, : plain.shape[1]], plain, atol=1e-12, rtol=0)
    alone = model.step(batch_of(STORIES[:1], ANSWERS[:1]), None).losses
    torch.testing.assert_close(alone.sum(), plain[0].sum(), atol=1e-12, rtol=0)


def test_dropout_is_in_training_alone_and_of_inputs_and_outputs():
    for option in ("input_dropout", "output_dropout"):
        model, plain = networks(**{option: 0.5}), networks()
        model.load_state_dict(plain.state_dict())
        batch = batch_of()
        assert torch.equal(model.step(batch, None).nll_sum, plain.step(batch, None).nll_sum)
        torch.manual_seed(1)
        assert model.train().step(batch, None).nll_sum != plain.step(batch, None).nll_sum


def test_it_needs_a_question_and_recurrent_networks():
    batch = batch_of()
    with pytest.raises(UsageError, match="choose task babi"):
        networks().outputs(Batch(batch.inputs, batch.targets, batch.weight, batch.fresh), None)
    core = {"kind": "transformer_xl", "hidden_size": SIZE, "heads": 2, "segment_length": 5}
    with pytest.raises(UsageError, match="choose a recurrent core"):
        networks(core)
