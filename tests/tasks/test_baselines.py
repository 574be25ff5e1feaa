"""What is reached on a task without the ability that it asks for."""

import math
from collections import Counter
from itertools import product

import pytest

from rmem_cli.tasks.associative_recall import AssociativeRecall
from rmem_cli.tasks.associative_retrieval import AssociativeRetrieval
from rmem_cli.tasks.baselines import OCCURRED, expected_largest_count
from rmem_cli.tasks.config import (
    AssociativeRecallSettings,
    AssociativeRetrievalSettings,
    CopyingMemorySettings,
    CopyLastTenSettings,
)


@pytest.mark.parametrize(("draws", "values"), [(1, 4), (3, 2), (4, 3), (5, 4)])
def test_the_expected_largest_count_is_that_of_all_sequences(draws, values):
    counts = [max(Counter(drawn).values()) for drawn in product(range(values), repeat=draws)]
    assert expected_largest_count(draws, values) == pytest.approx(sum(counts) / len(counts), rel=1e-12)


@pytest.mark.parametrize(("length", "known"), [(10, 0.3576), (30, 0.2411), (50, 0.2068)])
def test_naming_the_most_frequent_digit_scores_what_the_baseline_says(length, known):
    baseline = AssociativeRecallSettings(length=length).baselines("test")[OCCURRED]["accuracy"]
    assert baseline == pytest.approx(known, abs=5e-5)
    batch = AssociativeRecall(AssociativeRecallSettings(length=length)).make(20_000, 1, "test", 0)
    digits = batch.inputs[:, 1:length:2] - 1 - length // 2
    guesses = digits.mode(dim=1).values
    assert float((guesses == batch.targets[:, -1]).float().mean()) == pytest.approx(baseline, abs=0.012)


def test_values_of_retrieval_differ_so_that_knowing_them_leaves_a_guess_among_them():
    known = AssociativeRetrievalSettings(pairs=4).baselines("test")[OCCURRED]
    assert known == {"accuracy": 0.25, "exact_match": 0.25, "loss": math.log(4)}
    batch = AssociativeRetrieval(AssociativeRetrievalSettings(pairs=4)).training_batch(0, 500, seed=1)
    values = batch.inputs[:, 1:8:2].sort(dim=1).values
    assert bool((values[:, 1:] != values[:, :-1]).all())


def test_the_loss_of_copying_rests_a_tenth_lower_for_every_symbol_that_is_kept():
    ur = CopyLastTenSettings(length=500).plateaus()
    assert f"{0.9 * math.log(8):.4f}, {0.8 * math.log(8):.4f}" in ur
    assert f"{0.8 * math.log(8):.4f}" == "1.6636"
    rum = CopyingMemorySettings(length=200).plateaus()
    assert f"{9 * math.log(8) / 220:.4f}, " in rum
