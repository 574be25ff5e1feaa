"""The adding task, and with it real-valued inputs and targets."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rmem_cli.evaluation.evaluate import evaluate
from rmem_cli.models.cores.recurrent_config import LSTMSettings
from rmem_cli.models.sequence import build_model
from rmem_cli.recipe.schema import ModelSettings
from rmem_cli.tasks.adding import Adding
from rmem_cli.tasks.memory_config import AddingSettings


@given(length=st.integers(2, 30), seed=st.integers(0, 99))
def test_the_target_is_the_sum_of_the_marked_values(length, seed):
    batch = Adding(AddingSettings(length=length)).make(4, seed, "train", 0)
    assert batch.inputs.shape == (4, length, 2)
    values, markers = batch.inputs.unbind(-1)
    assert values.min() >= 0
    assert values.max() < 1
    assert set(markers.unique().tolist()) <= {0.0, 1.0}
    torch.testing.assert_close(batch.targets[:, -1], (values * markers).sum(1))
    assert (batch.weight[:, -1] == 1).all()
    assert batch.weight.sum() == 4


@given(length=st.integers(2, 30), seed=st.integers(0, 99))
def test_one_step_of_each_half_is_marked(length, seed):
    markers = Adding(AddingSettings(length=length)).make(8, seed, "train", 0).inputs[..., 1]
    assert (markers[:, : length // 2].sum(1) == 1).all()
    assert (markers[:, length // 2 :].sum(1) == 1).all()


def test_every_step_of_a_half_is_equally_likely_to_be_marked():
    markers = Adding(AddingSettings(length=10)).make(20_000, 0, "train", 0).inputs[..., 1]
    assert (markers.mean(0) - 0.2).abs().max() < 0.015


def test_examples_are_a_function_of_seed_split_and_step():
    task = Adding(AddingSettings(length=10))
    same = task.make(4, 1, "train", 7)
    assert torch.equal(task.make(4, 1, "train", 7).inputs, same.inputs)
    for seed, split, step in ((2, "train", 7), (1, "test", 7), (1, "train", 8)):
        assert not torch.equal(task.make(4, seed, split, step).inputs, same.inputs)


def test_a_model_that_always_says_one_is_at_the_known_plateau():
    settings = AddingSettings(length=10)
    model = build_model(
        ModelSettings(core=LSTMSettings(hidden_size=4)), 2, 1, settings.encoder, settings.head
    )
    torch.nn.init.zeros_(model.head.linear.weight)
    torch.nn.init.ones_(model.head.linear.bias)
    totals = evaluate(model, Adding(AddingSettings(length=10)), "test", 20_000, 2000, seed=1)
    assert settings.chance("test") == {"mse": 1 / 6}
    assert totals.metric("mse") == pytest.approx(1 / 6, abs=0.004)
    assert (totals.examples, totals.answers) == (20_000, 0)


def test_a_model_in_double_precision_reads_the_features_in_double_precision():
    settings = AddingSettings(length=5)
    model = build_model(
        ModelSettings(core=LSTMSettings(hidden_size=4)), 2, 1, settings.encoder, settings.head
    )
    batch = Adding(AddingSettings(length=5)).make(2, 0, "train", 0).to(torch.device("cpu"), torch.float64)
    assert model.double().step(batch, None).nll_sum.dtype == torch.float64
