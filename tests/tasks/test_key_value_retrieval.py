"""Associative retrieval in the form of the ARMT paper: remember, and rewrite."""

from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import nn

from rmem_cli.evaluation.evaluate import evaluate
from rmem_cli.models.model import Model, StepResult
from rmem_cli.tasks.baselines import OCCURRED, OCCURRED_WHEN
from rmem_cli.tasks.key_value_config import KeyValueRetrievalSettings
from rmem_cli.tasks.key_value_retrieval import ASK, END, SEPARATOR, KeyValueRetrieval

SPELLED = "0123456789abcdef:?."
REWRITE = pytest.mark.parametrize("rewrite", [False, True])


def build(**fields):
    return KeyValueRetrieval(KeyValueRetrievalSettings(**fields))


def spelled(symbols):
    return "".join(SPELLED[symbol] for symbol in symbols)


def pairs_of(row, settings, *, asks=True):
    """Key and value of each pair of a row, the last of which is asked for if the row is whole."""
    length, key = settings.pair_length, settings.key_size
    pairs = [row[start : start + length] for start in range(0, len(row), length)]
    marks = [SEPARATOR] * (len(pairs) - asks) + [ASK] * asks
    assert [(pair[key], pair[-1]) for pair in pairs] == [(mark, END) for mark in marks]
    return [(tuple(pair[:key]), tuple(pair[key + 1 : -1])) for pair in pairs]


def whole_rows(batch):
    return torch.cat([batch.inputs, batch.targets[:, -1:]], 1).tolist()


class ByLookup(Model):
    """Keeps the last value of each key and gives it, or gives the value that most likely counts of all."""

    segment_length = None
    causal = True
    stepwise = True

    def __init__(self, settings, *, knows_keys=True):
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(()))
        self.settings = settings
        self.knows_keys = knows_keys

    def initial_state(self, rows, *, device=None, dtype=None):
        return {}

    def outputs(self, batch, state):
        told = self.settings.pairs * self.settings.pair_length
        answers = torch.zeros_like(batch.inputs)
        for row, symbols in enumerate(batch.inputs.tolist()):
            pairs = pairs_of(symbols[:told], self.settings, asks=False)
            asked = tuple(symbols[told : told + self.settings.key_size])
            named = dict(pairs)[asked] if self.knows_keys else self.likeliest(pairs)
            due = answers[row, told + self.settings.key_size :]
            due[:] = torch.tensor([*named, END])[: len(due)]
        return nn.functional.one_hot(answers, END + 1).float(), {}

    def likeliest(self, pairs):
        weights = Counter()
        for later, (_, value) in enumerate(reversed(pairs)):
            weights[value] += (1 - 1 / self.settings.keys) ** later if self.settings.rewrite else 1
        return weights.most_common(1)[0][0]

    def step(self, batch, state):
        outputs, state = self.outputs(batch, state)
        return StepResult(batch.weight, batch.weight, outputs, state)

    def logits(self, outputs):
        return outputs


@pytest.mark.parametrize(
    ("fields", "rows"),
    [
        ({"pairs": 3}, ["2:8.f:e.7:3.2?8.", "3:a.e:f.6:b.e?f."]),
        ({"pairs": 5, "rewrite": True}, ["e:e.8:6.8:1.c:6.c:5.c?5.", "1:1.2:7.d:f.0:3.5:5.2?7."]),
        ({"pairs": 2, "key_size": 2, "value_size": 3}, ["ea:998.6a:ae9.6a?ae9.", "ca:281.96:9f6.96?9f6."]),
    ],
)
def test_examples_are_these(fields, rows):
    batch = build(**fields).make(len(rows), 1, "test", 0)
    assert [spelled(row) for row in whole_rows(batch)] == rows


