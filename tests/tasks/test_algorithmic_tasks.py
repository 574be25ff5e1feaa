"""Copy, reverse, associative retrieval and quadratic equations, as the RMT paper has them."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from rmem_cli.data_scripts.associative_retrieval import prepare_retrieval
from rmem_cli.data_scripts.copy_reverse import prepare_copy, prepare_reverse
from rmem_cli.data_scripts.dataset import dataset
from rmem_cli.data_scripts.quadratic import prepare_quadratic
from torch import nn

from rmem_cli.data.generated.quadratic import VOCABULARY
from rmem_cli.data.writer import write_prepared
from rmem_cli.errors import UsageError
from rmem_cli.evaluation.evaluate import evaluate
from rmem_cli.models.model import Model, StepResult
from rmem_cli.recipe.registry import TASKS
from rmem_cli.tasks.algorithmic_config import CopySettings, QuadraticEquationsSettings, ReverseSettings
from rmem_cli.tasks.build import open_task
from rmem_cli.tasks.copy_reverse import Copy, Reverse
from rmem_cli.tasks.quadratic_equations import QuadraticEquations

SMALL = {"train": 30, "valid": 8, "test": 12}
# Settings: how the set is prepared, and the paper's table of steps, symbols and steps that count.
PUBLISHED = [
    ({"kind": "copy", "length": 24}, ("copy", "24", prepare_copy), 72, 12, 48),
    ({"kind": "copy", "length": 120, "alphabet": 8}, ("copy", "120", prepare_copy), 360, 10, 240),
    ({"kind": "copy", "length": 240, "alphabet": 8}, ("copy", "240", prepare_copy), 720, 10, 480),
    ({"kind": "copy", "length": 360, "alphabet": 8}, ("copy", "360", prepare_copy), 1080, 10, 720),
    ({"kind": "reverse", "length": 24}, ("reverse", "24", prepare_reverse), 48, 12, 24),
    ({"kind": "reverse", "length": 120, "alphabet": 8}, ("reverse", "120", prepare_reverse), 240, 10, 120),
    ({"kind": "associative_retrieval"}, ("associative_retrieval", "pairs4", prepare_retrieval), 10, 37, 1),
    ({"kind": "quadratic_equations"}, ("quadratic", "steps", prepare_quadratic), 180, 24, 150),
]
EVERY_TASK = pytest.mark.parametrize(("fields", "prepared", "steps", "symbols", "answer"), PUBLISHED)


def build(**fields):
    settings = TASKS.settings(fields["kind"])(**fields)
    return open_task(settings)


def write(name, form, prepare):
    options = {"length": int(form)} if form.isdigit() else {}
    content = prepare({}, sizes=SMALL, **options)
    return write_prepared(name, form, content, sources=[], licence="", citation="")


class Told(Model):
    """A model that is told the targets: right always, or never, or naming one symbol always."""

    segment_length = 7
    causal = True
    stepwise = True

    def __init__(self, classes, always=None):
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(()))
        self.classes = classes
        self.always = always

    def initial_state(self, rows, *, device=None, dtype=None):
        return {}

    def outputs(self, batch, state):
        named = batch.targets if self.always is None else torch.full_like(batch.targets, self.always)
        return nn.functional.one_hot(named, self.classes).float(), state or {}

    def step(self, batch, state):
        outputs, state = self.outputs(batch, state)
        losses = -outputs.log_softmax(-1).gather(-1, batch.targets[..., None])[..., 0] * batch.weight
        return StepResult(losses, batch.weight, outputs, state)

    def logits(self, outputs):
        return outputs


@EVERY_TASK
@pytest.mark.parametrize("from_the_set", [True, False])
def test_lengths_vocabularies_and_loss_positions_are_those_published(
    fields, prepared, steps, symbols, answer, from_the_set
):
    if from_the_set:
        write(*prepared)
    task = build(**fields, prepared=from_the_set)
    batch = task.training_batch(0, 5, seed=1)
    assert batch.inputs.shape == (5, steps)
    assert (task.symbols, task.classes) == (symbols, symbols)
    assert int(batch.inputs.max()) < symbols
    assert torch.equal(batch.weight[:, -answer:], torch.ones(5, answer))
    assert batch.weight.sum() == 5 * answer
    assert torch.equal(batch.inputs[:, 1:], batch.targets[:, :-1])
    assert bool(batch.fresh.all())


@given(length=st.integers(1, 30), alphabet=st.integers(1, 12), seed=st.integers(0, 99))
def test_copy_wants_the_symbols_twice_and_reverse_wants_them_backwards(length, alphabet, seed):
    copied = Copy(CopySettings(length=length, alphabet=alphabet)).training_batch(0, 2, seed)
    told = copied.inputs[:, :length]
    assert torch.equal(copied.targets[:, -2 * length :], torch.cat([told, told], 1))
    turned = Reverse(ReverseSettings(length=length, alphabet=alphabet)).training_batch(0, 2, seed)
    assert torch.equal(turned.targets[:, -length:], turned.inputs[:, :length].flip(1))
    assert {int(symbol) for symbol in told.flatten()} <= set(range(2, 2 + alphabet))


@given(pairs=st.integers(1, 10), seed=st.integers(0, 99))
def test_retrieval_wants_the_value_of_the_key_that_is_asked_for(pairs, seed):
    batch = build(kind="associative_retrieval", pairs=pairs).training_batch(3, 4, seed)
    for row, targets in zip(batch.inputs.tolist(), batch.targets.tolist(), strict=True):
        values = dict(zip(row[: 2 * pairs : 2], row[1 : 2 * pairs : 2], strict=True))
        assert len(values) == pairs
        assert targets[-1] == values[row[-2]]


def test_a_prepared_set_is_read_in_its_order_again_and_again_whatever_the_seed():
    prepared = write("reverse", "24", prepare_reverse)
    task = build(kind="reverse", length=24, prepared=True)
    seen = torch.cat([task.training_batch(step, 20, seed=step).inputs for step in range(3)])
    rows = torch.from_numpy(prepared.tokens("train").astype("int64"))[:, :-1]
    assert torch.equal(seen, torch.cat([rows, rows]))
    batches = list(task.evaluation_batches("test", 1000, 5, seed=1))
    assert [len(batch.inputs) for batch in batches] == [5, 5, 2]


def test_drawn_examples_depend_on_seed_split_and_step():
    def draw(*changes):
        step, seed = {"step": 0, "seed": 1, **dict(changes)}.values()
        return Copy(CopySettings(length=9)).training_batch(step, 3, seed).inputs

    assert torch.equal(draw(), draw())
    evaluated = next(iter(Copy(CopySettings(length=9)).evaluation_batches("test", 3, 3, 1))).inputs
    others = [draw(("step", 1)), draw(("seed", 2)), evaluated]
    assert not any(torch.equal(draw(), other) for other in others)


@pytest.mark.parametrize("kind", ["copy", "reverse"])
def test_a_length_without_a_prepared_set_is_refused_with_those_that_have_one(kind):
    with pytest.raises(ValidationError, match=r"prepared sets of the lengths 24, 120.*, not of 23"):
        build(kind=kind, length=23, prepared=True)
    lengths = {"copy": CopySettings, "reverse": ReverseSettings}[kind].prepared_lengths
    assert list(map(str, lengths)) == [form.name for form in dataset(kind).forms]


def test_a_set_of_another_alphabet_is_refused():
    write("copy", "24", prepare_copy)
    with pytest.raises(UsageError, match=r"has 10 different symbols, not 8; set task\.alphabet=10"):
        build(kind="copy", length=24, alphabet=8, prepared=True)


@EVERY_TASK
@pytest.mark.parametrize("feed", ["truth", "predictions", "published"])
def test_an_oracle_is_right_everywhere(fields, prepared, steps, symbols, answer, feed):
    if steps > 200:
        pytest.skip("the longer ones differ in nothing else")
    totals = evaluate(Told(symbols), build(**fields), "test", 6, 3, 1, feed)
    assert (totals.metric("accuracy"), totals.metric("exact_match")) == (1, 1)
    assert totals.examples == 6


@pytest.mark.parametrize("fields", [{"kind": "copy", "length": 12}, {"kind": "associative_retrieval"}])
def test_a_constant_is_at_chance(fields):
    settings = TASKS.settings(fields["kind"])(**fields)
    task = build(**fields)
    totals = evaluate(Told(task.classes, always=5), task, "test", 4000, 1000, 1)
    assert totals.metric("accuracy") == pytest.approx(settings.chance("test")["accuracy"], abs=0.02)


def test_accuracy_of_equations_counts_characters_and_exact_match_the_whole_answer():
    task = QuadraticEquations(QuadraticEquationsSettings())
    batch = task.training_batch(0, 50, seed=1)
    assert torch.equal(batch.answer, (batch.targets != 0) & (batch.weight > 0))
    pads = evaluate(Told(task.classes, always=0), task, "test", 200, 100, 1)
    assert pads.metric("accuracy") == 0
    without_roots = pads.metric("exact_match")  # their answers are nothing but padding
    assert 0.1 < without_roots < 0.3


def test_the_published_form_leaves_out_the_first_character_of_the_answer():
    task = QuadraticEquations(QuadraticEquationsSettings())

    class AllButTheFirst(Told):
        def outputs(self, batch, state):
            y, state = super().outputs(batch, state)
            begins = batch.inputs.shape[1] == 180
            if begins:
                y[:, 149] = torch.eye(self.classes)[1]
            return y, state

    model = AllButTheFirst(task.classes)
    model.segment_length = 180
    assert evaluate(model, task, "test", 20, 20, 1).metric("exact_match") == 0
    assert evaluate(model, task, "test", 20, 20, 1, "published").metric("exact_match") == 1


def test_the_first_target_of_an_equation_s_parts_is_where_the_part_before_ends():
    batch = QuadraticEquations(QuadraticEquationsSettings()).training_batch(0, 1, seed=2)
    text = [VOCABULARY[symbol] for symbol in batch.inputs[0]]
    canonical = "".join(text[30:60]).replace("<pad>", "")
    assert canonical.startswith("x^2")
    assert VOCABULARY[batch.targets[0, 29]] == "x"
    assert batch.weight[0, 29] == 0
    assert batch.weight[0, 30] == 1
