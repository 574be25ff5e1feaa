"""The copying memory task in the form of the RUM papers."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rmem_cli.tasks.copying_memory import CopyingMemory
from rmem_cli.tasks.memory_config import CopyingMemorySettings


@given(
    length=st.integers(1, 30), symbols=st.integers(1, 12), alphabet=st.integers(1, 9), seed=st.integers(0, 99)
)
def test_the_symbols_come_back_after_the_marker(length, symbols, alphabet, seed):
    batch = CopyingMemory(CopyingMemorySettings(length=length, symbols=symbols, alphabet=alphabet)).make(
        3, seed, "train", 0
    )
    assert batch.inputs.shape == batch.targets.shape == batch.weight.shape == (3, length + 2 * symbols)
    copied = batch.inputs[:, :symbols]
    assert torch.equal(batch.targets[:, -symbols:], copied)
    assert copied.min() >= 1
    assert copied.max() <= alphabet
    assert (batch.inputs[:, symbols:] == alphabet + 1).sum(1).tolist() == [1, 1, 1]
    assert (batch.inputs[:, symbols + length - 1] == alphabet + 1).all()
    assert (batch.targets[:, :-symbols] == 0).all()
    assert (batch.weight == 1).all()
    assert batch.answer.sum() == 3 * symbols


def test_the_paper_s_sizes():
    task = CopyingMemory(CopyingMemorySettings(length=500))
    batch = task.make(2, 0, "train", 0)
    assert (task.symbols, task.classes, batch.inputs.shape[1]) == (10, 9, 520)


@pytest.mark.parametrize(("length", "loss"), [(500, 0.0399893), (200, 0.0945201)])
def test_chance_is_the_published_baseline(length, loss):
    chance = CopyingMemorySettings(length=length).chance("test")
    assert chance["loss"] == pytest.approx(loss, abs=1e-7)
    assert chance["loss"] == 10 * math.log(8) / (length + 20)


def test_examples_are_a_function_of_seed_split_and_step():
    task = CopyingMemory(CopyingMemorySettings(length=5))
    same = task.make(4, 1, "train", 7)
    assert torch.equal(task.make(4, 1, "train", 7).inputs, same.inputs)
    for seed, split, step in ((2, "train", 7), (1, "test", 7), (1, "train", 8)):
        assert not torch.equal(task.make(4, seed, split, step).inputs, same.inputs)
