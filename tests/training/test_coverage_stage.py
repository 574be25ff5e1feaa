"""A model trained without coverage becomes one with coverage, in one run."""

import signal

import pytest
import torch

from rmem_cli.errors import InterruptedRunError
from rmem_cli.recipe import load_recipe
from rmem_cli.recipe.problems import RecipeError
from rmem_cli.records.checkpoint import load_checkpoint
from rmem_cli.runs.opened import open_run

COVERED = """\
name: covered
title: Summaries
paper: see2017
task: {kind: summarization, dataset: cnn_dailymail, vocabulary: 15, source_length: 6}
model:
  architecture: pointer_generator
  core: {kind: lstm, hidden_size: 4}
  pointer_generator: {size: 3, initial_std: 0.5, coverage: true}
optimizer: {kind: adagrad, lr: 0.15, initial_accumulator: 0.1}
train:
  steps: 6
  stages: [{steps: 4, coverage: false}]
  restart: true
  batch_size: 4
  eval_every: 2
  log_every: 1
  validation: {metric: loss}
eval:
  - {name: test, split: test, checkpoint: best, metrics: [loss, accuracy]}
seeds: [1]
rows: [{id: lstm, title: LSTM}]
scales: {smoke: {train.batch_size: 2}}
"""
WEIGHT = "decoder.coverage.weight"


@pytest.fixture
def make_spec(tmp_path, write_summaries):
    def make(*sets):
        path = tmp_path / "covered.yaml"
        path.write_text(COVERED)
        return load_recipe(str(path)).runs(overrides=sets)[0]

    write_summaries()
    return make


def stop_after(steps):
    asked = []
    return lambda: len(asked) == steps or asked.append(None) is not None


def stopped_after(lab, spec, steps):
    """The weights and all else of a run that was stopped after so many steps."""
    with pytest.raises(InterruptedRunError):
        lab.train(spec, stop_after(steps), repeat=True)
    return load_checkpoint(lab.folder(spec), "last")


def test_until_a_model_knows_coverage_its_training_is_that_of_one_without(make_spec, lab):
    """To the bit, validations included; the weights of coverage stay what they were at first."""
    spec = make_spec()
    weights, _ = stopped_after(lab, spec, 4)
    curve = lab.curve(spec)
    first = open_run(spec).seeded_model(torch.device("cpu")).state_dict()
    plain = make_spec("model.pointer_generator.coverage=false", "train.stages=[]")
    run = open_run(plain)
    original = run.seeded_model

    def same_first_weights(device, settings=None):
        model = original(device, settings)
        model.load_state_dict({name: value for name, value in first.items() if name != WEIGHT})
        return model

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(run), "seeded_model", lambda self, *others: same_first_weights(*others))
        expected, _ = stopped_after(lab, plain, 4)
    assert lab.curve(plain) == curve
    assert weights.keys() == expected.keys() | {WEIGHT}
    assert all(torch.equal(weights[name], value) for name, value in expected.items())
    assert torch.equal(weights[WEIGHT], first[WEIGHT])


def test_the_model_that_begins_to_know_coverage_says_the_same_while_its_weight_is_zero(make_spec, lab):
    spec = make_spec()
    weights, _ = stopped_after(lab, spec, 4)
    run = open_run(spec)
    model = run.seeded_model(torch.device("cpu")).eval()
    model.load_state_dict(weights)
    batch = run.task.training_batch(9, 4, seed=1)
    model.cover(False)
    before = model.step(batch, None)
    model.cover(True)
    assert not torch.equal(model.step(batch, None).outputs, before.outputs)
    with torch.no_grad():
        model.get_parameter(WEIGHT).zero_()
    after = model.step(batch, None)
    assert torch.equal(after.outputs, before.outputs)
    assert torch.equal(after.losses, before.losses)
    assert (before.auxiliary.keys(), after.auxiliary.keys()) == (set(), {"coverage"})


def test_then_coverage_is_learned_with_a_new_optimizer(make_spec, lab):
    spec = make_spec()
    lab.train(spec)
    weights, saved = load_checkpoint(lab.folder(spec), "last")
    first = open_run(spec).seeded_model(torch.device("cpu")).state_dict()
    assert not torch.equal(weights[WEIGHT], first[WEIGHT])
    assert {float(each["step"]) for each in saved["optimizer"]["state"].values()} == {2}


