"""Models that no recipe of rmem has are trained, evaluated, planned and sampled by the contract alone."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from rmem_cli.errors import InterruptedRunError
from rmem_cli.evaluation.next_symbol import next_logits
from rmem_cli.evaluation.reader import Reader
from rmem_cli.evaluation.sampling import draw, generate
from rmem_cli.models.batch import Batch, SourceBatch
from rmem_cli.models.config import LinearHeadSettings, OneHotSettings
from rmem_cli.models.cores.base import Core
from rmem_cli.models.cores.recurrent_config import GRUSettings
from rmem_cli.models.cores.torch_rnn import GRU
from rmem_cli.models.encoders import OneHot
from rmem_cli.models.heads import LinearHead
from rmem_cli.models.model import Model, StepResult
from rmem_cli.models.readouts import Readout
from rmem_cli.models.sequence import SequenceModel, build_model
from rmem_cli.modules.rum import RUM
from rmem_cli.recipe.schema import ModelSettings
from rmem_cli.runs import opened, plan
from rmem_cli.runs.opened import open_run
from rmem_cli.runs.pace import Pace
from rmem_cli.runs.plan import plan_of
from rmem_cli.seeding import generator
from rmem_cli.tasks.base import GeneratedTask
from rmem_cli.tasks.copying_memory import CopyingMemory
from rmem_cli.tasks.memory_config import CopyingMemorySettings

CPU = torch.device("cpu")
SIZE = 8


class Chained(Core):
    """Two cores, one on top of the other, gone through step by step."""

    def __init__(self, input_size):
        super().__init__()
        self.input_size, self.output_size = input_size, SIZE
        self.parts = nn.ModuleDict(
            {"lower": GRU(input_size, GRUSettings(hidden_size=SIZE)), "upper": RUM(SIZE, SIZE, lambda_=1)}
        )

    def initial_state(self, batch, *, device=None, dtype=None):
        parts = {
            name: part.initial_state(batch, device=device, dtype=dtype) for name, part in self.parts.items()
        }
        return {f"{part}.{name}": value for part, entries in parts.items() for name, value in entries.items()}

    def forward(self, x, state=None, lengths=None):
        state = self.initial_state(len(x), device=x.device, dtype=x.dtype) if state is None else state
        outputs = []
        for step in range(x.shape[1]):
            y, after = x[:, step], {}
            for name, part in self.parts.items():
                own = {
                    key.removeprefix(f"{name}."): state[key] for key in state if key.startswith(f"{name}.")
                }
                y, new = part.step(y, own)
                after |= {f"{name}.{key}": value for key, value in new.items()}
            if lengths is not None:
                going = step < lengths
                after = {
                    key: torch.where(going.view(-1, *[1] * (value.dim() - 1)), value, state[key])
                    for key, value in after.items()
                }
            state = after
            outputs.append(y)
        return torch.stack(outputs, 1), state


@dataclass(frozen=True)
class Pair(Batch):
    """What is to be said, `inputs` and `targets`, and beside it what it is said about."""

    source: Tensor | None = None


class Backwards(GeneratedTask):
    """Say symbols in the opposite order; symbol 0 begins."""

    symbols = classes = 5
    time = 4

    def draw(self, count, seed, split, number):
        source = generator(seed, f"backwards {split}", number)
        return torch.randint(1, self.symbols, (count, self.time), generator=source)

    def batch(self, examples):
        targets = examples.flip(1)
        inputs = functional.pad(targets[:, :-1], (1, 0))
        ones = torch.ones(targets.shape)
        return Pair(inputs, targets, ones, torch.ones(len(targets), dtype=torch.bool), source=examples)


class BackwardsWithUnknown(Backwards):
    """The same about a source in which the highest two symbols are words that are none."""

    def batch(self, examples):
        pair, symbols = super().batch(examples), self.symbols - 2
        return SourceBatch(
            pair.inputs,
            pair.targets,
            pair.weight,
            pair.fresh,
            source=torch.where(examples < symbols, examples, 0),
            source_words=examples,
            source_lengths=torch.full((len(examples),), self.time),
        )


class EncoderDecoder(Model):
    """Reads a source, then says something about it: each step attends to all of the source."""

    segment_length = None
    causal = True
    stepwise = False

    def __init__(self, symbols):
        super().__init__()
        self.vectors = nn.Embedding(symbols, SIZE)
        self.reader, self.writer = (
            GRU(SIZE, GRUSettings(hidden_size=SIZE)),
            GRU(2 * SIZE, GRUSettings(hidden_size=SIZE)),
        )
        self.said = nn.Linear(2 * SIZE, symbols)

    def initial_state(self, rows, *, device=None, dtype=None):
        return {}

    def outputs(self, batch, state):
        read, state = self.reader(self.vectors(batch.source))
        y, outputs = read[:, -1], []
        for vector in self.vectors(batch.inputs).unbind(1):
            attention = (read @ y[:, :, None]).softmax(1)
            seen = (attention * read).sum(1)
            y, state = self.writer.step(torch.cat([vector, seen], -1), state)
            outputs.append(torch.cat([y, seen], -1))
        return torch.stack(outputs, 1), {}

    def step(self, batch, state):
        outputs, state = self.outputs(batch, state)
        losses = functional.cross_entropy(
            self.logits(outputs).flatten(0, 1), batch.targets.flatten(), reduction="none"
        )
        return StepResult(losses.view_as(batch.weight) * batch.weight, batch.weight, outputs, state)

    def logits(self, outputs):
        return self.said(outputs)


class AttentionToAll(Readout):
    """Beside what the core gives at a step, what it has given before, by how well it fits."""

    def __init__(self, size):
        super().__init__()
        self.output_size = 2 * size

    def forward(self, y, batch, steps):
        wanted = y[:, steps]
        times = torch.arange(y.shape[1], device=y.device)
        scores = (wanted @ y.mT).masked_fill(times > times[steps, None], -torch.inf)
        return torch.cat([wanted, scores.softmax(-1) @ y], -1)


def chained(task):
    return SequenceModel(
        OneHot(task.symbols, OneHotSettings()),
        Chained(task.symbols),
        LinearHead(SIZE, task.classes, LinearHeadSettings()),
    )


def attentive(task):
    core, readout = GRU(task.symbols, GRUSettings(hidden_size=SIZE)), AttentionToAll(SIZE)
    return SequenceModel(
        OneHot(task.symbols, OneHotSettings()),
        core,
        LinearHead(2 * SIZE, task.classes, LinearHeadSettings()),
        readout=readout,
    )


def pointing(task):
    core, source_core = ({"kind": kind, "hidden_size": SIZE} for kind in ("gated_gru", "gated_lstm"))
    own = {"size": SIZE, "coverage": True, "initial_std": 0.1}
    parts = {"core": core, "source_core": source_core, "pointer_generator": own}
    settings = {"architecture": "pointer_generator"} | parts
    symbols = task.symbols - 2
    return build_model(ModelSettings.model_validate(settings), symbols, symbols)


TOYS = {
    "two cores in one": (
        chained,
        lambda: CopyingMemory(CopyingMemorySettings(length=3, symbols=2, alphabet=3)),
    ),
    "a read-out that attends": (
        attentive,
        lambda: CopyingMemory(CopyingMemorySettings(length=3, symbols=2, alphabet=3)),
    ),
    "encoder and decoder": (lambda task: EncoderDecoder(task.symbols), Backwards),
    "a pointer generator": (pointing, BackwardsWithUnknown),
}


@pytest.fixture(params=TOYS)
def toy(request, monkeypatch):
    """The model and the task of every run from here on."""
    make_model, make_task = TOYS[request.param]
    monkeypatch.setattr(opened, "build_model", lambda *_: make_model(make_task()))
    monkeypatch.setattr(opened, "open_task", lambda _: make_task())
    monkeypatch.setattr(plan, "pace_of", lambda *_: Pace(1e-9, 1e-6, 1e-9))
    return make_model, make_task


@pytest.mark.slow
def test_a_toy_learns_and_its_rows_have_what_evaluation_measures(toy, lab, make_spec):
    spec = make_spec("train.steps=150", "optimizer.lr=0.02")
    lab.train(spec)
    losses = [value for _, split, name, value in lab.curve(spec) if (split, name) == ("train", "loss")]
    assert sum(losses[-10:]) < 0.9 * sum(losses[:10])
    found = {row.metric: row.value for row in lab.rows()}
    assert 0 < found["loss"] < losses[0]
    assert 0 < found["accuracy"] <= 1
    assert [(row.metric, row.value) for row in lab.evaluate(spec)] == [*found.items()]


def test_a_toy_that_is_stopped_goes_on_to_the_same_numbers(toy, lab, make_spec, same):
    spec = make_spec()
    lab.train(spec)
    whole = same(lab.rows())
    calls = iter([False] * 5)
    with pytest.raises(InterruptedRunError):
        lab.train(spec, lambda: next(calls, True), repeat=True)
    lab.train(spec)
    assert same(lab.rows()) == whole


def test_a_toy_is_planned_before_it_is_trained(toy, make_spec):
    plan._WALKS.clear()  # by settings, which a toy shares with the model in whose place it is
    make_model, make_task = toy
    found = plan_of(open_run(make_spec()), CPU)
    assert found.parameters == make_model(make_task()).parameter_count()
    assert found.seconds > 0
    assert found.memory_mb > 0


def test_a_toy_says_what_it_expects_symbol_by_symbol(toy):
    make_model, make_task = toy
    torch.manual_seed(0)
    task = make_task()
    model = make_model(task).eval()
    batch = task.training_batch(0, 3, seed=1)
    with torch.no_grad():
        whole = model.logits(model.outputs(batch, None)[0])
        for known in range(1, batch.inputs.shape[1] + 1):
            logits, _ = next_logits(model, batch, known, None)
            torch.testing.assert_close(logits, whole[:, known - 1])


def test_a_core_of_cores_goes_on_with_a_text():
    torch.manual_seed(0)
    model = chained(CopyingMemory(CopyingMemorySettings(length=3, symbols=2, alphabet=3))).eval()
    text = list(generate(Reader(model, 4), [1, 2], 9, draw(0, None, torch.Generator())))
    read, expected = [1, 2], []
    for _ in range(9):
        symbols = torch.tensor([read])
        ones, fresh = torch.ones(symbols.shape), torch.ones(1, dtype=torch.bool)
        outputs, _ = model.outputs(Batch(symbols, symbols, ones, fresh), None)
        expected.append(int(model.answers(outputs)[0, -1]))
        read.append(expected[-1])
    assert text == expected


def test_two_cores_step_by_step_are_the_two_one_after_the_other():
    torch.manual_seed(0)
    core, x, lengths = Chained(3).double(), torch.randn(4, 6, 3).double(), torch.tensor([6, 1, 4, 2])
    y, state = core(x, None, lengths)
    between, lower = core.parts["lower"](x, None, lengths)
    expected, upper = core.parts["upper"](between, None, lengths)
    counted = torch.arange(6) < lengths[:, None]
    torch.testing.assert_close(y[counted], expected[counted])
    for part, entries in {"lower": lower, "upper": upper}.items():
        for name, value in entries.items():
            torch.testing.assert_close(state[f"{part}.{name}"], value)


def test_a_pair_keeps_its_source_on_the_way_to_the_model():
    pair = Backwards().training_batch(0, 2, seed=1)
    moved = pair.to(CPU, torch.float64)
    assert isinstance(moved, Pair)
    assert torch.equal(moved.source, pair.source)
    assert moved.weight.dtype == torch.float64
    assert moved.split(None) == [moved]
