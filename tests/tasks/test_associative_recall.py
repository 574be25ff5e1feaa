"""Associative recall in the form of the RUM papers."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from rmem_cli.tasks.associative_recall import AssociativeRecall
from rmem_cli.tasks.memory_config import AssociativeRecallSettings


@given(pairs=st.integers(1, 30), seed=st.integers(0, 99))
def test_the_target_is_the_digit_that_followed_the_key_asked_for(pairs, seed):
    batch = AssociativeRecall(AssociativeRecallSettings(length=2 * pairs)).make(3, seed, "valid", 1)
    for row in range(3):
        tokens = batch.inputs[row].tolist()
        keys, digits = tokens[0 : 2 * pairs : 2], tokens[1 : 2 * pairs : 2]
        assert sorted(keys) == list(range(1, pairs + 1))
        assert all(pairs < digit <= pairs + 10 for digit in digits)
        assert tokens[-3:-1] == [0, 0]
        assert batch.targets[row, -1] == digits[keys.index(tokens[-1])] - pairs - 1
    assert batch.weight.sum(1).tolist() == [1, 1, 1]
    assert (batch.weight[:, -1] == 1).all()


def test_the_paper_s_sizes():
    task = AssociativeRecall(AssociativeRecallSettings(length=50))
    assert (task.symbols, task.classes, task.make(2, 0, "train", 0).inputs.shape[1]) == (36, 10, 53)


def test_every_digit_and_every_position_is_equally_likely():
    batch = AssociativeRecall(AssociativeRecallSettings(length=8)).make(20_000, 0, "train", 0)
    answers = batch.targets[:, -1].bincount(minlength=10) / 20_000
    assert (answers - 0.1).abs().max() < 0.01
    asked = (batch.inputs[:, 0:8:2] == batch.inputs[:, -1:]).float().mean(0)
    assert (asked - 0.25).abs().max() < 0.015


def test_examples_are_a_function_of_seed_split_and_step():
    task = AssociativeRecall(AssociativeRecallSettings(length=10))
    same = task.make(4, 1, "train", 7)
    assert torch.equal(task.make(4, 1, "train", 7).inputs, same.inputs)
    for seed, split, step in ((2, "train", 7), (1, "test", 7), (1, "train", 8)):
        assert not torch.equal(task.make(4, seed, split, step).inputs, same.inputs)
