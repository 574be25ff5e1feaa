"""Evaluation in which a model goes on from its own answers."""

import pytest
import torch
from torch import nn

from rmem_cli.evaluation.evaluate import evaluate
from rmem_cli.evaluation.walk import walk
from rmem_cli.models.batch import Batch
from rmem_cli.models.config import LinearHeadSettings, OneHotSettings
from rmem_cli.models.cores.prenorm_rmt import PreNormRMT
from rmem_cli.models.cores.recurrent_config import LSTMSettings
from rmem_cli.models.cores.rmt import RMT
from rmem_cli.models.cores.torch_rnn import LSTM
from rmem_cli.models.cores.transformer_config import PreNormRMTSettings, RMTSettings, TransformerXLSettings
from rmem_cli.models.cores.transformer_xl import TransformerXL
from rmem_cli.models.encoders import OneHot
from rmem_cli.models.heads import LinearHead
from rmem_cli.models.model import Model, StepResult
from rmem_cli.models.sequence import SequenceModel
from rmem_cli.tasks.algorithmic_config import CopySettings
from rmem_cli.tasks.base import Task
from rmem_cli.tasks.copy_reverse import Copy

SYMBOLS = 12


class Counting(Task):
    """Each symbol is the one before plus one, but once in the answer it is one more."""

    symbols = classes = SYMBOLS

    def __init__(self, jump):
        steps = torch.ones(9, dtype=torch.long)
        steps[jump] = 2
        rows = torch.cat([torch.zeros(1, dtype=torch.long), steps.cumsum(0)])[None]
        weight = torch.zeros(1, 9)
        weight[:, 2:] = 1
        self.batch = Batch(rows[:, :-1], rows[:, 1:], weight, torch.ones(1, dtype=torch.bool))

    def training_batch(self, step, batch_size, seed):
        return self.batch

    def evaluation_batches(self, split, examples, batch_size, seed, drawn):
        yield self.batch

    def exact(self, right, batch, published):
        return right[:, -7:].all(1)


class PlusOne(Model):
    """A model that adds one to its input."""

    segment_length = None
    causal = True
    stepwise = True

    def __init__(self, segment_length):
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(()))
        self.segment_length = segment_length

    def initial_state(self, rows, *, device=None, dtype=None):
        return {}

    def outputs(self, batch, state):
        return nn.functional.one_hot(batch.inputs + 1, SYMBOLS + 1).float(), state or {}

    def step(self, batch, state):
        outputs, state = self.outputs(batch, state)
        losses = -outputs.log_softmax(-1).gather(-1, batch.targets[..., None])[..., 0] * batch.weight
        return StepResult(losses, batch.weight, outputs, state)

    def logits(self, outputs):
        return outputs


@pytest.mark.parametrize(
    ("feed", "wrong"),
    [
        ("truth", 1),  # the symbol of the jump alone
        ("predictions", 4),  # all from the jump on
        ("published", 1),  # up to the next segment, where it is told the truth
    ],
)
def test_an_error_is_carried_on_as_far_as_the_form_of_feeding_says(feed, wrong):
    totals = evaluate(PlusOne(3), Counting(jump=5), "test", None, 1, 1, feed)
    assert totals.answers - totals.correct == wrong
    assert totals.metric("exact_match") == 0


def test_within_a_segment_the_published_form_goes_on_from_its_own_answers():
    totals = evaluate(PlusOne(3), Counting(jump=6), "test", None, 1, 1, "published")
    assert totals.answers - totals.correct == 3


def test_the_published_form_reads_true_answers_where_they_are_shorter_than_a_segment():
    for segment_length, wrong in ((9, 1), (None, 1), (7, 2)):
        totals = evaluate(PlusOne(segment_length), Counting(jump=5), "test", None, 1, 1, "published")
        assert totals.answers - totals.correct == wrong


def test_a_model_that_is_always_right_runs_free_as_with_the_truth():
    results = [
        evaluate(PlusOne(3), Counting(jump=0), "test", None, 1, 1, feed) for feed in ("truth", "predictions")
    ]
    assert results[0] == results[1]
    assert results[0].metric("accuracy") == 1


CORES = {
    "lstm": lambda: LSTM(SYMBOLS, LSTMSettings(hidden_size=16)),
    "transformer_xl": lambda: TransformerXL(
        SYMBOLS, TransformerXLSettings(hidden_size=16, layers=2, heads=2, segment_length=5, cache_length=3)
    ),
    "rmt": lambda: RMT(
        SYMBOLS, RMTSettings(hidden_size=16, memory_tokens=2, layers=2, heads=2, segment_length=5)
    ),
}


