"""A training set that is read in passes: every example once in each, whatever the batch size."""

from collections import Counter

import pytest
import torch

from rmem_cli.tasks.associative_recall import AssociativeRecall
from rmem_cli.tasks.memory_config import AssociativeRecallSettings
from rmem_cli.tasks.training_set import TrainingSet


def numbers(size):
    return TrainingSet(size, lambda seed: torch.arange(size) + 1000 * seed)


@pytest.mark.parametrize("batch_size", [1, 3, 5, 7, 10, 23])
def test_every_pass_reads_every_example_once(batch_size):
    read = torch.cat([numbers(10).batch(step, batch_size, 1) for step in range(40)]) - 1000
    for start in range(0, len(read) // 10 * 10, 10):
        assert sorted(read[start : start + 10].tolist()) == list(range(10))


def test_passes_have_orders_of_their_own():
    orders = {tuple(numbers(10).batch(step, 10, 1).tolist()) for step in range(5)}
    assert len(orders) == 5


def test_a_batch_depends_on_seed_and_step_alone():
    one, other = numbers(10), numbers(10)
    later = one.batch(7, 4, 2)
    for step in range(7):
        one.batch(step, 4, 2)
        one.batch(step, 4, 3)
    assert one.batch(7, 4, 2).equal(later)
    assert other.batch(7, 4, 2).equal(later)
    assert not one.batch(7, 4, 3).equal(later)


def test_lists_of_examples_are_read_likewise():
    letters = TrainingSet(3, lambda seed: ["a", "b", "c"])
    assert Counter(letters.batch(0, 6, 1)) == {"a": 2, "b": 2, "c": 2}


@pytest.mark.parametrize("batch_size", [3, 8, 9])
def test_an_evaluation_of_the_split_train_is_of_the_training_set(batch_size):
    task = AssociativeRecall(AssociativeRecallSettings(length=6, training_examples=8))
    trained = Counter(map(tuple, task.training_batch(0, 8, seed=1).inputs.tolist()))
    for drawn in ("by_batch", "by_number"):
        batches = list(task.evaluation_batches("train", 50, batch_size, 1, drawn))
        rows = torch.cat([batch.inputs for batch in batches])
        assert Counter(map(tuple, rows.tolist())) == trained  # each once, though 50 were asked for
        first = torch.cat(
            [batch.inputs for batch in task.evaluation_batches("train", 5, batch_size, 1, drawn)]
        )
        assert first.equal(rows[:5])


def test_recall_from_a_training_set_repeats_it_and_evaluates_other_examples():
    task = AssociativeRecall(AssociativeRecallSettings(length=6, training_examples=8))
    passes = [task.training_batch(step, 8, seed=1) for step in range(3)]
    rows = [{tuple(row) for row in batch.inputs.tolist()} for batch in passes]
    assert rows[0] == rows[1] == rows[2]
    anew = AssociativeRecall(AssociativeRecallSettings(length=6))
    assert anew.training_batch(0, 8, 1).inputs.equal(
        AssociativeRecall(AssociativeRecallSettings(length=6)).training_batch(0, 8, 1).inputs
    )
    tested, usual = (next(iter(each.evaluation_batches("test", 8, 8, 1))) for each in (task, anew))
    assert tested.inputs.equal(usual.inputs)
