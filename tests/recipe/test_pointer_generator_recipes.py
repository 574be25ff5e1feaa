"""A recipe of a pointer generator names its parts, and is refused where others than those are named."""

import pytest

from rmem_cli.models.attention_decoder import AttentionDecoder
from rmem_cli.models.sequence import build_model
from rmem_cli.recipe.problems import RecipeError
from rmem_cli.recipe.reader import read_recipe
from rmem_cli.tasks.memory_config import CopyingMemorySettings

TRANSFORMER = "{kind: transformer_xl, layers: 1, heads: 1, hidden_size: 4, segment_length: 2}"
RECIPE = """\
name: made_up
title: A made-up experiment
paper: null
task: {kind: copying_memory, length: 3}
model:
  architecture: pointer_generator
  core: {kind: gru, hidden_size: 4}
  pointer_generator: {size: 4}
optimizer: {kind: sgd, lr: 0.1}
train: {steps: 3, batch_size: 2}
eval: [{name: test, split: test, metrics: [accuracy], examples: 2}]
seeds: [1]
rows: [{id: one, title: One}]
"""


@pytest.fixture
def about_a_source(monkeypatch):
    """Lets a task that there is stand for one with a source."""
    monkeypatch.setattr(CopyingMemorySettings, "has_source", True)


def made_up(sets):
    return read_recipe(RECIPE.encode(), "made_up.yaml", "made_up").runs(overrides=sets)


def refused(sets):
    with pytest.raises(RecipeError) as error:
        made_up(sets)
    return {problem.path: problem.message for problem in error.value.problems}


@pytest.mark.usefixtures("about_a_source")
def test_a_source_is_refused_where_nothing_reads_it():
    changes = ["model.architecture=sequence", "model.pointer_generator=null"]
    assert "set model.architecture to pointer_generator" in refused(changes)["model.architecture"]


def test_a_task_without_a_source_is_refused():
    assert "says something about a source" in refused([])["model.architecture"]


@pytest.mark.parametrize(
    ("sets", "path", "message"),
    [
        (
            ["model.encoder={kind: one_hot}"],
            "model.encoder",
            "is no part of a pointer generator; leave it out",
        ),
        (["model.input_dropout=0.1"], "model.input_dropout", "is no part of a pointer generator"),
        (["model={architecture: pointer_generator}"], "model.pointer_generator", "give at least its size"),
        (["model={architecture: pointer_generator}"], "model.core", "is missing; there are: rnn, "),
        (
            ["model.memory_network={size: 4}"],
            "model.memory_network",
            "set model.architecture to memory_network",
        ),
        (["model.architecture=sequence"], "model.pointer_generator", "set model.architecture to pointer_gen"),
        (
            ["model={core: {kind: gru, hidden_size: 4}, source_core: {kind: gru, hidden_size: 4}}"],
            "model.source_core",
            "reads the source of a pointer generator; leave it out",
        ),
        (
            ["model.source_core=" + TRANSFORMER],
            "model.source_core",
            "goes step by step; choose a recurrent core",
        ),
        (
            ["model.pointer_generator.coverage_loss=2"],
            "model.pointer_generator",
            "set coverage, or leave it out",
        ),
        (["model.pointer_generator.size=0"], "model.pointer_generator.size", "greater than 0"),
        (["model.source_core={kind: lstn}"], "model.source_core.kind", "lstm"),
    ],
)
@pytest.mark.usefixtures("about_a_source")
def test_recipes_of_other_parts_are_refused_with_place_and_cure(sets, path, message):
    assert message in refused(sets)[path]


@pytest.mark.usefixtures("about_a_source")
def test_a_recipe_names_both_cores():
    (run,) = made_up(["model.source_core={kind: rum, hidden_size: 3}"])
    assert run.settings.model.source_core.kind == "rum"
    model = build_model(run.settings.model, 7, 7)
    assert model.reader.output_size == 6
    assert isinstance(model.decoder, AttentionDecoder)
