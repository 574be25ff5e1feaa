"""A component may hold components: settings inside settings, with their own kinds and rules."""

import sys
from types import SimpleNamespace
from typing import ClassVar, Literal

import pytest

from rmem_cli.models.cores.base import Core as CoreModule
from rmem_cli.models.cores.layered_config import LayeredSettings
from rmem_cli.recipe.kinds import Core
from rmem_cli.recipe.problems import RecipeError
from rmem_cli.recipe.reader import read_recipe
from rmem_cli.recipe.registry import CORES, build

TEXT = """\
name: made_up
title: A made-up experiment
paper: null
task: {kind: associative_recall, length: 4}
model:
  core:
    kind: chained
    hidden_size: 4
    lower: {kind: rum, hidden_size: 6}
    upper: {kind: lstm, hidden_size: 4, layers: 2}
optimizer: {kind: adam, lr: 1e-3}
train: {steps: 10, batch_size: 4}
eval: [{name: test, split: test, examples: 8, metrics: [accuracy]}]
seeds: [1]
rows: [{id: one, title: One}]
"""


class ChainedSettings(LayeredSettings):
    implementation: ClassVar[str] = "chained_for_tests:Chained"

    kind: Literal["chained"] = "chained"
    lower: Core
    upper: Core | None = None


class Chained(CoreModule):
    def __init__(self, input_size, settings):
        super().__init__()
        self.input_size, self.output_size = input_size, settings.upper.output_size
        self.lower = build(settings.lower, input_size)
        self.upper = build(settings.upper, self.lower.output_size)

    def initial_state(self, batch, *, device=None, dtype=None):
        parts = {"lower": self.lower, "upper": self.upper}
        return {
            f"{part}.{name}": value
            for part, core in parts.items()
            for name, value in core.initial_state(batch, device=device, dtype=dtype).items()
        }

    def forward(self, x, state=None, lengths=None):
        pytest.fail("this core is built, and never run")


@pytest.fixture
def read(monkeypatch):
    module = SimpleNamespace(ChainedSettings=ChainedSettings, Chained=Chained)
    monkeypatch.setitem(sys.modules, "chained_for_tests", module)
    monkeypatch.setitem(CORES._entries, "chained", "chained_for_tests:ChainedSettings")
    return lambda text=TEXT: read_recipe(text.encode(), "made_up.yaml", "made_up")


def core(recipe, *sets):
    return recipe.runs(overrides=sets)[0].settings.model.core


def test_each_part_has_the_settings_of_its_kind_and_is_built_from_them(read):
    settings = core(read())
    assert (settings.lower.kind, settings.upper.layers) == ("rum", 2)
    made = build(settings, 5)
    assert (made.lower.input_size, made.upper.input_size, made.output_size) == (5, 6, 4)
    assert made.initial_state(3)["lower.hidden.0"].shape == (3, 6)


def test_a_part_is_changed_by_its_path_and_another_kind_keeps_what_is_common(read):
    settings = core(read(), "model.core.upper.kind=gru", "model.core.lower.eta=1.0")
    assert (settings.upper.kind, settings.upper.hidden_size, settings.upper.layers) == ("gru", 4, 2)
    assert settings.lower.eta == 1.0
    assert core(read(), "model.core.upper=null").upper is None


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("kind: rum, hidden_size: 6", "kind: rmu, hidden_size: 6", "unknown core 'rmu'; did you mean 'rum'?"),
        ("kind: rum, hidden_size: 6", "hidden_size: 6", "its kind is missing; there are: rnn, lstm"),
        ("kind: rum, hidden_size: 6", "kind: rum, hidden_size: -6", "must be greater than 0, not -6"),
        (
            "kind: rum, hidden_size: 6",
            "kind: rum, hiden_size: 6",
            "lower.hiden_size: unknown key; did you mean 'hidden_size'?",
        ),
        (
            "kind: rum, hidden_size: 6",
            "kind: gated_lstm, hidden_size: 6, gate: CR",
            "gate CR needs chrono_length",
        ),
    ],
)
def test_what_is_wrong_with_a_part_is_told_at_its_place(read, old, new, message):
    with pytest.raises(RecipeError) as caught:
        read(TEXT.replace(old, new))
    told = [line for line in str(caught.value).splitlines() if message in line]
    assert len(told) == 1, caught.value
    assert told[0].startswith("made_up.yaml:9:")
    assert "model.core.lower" in told[0]


@pytest.mark.parametrize(
    ("cell", "override", "message"),
    [
        ("goru, hidden_size: 6, capacity: 1", "published_last_unit=true", "is a fault of the second layer"),
        ("goru, hidden_size: 6, published_last_unit: true", "hidden_size=7", "needs an even hidden_size"),
        ("gated_lstm, hidden_size: 6", "gate=CR", "gate CR needs chrono_length"),
    ],
)
def test_a_rule_that_an_override_breaks_inside_of_a_part_is_told_with_the_override(
    read, cell, override, message
):
    recipe = read(TEXT.replace("kind: rum, hidden_size: 6", f"kind: {cell}"))
    with pytest.raises(RecipeError) as caught:
        recipe.runs(overrides=[f"model.core.lower.{override}"])
    (told,) = (line for line in str(caught.value).splitlines() if message in line)
    assert told.startswith(f"--set model.core.lower.{override}: model.core.lower: ")


def test_of_several_overrides_the_one_that_the_message_names_is_blamed(read):
    sets = ["train.steps=5", "train.accumulate=9", "train.batch_size=4"]
    with pytest.raises(RecipeError, match=r"^--set train\.accumulate=9: train: accumulate is 9"):
        read().runs(overrides=sets)


def test_its_parts_are_part_of_what_a_run_is_but_not_their_defaults(read):
    run, same, other = (
        read(text).runs()[0].train_hash("")
        for text in (
            TEXT,
            TEXT.replace("kind: rum, hidden_size: 6", "kind: rum, hidden_size: 6, zoneout: 0.0"),
            TEXT.replace("kind: rum, hidden_size: 6", "kind: rum, hidden_size: 6, zoneout: 0.1"),
        )
    )
    assert run == same != other
