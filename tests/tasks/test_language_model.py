"""Language modelling over a whole text."""

import math

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from rmem_cli.data.prepared import open_prepared
from rmem_cli.errors import DataError, UsageError
from rmem_cli.evaluation.evaluate import evaluate
from rmem_cli.models.config import LinearHeadSettings, OneHotSettings
from rmem_cli.models.cores.recurrent_config import LSTMSettings
from rmem_cli.models.cores.torch_rnn import LSTM
from rmem_cli.models.encoders import OneHot
from rmem_cli.models.heads import LinearHead
from rmem_cli.models.sequence import SequenceModel
from rmem_cli.modules.rum import RUM
from rmem_cli.tasks import language_model
from rmem_cli.tasks.language_model import LanguageModel
from rmem_cli.tasks.text_config import LanguageModelSettings

VOCABULARY = 300  # two bytes for a symbol
END_OF_LINE = 0


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    """A text in which no symbol occurs twice, so that each position has a name of its own."""
    from rmem_cli.data.writer import Content, write_prepared

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RMEM_DATA", str(tmp_path_factory.mktemp("data")))
        order = np.random.default_rng(0).permutation(VOCABULARY).astype(np.uint16)
        splits = {"train": order, "valid": order[:7], "test": order[50:150]}
        content = Content(
            {split: [symbols] for split, symbols in splits.items()},
            [f"w{symbol}" for symbol in range(VOCABULARY)],
            end_of_line=END_OF_LINE,
        )
        written = write_prepared("made_up", "word", content, sources=[], licence="none", citation="none")
        patch.setattr(
            language_model,
            "open_prepared",
            lambda name, form: written if name == "made_up" else open_prepared(name, form),
        )
        yield written


def make_model(core=None, dtype=torch.float64):
    torch.manual_seed(0)
    core = core or LSTM(VOCABULARY, LSTMSettings(hidden_size=8))
    return SequenceModel(
        OneHot(VOCABULARY, OneHotSettings()), core, LinearHead(8, VOCABULARY, LinearHeadSettings())
    ).to(dtype)


def counted(batches):
    """The targets that count, and the input before each of them."""
    targets, inputs = [], []
    for batch in batches:
        targets += batch.targets[batch.weight > 0].tolist()
        inputs += batch.inputs[batch.weight > 0].tolist()
    return targets, inputs


sizes = given(
    batch_size=st.integers(1, 120),
    segment_length=st.integers(1, 120),
    examples=st.none() | st.integers(1, 130),
)
module_fixture = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


@sizes
@module_fixture
def test_every_symbol_of_a_split_is_a_target_exactly_once(text, batch_size, segment_length, examples):
    task = LanguageModel(LanguageModelSettings(dataset="made_up", form="word", segment_length=segment_length))
    split = [int(symbol) for symbol in text.tokens("test")[:examples]]
    batches = list(task.evaluation_batches("test", examples, batch_size, seed=1))
    targets, inputs = counted(batches)
    assert sorted(targets) == sorted(split)
    assert sum(map(task.examples_in, batches)) == len(split)
    before = dict(zip(split, [END_OF_LINE, *split], strict=False))
    assert inputs == [before[target] for target in targets]


@sizes
@module_fixture
def test_columns_are_read_in_order_and_start_afresh_once(text, batch_size, segment_length, examples):
    task = LanguageModel(LanguageModelSettings(dataset="made_up", form="word", segment_length=segment_length))
    batches = list(task.evaluation_batches("test", examples, batch_size, seed=1))
    assert [bool(batch.fresh.all()) for batch in batches] == [True] + [False] * (len(batches) - 1)
    assert all(batch.inputs.shape[1] == segment_length for batch in batches[:-1])
    together = torch.cat([batch.targets for batch in batches], 1).flatten()
    weight = torch.cat([batch.weight for batch in batches], 1).flatten()
    assert together[weight > 0].tolist() == text.tokens("test")[:examples].tolist()


@given(batch_size=st.integers(1, 40), segment_length=st.integers(1, 40))
@module_fixture
def test_training_reads_each_column_in_order_and_starts_again_with_each_pass(
    text, batch_size, segment_length
):
    task = LanguageModel(LanguageModelSettings(dataset="made_up", form="word", segment_length=segment_length))
    column = VOCABULARY // batch_size
    if column < segment_length:
        with pytest.raises(UsageError, match=r"lower train\.batch_size or task\.segment_length"):
            task.training_batch(0, batch_size, seed=1)
        return
    steps = task.steps_per_epoch(batch_size)
    assert steps == column // segment_length
    symbols = text.tokens("train").tolist()
    batches = [task.training_batch(step, batch_size, seed=1) for step in range(steps)]
    for row in range(batch_size):
        start = row * column
        read = torch.cat([batch.targets[row] for batch in batches]).tolist()
        assert read == symbols[start : start + steps * segment_length]
        given_before = torch.cat([batch.inputs[row] for batch in batches]).tolist()
        assert given_before == [symbols[start - 1] if row else END_OF_LINE, *read[:-1]]
    assert [batch.fresh.tolist() for batch in batches] == [[step == 0] * batch_size for step in range(steps)]
    assert all((batch.weight == 1).all() for batch in batches)
    again = task.training_batch(steps, batch_size, seed=2)
    assert torch.equal(again.inputs, batches[0].inputs)
    assert again.fresh.all()


def test_the_symbol_before_the_first_is_an_end_of_line(text):
    task = LanguageModel(LanguageModelSettings(dataset="made_up", form="word", segment_length=5))
    assert task.training_batch(0, 2, seed=1).inputs[0, 0] == END_OF_LINE
    first = next(iter(task.evaluation_batches("valid", None, 3, seed=1)))
    assert first.inputs[0, 0] == END_OF_LINE