@given(
    pairs=st.integers(1, 16),
    rewrite=st.booleans(),
    key_size=st.integers(1, 3),
    value_size=st.integers(1, 3),
    seed=st.integers(0, 99),
)
def test_the_answer_is_the_last_value_of_the_key_asked_for(pairs, rewrite, key_size, value_size, seed):
    task = build(pairs=pairs, rewrite=rewrite, key_size=key_size, value_size=value_size)
    batch = task.training_batch(2, 4, seed)
    for row in whole_rows(batch):
        *told, (asked, answer) = pairs_of(row, task.settings)
        assert len(told) == pairs
        assert dict(told)[asked] == answer
        assert rewrite or len(dict(told)) == pairs
    assert batch.weight.sum(1).tolist() == [value_size + 1] * 4
    assert bool((batch.weight[:, -value_size - 1 :] == 1).all())
    assert batch.answer.sum(1).tolist() == [value_size] * 4


def test_to_rewrite_keys_come_again_and_each_that_occurred_is_asked_for_as_often():
    task = build(pairs=8, rewrite=True)
    rows = [pairs_of(row, task.settings) for row in whole_rows(task.make(20_000, 1, "test", 0))]
    different = [len(dict(told[:-1])) for told in rows]
    expected = 16 * (1 - (15 / 16) ** 8)
    assert sum(different) / len(rows) == pytest.approx(expected, rel=0.01)
    # The last pair is the last of its key always: it is asked for as often as one of the keys that occurred.
    last = [told[-1][0] == told[-2][0] for told in rows]
    wanted = sum(1 / count for count in different) / len(rows)
    assert sum(last) / len(rows) == pytest.approx(wanted, abs=0.01)


@REWRITE
def test_an_oracle_is_always_right_and_keeps_all_pairs(rewrite):
    task = build(pairs=9, rewrite=rewrite, value_size=2)
    for feed in ("truth", "predictions"):
        totals = evaluate(ByLookup(task.settings), task, "test", 20, 7, 1, feed, drawn="by_number")
        measured = {name: totals.metric(name) for name in ("exact_match", "accuracy", "pairs_kept")}
        assert measured == {"exact_match": 1, "accuracy": 1, "pairs_kept": 9}


@REWRITE
def test_naming_the_likeliest_value_scores_what_the_baseline_says(rewrite):
    task = build(pairs=6, rewrite=rewrite)
    known = task.settings.baselines("test")[OCCURRED_WHEN if rewrite else OCCURRED]
    totals = evaluate(ByLookup(task.settings, knows_keys=False), task, "test", 4000, 500, 1)
    for name, value in known.items():
        assert totals.metric(name) == pytest.approx(value, abs=0.02 * (6 if name == "pairs_kept" else 1))


def test_chance_is_one_of_all_values_and_an_end_that_is_known():
    chance = KeyValueRetrievalSettings(pairs=10, value_size=2, key_size=2).chance("test")
    assert chance["exact_match"] == 1 / 256
    assert chance["pairs_kept"] == 10 / 256
    assert chance["accuracy"] == 1 / 16
    assert chance["loss"] == pytest.approx(torch.tensor(256.0).log().item() / 3)


def test_values_are_equally_likely_and_independent_of_their_keys():
    task = build(pairs=4)
    rows = [pairs_of(row, task.settings) for row in whole_rows(task.make(8_000, 3, "train", 0))]
    values = Counter(value for told in rows for _, (value,) in told[:-1])
    assert max(abs(count / 32_000 - 1 / 16) for count in values.values()) < 0.006
    same = sum(value == key for told in rows for (key,), (value,) in told[:-1]) / 32_000
    assert same == pytest.approx(1 / 16, abs=0.006)


def test_training_batches_may_have_fewer_pairs_and_evaluations_have_all():
    task = build(pairs=5, vary_pairs=True)
    lengths = Counter((task.training_batch(step, 2, 1).inputs.shape[1] + 1) // 4 - 1 for step in range(300))
    assert set(lengths) == {1, 2, 3, 4, 5}
    assert min(lengths.values()) > 35
    fixed = build(pairs=5)
    for one, other in zip(
        task.evaluation_batches("test", 6, 3, 1), fixed.evaluation_batches("test", 6, 3, 1), strict=True
    ):
        assert torch.equal(one.inputs, other.inputs)


def test_more_different_keys_than_there_are_is_refused():
    with pytest.raises(
        ValidationError, match=r"pairs is 17, and there are 16 .* lower pairs, raise key_size"
    ):
        KeyValueRetrievalSettings(pairs=17)
    assert KeyValueRetrievalSettings(pairs=17, rewrite=True).keys == 16