def decoded_from_scratch(model, batch):
    """Greedy answers, each by reading everything so far from the very beginning."""
    inputs, answers = batch.inputs.clone(), []
    for step in range(inputs.shape[1]):
        state, known = None, Batch(inputs, batch.targets, batch.weight, batch.fresh).split(step + 1)[0]
        for segment in known.split(model.core.segment_length):
            y, state = model.outputs(segment, state)
        answers.append(model.head.logits(y)[:, -1].argmax(-1))
        if step + 1 < inputs.shape[1]:
            inputs[:, step + 1] = torch.where(batch.weight[:, step] > 0, answers[-1], inputs[:, step + 1])
    return torch.stack(answers, 1)


@pytest.mark.parametrize("core", CORES)
def test_free_running_is_greedy_decoding_with_the_state_carried(core):
    torch.manual_seed(0)
    model = SequenceModel(
        OneHot(SYMBOLS, OneHotSettings()), CORES[core](), LinearHead(16, SYMBOLS, LinearHeadSettings())
    ).eval()
    nn.init.normal_(model.head.linear.weight, std=2)
    task = Copy(CopySettings(length=4))
    batch = next(iter(task.evaluation_batches("test", 40, 40, 1)))
    with torch.no_grad():
        answers = decoded_from_scratch(model, batch)
    due = batch.weight > 0
    totals = evaluate(model, task, "test", 40, 40, 1, "predictions")
    assert totals.correct == int(((answers == batch.targets) & due).sum())
    assert totals.nll != pytest.approx(evaluate(model, task, "test", 40, 40, 1).nll)


SHIFTED = {"layers": 2, "heads": 2, "segment_length": 5, "published_shift": True}
READ_WHOLE = {
    **{f"{count} tokens": {"memory_tokens": count} for count in (2, 3, 7)},
    "a cache": {"memory_tokens": 4, "cache_length": 3},
    "a cache with memory": {"memory_tokens": 4, "cache_length": 3, "cache_memory": True},
    "memory at the beginning": {"memory_tokens": 4, "memory_at_end": False},
    "published shift off": {"memory_tokens": 4, "published_shift": False},
}
BUILT = {
    **{
        name: lambda options=options: RMT(SYMBOLS, RMTSettings(hidden_size=16, **SHIFTED | options))
        for name, options in READ_WHOLE.items()
    },
    "prenorm_rmt": lambda: PreNormRMT(
        SYMBOLS, PreNormRMTSettings(hidden_size=16, memory_tokens=4, layers=2, heads=2, segment_length=5)
    ),
    "associative": lambda: RMT(
        SYMBOLS,
        RMTSettings(
            hidden_size=16, memory_tokens=4, memory_kind="associative", **SHIFTED | {"published_shift": False}
        ),
    ),
    "lstm": CORES["lstm"],
    "transformer_xl": CORES["transformer_xl"],
}


class Told(Counting):
    """Rows whose true answers are those that the model has, each read with all true ones before it."""

    def __init__(self, model, time, due):
        self.batch = Batch(
            torch.randint(SYMBOLS, (6, time)),
            torch.zeros(6, time, dtype=torch.long),
            torch.arange(time).ge(due).double().repeat(6, 1),
            torch.ones(6, dtype=torch.bool),
        )
        for step in range(due, time):
            outputs = torch.cat([result.outputs for _, result in walk(model, self.batch, None)], 1)
            self.batch.targets[:, step] = model.head.logits(outputs)[:, step].argmax(-1)
            self.batch.inputs[:, step + 1 : step + 2] = self.batch.targets[:, step : step + 1]


@pytest.mark.parametrize("feed", ["predictions", "published"])
@pytest.mark.parametrize(("time", "due"), [(14, 3), (15, 7), (8, 2), (4, 1)])
@pytest.mark.parametrize("core", BUILT)
def test_free_running_of_a_model_that_is_right_equals_teacher_forcing(core, time, due, feed):
    torch.manual_seed(0)
    model = (
        SequenceModel(
            OneHot(SYMBOLS, OneHotSettings()), BUILT[core](), LinearHead(16, SYMBOLS, LinearHeadSettings())
        )
        .double()
        .eval()
    )
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.7)
    task = Told(model, time, due)
    told = evaluate(model, task, "test", None, 1, 1)
    assert told.metric("accuracy") == 1
    assert evaluate(model, task, "test", None, 1, 1, feed) == told


def test_answers_that_no_metric_asks_for_are_not_looked_for():
    totals = evaluate(PlusOne(3), Counting(jump=5), "test", None, 1, 1, metrics=["loss"])
    whole = evaluate(PlusOne(3), Counting(jump=5), "test", None, 1, 1)
    assert (totals.answers, totals.exact) == (0, 0)
    assert totals.metric("loss") == whole.metric("loss")
