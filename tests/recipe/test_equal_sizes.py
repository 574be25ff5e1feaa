"""Rows that a recipe calls equal in state, or in compute, are."""

import pytest
import torch

from rmem_cli.recipe import load_recipe
from rmem_cli.runs.cost import Walks, cost_of_step
from rmem_cli.runs.opened import open_run
from rmem_cli.tasks.build import open_task

ROWS_OF_A_STATE = ["armt", "rmt", "transformer_xl", "rum", "lstm"]
PLAIN = ["sliding_window", "long_context"]


def runs(recipe, scale, rows):
    """The first matrix cell of each row."""
    recipe = load_recipe(recipe)
    return [open_run(recipe.runs(scale, rows=[row], seeds=[1])[0]) for row in rows]


def model_of(run):
    with torch.device("meta"):
        return run.new_model()


def carried_numbers(run):
    """What the core of a run carries from one segment to the next; what only counts is no number of it."""
    state = model_of(run).initial_state(1, device=torch.device("meta"))
    return sum(value.numel() for value in state.values() if value.is_floating_point())


def operations(run):
    """Floating-point operations of a training step for each of two examples of full length."""
    settings = run.settings
    varied = {name: False for name in ("vary_pairs", "vary_segments") if hasattr(settings.task, name)}
    task = open_task(settings.task.model_copy(update=varied))
    return cost_of_step(Walks(model_of(run)), task.training_batch(0, 2, 1), task, settings).flops / 2


@pytest.mark.parametrize("scale", ["paper", "cpu"])
@pytest.mark.parametrize("recipe", ["armt_retrieval", "armt_rewrite"])
def test_rows_of_armt_carry_as_many_numbers(recipe, scale):
    carried = [carried_numbers(run) for run in runs(recipe, scale, ROWS_OF_A_STATE)]
    assert carried[0] == {"paper": 4128, "cpu": 1056}[scale]
    assert carried == pytest.approx([carried[0]] * 5, rel=0.05)


@pytest.mark.parametrize("scale", ["paper", "cpu"])
@pytest.mark.parametrize("recipe", ["armt_retrieval", "armt_rewrite", "babilong"])
def test_plain_transformers_compute_as_much_as_armt(recipe, scale, write_made_up):
    write_made_up("babi", "en-10k-qa1")
    write_made_up("wikitext2", "word")
    armt, *plain = (operations(run) for run in runs(recipe, scale, ["armt", *PLAIN]))
    assert plain == pytest.approx([armt, armt], rel=0.1)


def test_the_published_armt_carries_forty_eight_times_as_much():
    assert [carried_numbers(run) for run in runs("armt_retrieval", "paper", ["armt_published"])] == [198_144]
