"""The copy task in the form of the UR-LSTM paper."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rmem_cli.evaluation.evaluate import evaluate
from rmem_cli.models.config import LinearHeadSettings, OneHotSettings
from rmem_cli.models.cores.recurrent_config import LSTMSettings
from rmem_cli.models.cores.torch_rnn import LSTM
from rmem_cli.models.encoders import OneHot
from rmem_cli.models.heads import LinearHead
from rmem_cli.models.sequence import SequenceModel
from rmem_cli.tasks.copy_last_ten import CopyLastTen
from rmem_cli.tasks.copying_memory import CopyingMemory
from rmem_cli.tasks.memory_config import CopyingMemorySettings, CopyLastTenSettings


@given(length=st.integers(1, 40), seed=st.integers(0, 99))
def test_only_the_last_ten_steps_count(length, seed):
    batch = CopyLastTen(CopyLastTenSettings(length=length)).make(3, seed, "train", 0)
    assert batch.inputs.shape == (3, length + 20)
    assert (batch.weight[:, -10:] == 1).all()
    assert (batch.weight[:, :-10] == 0).all()
    assert torch.equal(batch.targets[:, -10:], batch.inputs[:, :10])
    assert batch.answer is None


@given(length=st.integers(1, 40), seed=st.integers(0, 99))
def test_the_sequences_are_those_of_the_other_form(length, seed):
    here, there = (
        task(settings(length=length)).make(2, seed, "test", 3)
        for task, settings in ((CopyLastTen, CopyLastTenSettings), (CopyingMemory, CopyingMemorySettings))
    )
    assert torch.equal(here.inputs, there.inputs)
    assert torch.equal(here.targets, there.targets)
    assert torch.equal(here.weight.bool(), there.answer)


def test_a_lag_of_480_makes_the_paper_s_sequences_of_500_steps():
    assert CopyLastTen(CopyLastTenSettings(length=480)).make(1, 0, "train", 0).inputs.shape == (1, 500)


def test_a_model_that_guesses_one_of_the_eight_symbols_is_at_chance():
    model = SequenceModel(
        OneHot(10, OneHotSettings()),
        LSTM(10, LSTMSettings(hidden_size=4)),
        LinearHead(4, 9, LinearHeadSettings()),
    )
    torch.nn.init.zeros_(model.head.linear.weight)
    with torch.no_grad():
        model.head.linear.bias.copy_(torch.tensor([-50.0] + [0.0] * 8))
    totals = evaluate(model, CopyLastTen(CopyLastTenSettings(length=5)), "test", 400, 200, seed=1)
    chance = CopyLastTenSettings(length=5).chance("test")
    assert chance == {"loss": math.log(8), "accuracy": 0.125}
    assert totals.metric("loss") == pytest.approx(chance["loss"], abs=1e-6)
    assert totals.metric("accuracy") == pytest.approx(chance["accuracy"], abs=0.02)
    assert totals.answers == 4000