def test_one_column_gives_the_same_loss_for_every_segment_length(text):
    model = make_model(RUM(VOCABULARY, 8, lambda_=1))
    totals = [
        evaluate(
            model,
            LanguageModel(LanguageModelSettings(dataset="made_up", form="word", segment_length=length)),
            "test",
            None,
            1,
            seed=1,
        )
        for length in (1, 7, 99, 100, 500)
    ]
    for each in totals:
        assert each.nll == pytest.approx(totals[0].nll, rel=1e-12)
        assert (each.weight, each.examples, each.answers, each.correct) == (100, 100, 100, totals[0].correct)


def test_one_column_gives_the_loss_of_one_long_pass(text):
    model = make_model()
    symbols = torch.from_numpy(text.tokens("test").astype(np.int64))
    inputs = torch.cat([torch.tensor([END_OF_LINE]), symbols[:-1]])[None]
    y, _ = model.core(model.encoder(inputs))
    expected = model.head.nll(y, symbols[None]).sum().detach()
    assert evaluate(
        model,
        LanguageModel(LanguageModelSettings(dataset="made_up", form="word", segment_length=7)),
        "test",
        None,
        1,
        seed=1,
    ).nll == pytest.approx(float(expected))


def test_more_columns_lose_context_but_no_symbol(text):
    model = make_model()
    one, many = (
        evaluate(
            model,
            LanguageModel(LanguageModelSettings(dataset="made_up", form="word", segment_length=7)),
            "test",
            None,
            columns,
            seed=1,
        )
        for columns in (1, 9)
    )
    assert one.examples == many.examples == 100
    assert one.nll != many.nll


def test_the_state_carried_over_training_batches_equals_one_long_pass(text):
    model, task = (
        make_model(),
        LanguageModel(LanguageModelSettings(dataset="made_up", form="word", segment_length=6)),
    )
    steps = task.steps_per_epoch(4)
    batches = [
        task.training_batch(step, 4, seed=1).to(torch.device("cpu"), torch.float64) for step in range(steps)
    ]
    state, total = None, 0.0
    for batch in batches:
        result = model.step(batch, state)
        state, total = result.state, total + result.nll_sum
    y, end = model.core(model.encoder(torch.cat([batch.inputs for batch in batches], 1)))
    expected = model.head.nll(y, torch.cat([batch.targets for batch in batches], 1)).sum()
    torch.testing.assert_close(total, expected)
    for name, value in end.items():
        torch.testing.assert_close(state[name], value)


def test_without_a_carried_state_no_batch_knows_the_one_before(text):
    model, task = (
        make_model(),
        LanguageModel(LanguageModelSettings(dataset="made_up", form="word", segment_length=6, carried=False)),
    )
    assert all(task.training_batch(step, 4, seed=1).fresh.all() for step in range(3))
    for batch in task.evaluation_batches("test", None, 3, seed=1):
        assert batch.fresh.all()
    alone = sum(
        float(model.step(batch.to(torch.device("cpu"), torch.float64), None).nll_sum.detach())
        for batch in task.evaluation_batches("test", None, 3, seed=1)
    )
    assert evaluate(model, task, "test", None, 3, seed=1).nll == pytest.approx(alone)
    assert evaluate(
        model,
        LanguageModel(LanguageModelSettings(dataset="made_up", form="word", segment_length=6)),
        "test",
        None,
        3,
        seed=1,
    ).nll != pytest.approx(alone)


def test_a_uniform_model_needs_log2_of_the_vocabulary_bits(text):
    model = make_model()
    torch.nn.init.zeros_(model.head.linear.weight)
    torch.nn.init.zeros_(model.head.linear.bias)
    totals = evaluate(
        model,
        LanguageModel(LanguageModelSettings(dataset="made_up", form="word", segment_length=7)),
        "test",
        None,
        3,
        seed=1,
    )
    assert totals.metric("bpc") == pytest.approx(math.log2(VOCABULARY), rel=1e-12)
    assert totals.metric("perplexity") == pytest.approx(VOCABULARY)


def test_the_task_refuses_models_that_look_ahead_and_carries_its_state(text):
    settings = LanguageModelSettings(dataset="made_up", form="word", segment_length=7)
    assert settings.predicts_future
    task = LanguageModel(settings)
    assert task.carries_state
    assert task.symbols == task.classes == VOCABULARY


def test_evaluation_leaves_the_model_as_it_was(text):
    model = make_model(RUM(VOCABULARY, 8, zoneout=0.5), dtype=torch.float32)
    for training in (True, False):
        model.train(training)
        values = [
            evaluate(
                model,
                LanguageModel(LanguageModelSettings(dataset="made_up", form="word", segment_length=7)),
                "valid",
                None,
                1,
                seed=1,
            ).nll
            for _ in range(2)
        ]
        assert values[0] == values[1]
        assert model.training == training
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize(("dataset", "form"), [("ptb", "word"), ("enwik8", "bytes"), ("wikitext2", "char")])
def test_texts_that_do_not_say_where_documents_begin_are_not_reset_there(dataset, form):
    described = {"dataset": dataset, "form": form, "segment_length": 5}
    with pytest.raises(
        ValidationError, match=r"set reset_at_documents to false, or .* wikitext2 or wikitext103"
    ):
        LanguageModelSettings(**described, reset_at_documents=True)
    assert not LanguageModelSettings(**described).reset_at_documents
    assert LanguageModelSettings(
        dataset="wikitext103", form="word", segment_length=5, reset_at_documents=True
    )


def test_missing_data_names_the_command_that_gets_it():
    with pytest.raises(DataError, match="rmem fetch ptb"):
        LanguageModel(LanguageModelSettings(dataset="ptb", form="char", segment_length=5))
