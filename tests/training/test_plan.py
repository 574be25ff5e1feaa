"""A plan counts what a run needs, without its memory and without its data."""

import pytest
import torch
from rmem_cli.data_scripts.dataset import dataset, dataset_names

from rmem_cli.data import known_sizes
from rmem_cli.data.prepared import open_prepared, sizes_suffice
from rmem_cli.errors import DataError
from rmem_cli.recipe import load_recipe
from rmem_cli.training import plan
from rmem_cli.training.loop import build_task, build_task_model
from rmem_cli.training.plan import plan_of

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _known_machine(monkeypatch):
    """A machine of a thousand million operations a second, and a microsecond a call."""
    monkeypatch.setattr(plan, "_product_rate", lambda device: 1e9)
    monkeypatch.setattr(plan, "_call_seconds", lambda device: 1e-6)


def planned(name, row, *overrides, scale="paper"):
    (spec,) = load_recipe(name).runs(scale, [row], [1], list(overrides))
    with sizes_suffice():
        return plan_of(spec, CPU)


def test_weights_are_counted_as_the_model_has_them():
    (spec,) = load_recipe("ur_copy").runs("paper", ["ur_lstm"], [1], [])
    model = build_task_model(spec.settings, build_task(spec.settings))
    assert planned("ur_copy", "ur_lstm").parameters == model.parameter_count()


def test_time_is_that_of_the_products_of_a_step_at_half_the_rate():
    hidden, batch, steps, sequence = 256, 10, 10_000, 480 + 20
    # Forward and two gradients; one-hot inputs need none of their own.
    flops = sequence * batch * 4 * hidden * (6 * hidden + 4 * 10)
    seconds = planned("ur_copy", "ur_lstm").seconds
    assert seconds == pytest.approx(steps * flops / 0.5e9, rel=0.05)


def test_time_is_proportional_to_steps_and_memory_is_not():
    once = planned("ur_copy", "ur_lstm")
    twice = planned("ur_copy", "ur_lstm", "train.steps=20000")
    assert twice.seconds == pytest.approx(2 * once.seconds)
    assert twice.memory_mb == once.memory_mb


def test_back_propagation_through_more_steps_keeps_more():
    assert (
        planned("ur_copy", "lstm", "task.length=960").memory_mb > 1.8 * planned("ur_copy", "lstm").memory_mb
    )


def test_a_set_that_is_not_here_opens_in_its_size_for_a_plan_alone():
    with pytest.raises(DataError):
        open_prepared("wikitext103", "word")
    with sizes_suffice():
        text = open_prepared("wikitext103", "word")
    assert len(text.vocabulary) == 267_735
    assert len(text.tokens("train")) == 103_227_021
    assert text.data_hash == known_sizes.UNPREPARED


@pytest.mark.parametrize("name", dataset_names())
def test_known_sizes_are_those_that_a_preparation_must_give(name):
    for form in dataset(name).forms:
        known = known_sizes.unwritten(name, form.name)
        if known is None or form.expected is None:
            continue
        assert len(known.vocabulary) == form.expected.distinct
        common = known.meta["counts"].keys() & form.expected.counts.keys()
        assert {split: known.meta["counts"][split] for split in common} == {
            split: form.expected.counts[split] for split in common
        }
