"""What is reached on a task without the ability that it asks for."""

import math
import time
from collections import Counter
from itertools import product

import numpy as np
import pytest
import torch

from rmem_cli.tasks.algorithmic_config import AssociativeRetrievalSettings
from rmem_cli.tasks.associative_recall import AssociativeRecall
from rmem_cli.tasks.associative_retrieval import AssociativeRetrieval
from rmem_cli.tasks.baselines import OCCURRED, expected_largest_count, share_of_late_values
from rmem_cli.tasks.memory_config import AssociativeRecallSettings, CopyingMemorySettings, CopyLastTenSettings


@pytest.mark.parametrize(("draws", "values"), [(1, 4), (3, 2), (4, 3), (5, 4)])
def test_the_expected_largest_count_is_that_of_all_sequences(draws, values):
    counts = [max(Counter(drawn).values()) for drawn in product(range(values), repeat=draws)]
    assert expected_largest_count(draws, values) == pytest.approx(sum(counts) / len(counts), rel=1e-12)


@pytest.mark.parametrize("draws", [25, 137])
def test_the_expected_largest_count_is_that_of_exact_shares(draws):
    """Of all sequences, the share in which no digit occurs more often than a limit, in whole numbers."""

    def sequences(limit):
        counts = [1] + [0] * draws
        for _ in range(10):
            counts = [
                sum(math.comb(n, k) * counts[n - k] for k in range(min(n, limit) + 1))
                for n in range(draws + 1)
            ]
        return counts[draws]

    limits = range(draws) if draws < 50 else range(50)
    exact = math.fsum(1 - sequences(limit) / 10**draws for limit in limits)
    assert expected_largest_count(draws, 10) == pytest.approx(exact, rel=1e-9)


@pytest.mark.parametrize(
    ("draws", "values"),
    [(200, 4096), (5_000, 256), (5_001, 16), (5_001, 1_000), (6_000, 65_536), (70_000, 7)],
)
def test_the_expected_largest_count_is_that_of_draws(draws, values):
    random = np.random.default_rng(1)
    largest = [np.bincount(random.integers(values, size=draws)).max() for _ in range(1_000)]
    deviation = np.std(largest, ddof=1) / len(largest) ** 0.5
    assert expected_largest_count(draws, values) == pytest.approx(np.mean(largest), abs=4 * deviation + 1e-3)


def test_the_expected_largest_count_of_very_many_draws_is_known_soon():
    started = time.thread_time()
    known = [expected_largest_count(draws, 10) for draws in (5_000, 5_001, 99_999, 100_001, 10**17)]
    assert time.thread_time() - started < 3  # the exact shares of 5,000 draws took minutes
    assert known[1] == pytest.approx(known[0], rel=1e-3)
    assert known[3] == pytest.approx(known[2], rel=1e-3)
    assert expected_largest_count(3, 16**4) == pytest.approx(1.0000458, abs=1e-7)  # two of three alike
    counts = torch.from_numpy(np.random.default_rng(1).multinomial(5_000, [0.1] * 10, size=40_000))
    assert known[0] == pytest.approx(float(counts.max(1).values.float().mean()), rel=1e-3)
    assert known[-1] == pytest.approx(10**16, rel=1e-6)


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


def test_where_a_loss_rests_of_very_many_symbols_is_told_of_the_first():
    many = CopyingMemorySettings(length=200, symbols=10**9).plateaus()
    assert many.startswith("a loss rests where some of the 1000000000 symbols are kept: from one on, ")
    assert many.endswith(", and so on")
    assert len(many) < 300
    few = [CopyingMemorySettings(length=200, symbols=symbols).plateaus() for symbols in (21, 22)]
    assert [text.count(", ") for text in few] == [20, 21]
    assert [text.endswith("and so on") for text in few] == [False, True]


@pytest.mark.parametrize(("pairs", "keys", "values"), [(20, 16, 16), (50, 16, 16), (7, 4, 100)])
def test_late_values_are_named_by_how_likely_they_still_count(pairs, keys, values):
    """Against the answers of whole series, whose keys and values are drawn one by one."""
    random = np.random.default_rng(7)
    right = 0
    for _ in range(6_000):
        told, weights = {}, Counter()
        for place in range(pairs):
            key, value = random.integers(keys), int(random.integers(values))
            told[key] = value
            weights[value] += (1 - 1 / keys) ** (pairs - 1 - place)
        right += weights.most_common(1)[0][0] == told[random.choice(list(told))]
    share = right / 6_000
    deviation = (share * (1 - share) / 6_000) ** 0.5
    assert share_of_late_values(pairs, keys, values) == pytest.approx(share, abs=4 * deviation)


@pytest.mark.parametrize(("keys", "values"), [(16, 16), (3, 2), (64, 5)])
def test_of_two_pairs_the_later_value_is_named_unless_both_are_one(keys, values):
    share = 1 / keys + (1 - 1 / keys) * (1 / values + (1 - 1 / values) / 2)
    assert share_of_late_values(2, keys, values) == pytest.approx(share, abs=0.002)


def test_the_only_pair_is_known_and_ever_more_pairs_come_to_a_limit():
    assert share_of_late_values(1, 16, 16) == 1
    assert share_of_late_values(200, 16, 16) == pytest.approx(share_of_late_values(400, 16, 16), abs=0.005)