def test_the_best_checkpoint_is_one_of_the_model_that_knows_coverage(make_spec, lab):
    spec = make_spec("optimizer.lr=3.0")  # it gets worse from step to step
    _, saved = stopped_after(lab, spec, 4)
    assert saved["counters"]["best_step"] in (2, 4)
    lab.train(spec)
    _, saved = load_checkpoint(lab.folder(spec), "best")
    assert saved["counters"]["best_step"] == 6


@pytest.mark.parametrize("restart", ["train.restart=false", "train.restart=true"])
@pytest.mark.parametrize("steps", [3, 4, 5])
def test_a_run_stopped_before_at_or_after_the_change_ends_like_one_never_stopped(
    make_spec, lab, same, restart, steps
):
    spec = make_spec(restart)
    lab.train(spec)
    rows, curve = same(lab.rows("covered")), lab.curve(spec)
    weights, state = load_checkpoint(lab.folder(spec), "last")
    stopped_after(lab, spec, steps)
    lab.train(spec)
    assert same(lab.rows("covered")) == rows
    assert lab.curve(spec) == curve
    resumed, resumed_state = load_checkpoint(lab.folder(spec), "last")
    assert all(torch.equal(resumed[name], value) for name, value in weights.items())
    assert resumed_state["counters"]["best"] == state["counters"]["best"]


@pytest.mark.slow
def test_a_run_killed_on_both_sides_of_the_change_gives_the_rows_and_curve_of_one_never_stopped(
    make_spec, lab, same, start_rmem, wait_until, tmp_path, monkeypatch
):
    def steps_in(folder):
        curve = folder / "metrics.csv"
        return curve.read_text().count(",lr,") if curve.exists() else 0

    sets = ["train.steps=120", "train.stages=[{steps: 60, coverage: false}]", "train.checkpoint_every=7"]
    spec = make_spec(*sets)
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("RMEM_RUNS", str(tmp_path / "other-runs"))
        elsewhere.setenv("RMEM_RESULTS", str(tmp_path / "other-results"))
        lab.train(spec)
        rows, curves = same(lab.rows("covered")), lab.curves()
    arguments = [
        "train",
        str(tmp_path / "covered.yaml"),
        *(word for each in sets for word in ("--set", each)),
    ]
    for goal in (20, 80):
        command = start_rmem(*arguments)
        wait_until(lambda goal=goal: steps_in(lab.folder(spec)) >= goal, command)
        command.kill(signal.SIGKILL)
        assert command.wait() == -signal.SIGKILL
        assert lab.rows("covered") == []
    command = start_rmem(*arguments)
    assert command.wait() == 0, command.text()
    assert same(lab.rows("covered")) == rows
    assert lab.curves() == curves


def test_a_stage_without_coverage_changes_the_train_hash_and_others_have_none(make_spec):
    from rmem_cli.recipe.hashing import canonical
    from rmem_cli.recipe.schema import StageSettings

    assert canonical(StageSettings(steps=2, task={"length": 3})) == {"steps": 2, "task": {"length": 3}}
    assert canonical(StageSettings(steps=2, coverage=False)) == {"steps": 2, "coverage": False}
    assert make_spec().train_hash("") != make_spec("train.stages=[]").train_hash("")


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        (["model.pointer_generator.coverage=false"], r"stages\[0\]\.coverage: the model has no coverage"),
        (["train.steps=4"], "take 4 steps, and train.steps is 4: none is left"),
        (["train.stages=[{steps: 2}]"], "nothing differs in this stage; give it a task or coverage"),
        (["train.stages=[{steps: 2, coverage: true}]"], "nothing differs in this stage"),
        (["train.stop_when_solved={metric: loss, at: 0.1}"], "may end the run before coverage is learned"),
        (["train.early_stopping={patience: 1}"], "may end the run before coverage is learned; leave it out"),
    ],
)
def test_stages_without_coverage_that_cannot_be_meant_are_refused(make_spec, sets, message):
    with pytest.raises(RecipeError, match=message):
        make_spec(*sets)
