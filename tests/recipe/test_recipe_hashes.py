"""Hashes change with the meaning of a run, and with nothing else."""

import random
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from rmem_cli.recipe import Recipe, RunSpec
from rmem_cli.recipe.reader import read_recipe

Read = Callable[[str], Recipe]
TREE: dict[str, Any] = {
    "task": {"kind": "associative_recall", "length": 50},
    "model": {"core": {"kind": "rum", "hidden_size": 50, "lambda": 1}},
    "optimizer": {"kind": "adam", "lr": 0.001},
    "train": {"steps": 1000, "batch_size": 128},
    "eval": [{"name": "test", "split": "test", "examples": 2000, "metrics": ["accuracy"]}],
}
DEFAULTS: list[tuple[str, dict[str, Any]]] = [
    ("task", {}),
    ("model", {"encoder": None, "head": None}),
    ("optimizer", {"weight_decay": 0, "beta1": 0.9, "eps": 1e-8}),
    ("schedule", {"kind": "constant", "warmup_steps": 0}),
    ("train", {"epochs": None, "loss": "mean", "backprop": {"kind": "full"}, "dtype": "float32"}),
    ("train", {"log_every": 7, "checkpoint_every": 9}),
]


def spec_of(sections: dict[str, Any], **about: Any) -> RunSpec:
    """The run of a recipe with one row, written out as YAML in the order of the mappings."""
    recipe = {
        "name": "made_up",
        "title": "Made up",
        "paper": "rum2019",
        "seeds": [1],
        "rows": [{"id": "a", "title": "A"}],
        "scales": {"smoke": {}},
        **sections,
        **about,
    }
    text = yaml.safe_dump(recipe, sort_keys=False)
    return read_recipe(text.encode(), "made_up.yaml", "made_up").runs()[0]


def hashes(spec: RunSpec) -> tuple[str, list[str]]:
    return spec.train_hash("data"), [spec.eval_hash(protocol) for protocol in spec.settings.eval]


def shuffled(value: Any, order: random.Random) -> Any:
    if isinstance(value, dict):
        keys = order.sample(list(value), len(value))
        return {key: shuffled(value[key], order) for key in keys}
    return [shuffled(item, order) for item in value] if isinstance(value, list) else value


@given(st.randoms(use_true_random=False), st.sets(st.sampled_from(range(len(DEFAULTS)))))
def test_order_of_keys_and_written_out_defaults_change_no_hash(
    order: random.Random, chosen: set[int]
) -> None:
    sections = {name: dict(value) if isinstance(value, dict) else value for name, value in TREE.items()}
    for index in chosen:
        section, fields = DEFAULTS[index]
        sections[section] = {**sections.get(section, {}), **fields}
    assert hashes(spec_of(shuffled(sections, order))) == hashes(spec_of(TREE))


def test_titles_notes_and_origins_change_no_hash() -> None:
    about = {"title": "Other", "notes": ["a note"], "origin": {"task": "a paper"}, "tolerance": 0.1}
    assert hashes(spec_of(TREE, **about)) == hashes(spec_of(TREE))


def test_comments_change_no_hash(text: str, read: Read) -> None:
    commented = text.replace("\n", "  # a comment\n")
    assert [hashes(spec) for spec in read(commented).runs()] == [hashes(spec) for spec in read(text).runs()]


@pytest.mark.parametrize(
    "override",
    [
        "task.length=52",
        "task.kind=copying_memory",
        "model.core.hidden_size=51",
        "model.core.lambda=0",
        "model.core.kind=gru",
        "model.core.update_gate=false",
        "model.encoder={kind: one_hot}",
        "model.head={kind: linear}",
        "optimizer.lr=0.002",
        "optimizer.kind=rmsprop",
        "schedule.kind=cosine",
        "schedule.warmup_steps=1",
        "train.steps=1001",
        "train.batch_size=127",
        "train.clip_norm=1",
        "train.eval_every=1",
        "train.validation={examples: 3}",
        "train.backprop={kind: truncated, segment_length: 5}",
        "train.dtype=float64",
    ],
)
def test_any_changed_value_changes_the_training_hash(override: str) -> None:
    recipe_text = yaml.safe_dump(
        {
            **TREE,
            "name": "made_up",
            "title": "t",
            "paper": "rum2019",
            "seeds": [1],
            "rows": [{"id": "a", "title": "A"}],
            "scales": {"smoke": {}},
        }
    )
    recipe = read_recipe(recipe_text.encode(), "made_up.yaml", "made_up")
    before, after = recipe.runs()[0], recipe.runs(overrides=[override])[0]
    assert before.train_hash("") != after.train_hash("")
    assert hashes(before)[1] == hashes(after)[1]


def test_the_data_changes_the_training_hash() -> None:
    spec = spec_of(TREE)
    assert spec.train_hash("a") != spec.train_hash("b")
    assert len(spec.train_hash("a")) == 12


@pytest.mark.parametrize(
    ("change", "differs"),
    [
        ({"name": "other"}, False),
        ({"batch_size": None}, False),
        ({"task": {}}, False),
        ({"task": {"length": 50}}, False),
        ({"task": {"length": 100}}, True),
        ({"core": {}}, False),
        ({"core": {"lambda": 1}}, False),
        ({"core": {"eta": 2.0}}, True),
        ({"examples": 2001}, True),
        ({"split": "valid"}, True),
        ({"metrics": ["accuracy", "loss"]}, True),
        ({"batch_size": 5}, True),
    ],
)
def test_an_evaluation_hash_covers_all_of_a_protocol_but_its_name(
    change: dict[str, Any], differs: bool
) -> None:
    changed = spec_of({**TREE, "eval": [{**TREE["eval"][0], **change}]})
    assert (hashes(changed)[1] != hashes(spec_of(TREE))[1]) == differs
    assert hashes(changed)[0] == hashes(spec_of(TREE))[0]


def test_hashes_stay_what_they_are() -> None:
    """Stored results are found by these: a change here orphans every result row there is."""
    assert hashes(spec_of(TREE)) == ("4e3c10f29d80", ["d3e30cee6c83"])
