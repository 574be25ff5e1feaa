"""Curricula: several stages in one run."""

import pytest
import torch

from rmem_cli.errors import InterruptedRunError, UsageError
from rmem_cli.recipe import load_recipe
from rmem_cli.recipe.problems import RecipeError
from rmem_cli.records.checkpoint import load_checkpoint
from rmem_cli.runs.opened import open_run
from rmem_cli.tasks.copy_reverse import Reverse
from rmem_cli.training.stages import stage_at

REVERSING = """\
name: reversing
title: Reversing
paper: rmt2022
task: {kind: reverse, length: 4, alphabet: 3}
model: {core: {kind: rmt, hidden_size: 8, heads: 2, dropout: 0.1, segment_length: 4, memory_tokens: 2}}
optimizer: {kind: adam, lr: 0.01}
schedule: {kind: linear, warmup_steps: 2}
train:
  steps: 9
  stages:
    - {steps: 3, task: {length: 1}}
    - {steps: 2, task: {length: 3}}
  batch_size: 4
  eval_every: 4
  log_every: 1
  validation: {metric: loss, examples: 8}
eval:
  - {name: test, split: test, examples: 8, metrics: [loss, accuracy, exact_match]}
  - {name: free, split: test, examples: 8, feed: predictions, metrics: [accuracy, exact_match]}
seeds: [1]
rows: [{id: rmt, title: RMT}]
scales: {smoke: {train.batch_size: 2}}
"""
RESTART = ["train.restart=false", "train.restart=true"]


@pytest.fixture
def make_spec(tmp_path):
    def make(*sets, text=REVERSING):
        path = tmp_path / "reversing.yaml"
        path.write_text(text)
        return load_recipe(str(path)).runs(overrides=sets)[0]

    return make


@pytest.fixture
def lengths_seen(monkeypatch):
    """The number of symbols of every training batch that is made."""
    seen = []
    original = Reverse.training_batch

    def training_batch(self, step, batch_size, seed):
        seen.append(self.answer_length)
        return original(self, step, batch_size, seed)

    monkeypatch.setattr(Reverse, "training_batch", training_batch)
    return seen


def stop_after(steps):
    asked = []
    return lambda: len(asked) == steps or asked.append(None) is not None


def test_stages_come_one_after_the_other_and_the_task_itself_last(make_spec, lab, lengths_seen):
    lab.train(make_spec())
    assert lengths_seen == [1] * 3 + [3] * 2 + [4] * 4


def test_a_step_belongs_to_the_stage_that_has_begun(make_spec):
    stages = open_run(make_spec()).stages
    assert [(stage.first, stage.steps) for stage in stages] == [(0, 3), (3, 2), (5, 4)]
    assert [stages.index(stage_at(stages, step)) for step in range(10)] == [0, 0, 0, 1, 1, 2, 2, 2, 2, 2]


def test_validations_are_on_the_task_itself(make_spec, lab, monkeypatch):
    asked = []
    original = Reverse.evaluation_batches

    def evaluation_batches(self, *arguments):
        asked.append(self.answer_length)
        return original(self, *arguments)

    monkeypatch.setattr(Reverse, "evaluation_batches", evaluation_batches)
    lab.train(make_spec())
    assert set(asked) == {4}


@pytest.mark.parametrize("restart", RESTART)
@pytest.mark.parametrize("steps", [2, 3, 4, 5, 6])
def test_a_run_stopped_at_any_step_of_any_stage_ends_like_one_never_stopped(
    make_spec, lab, same, restart, steps
):
    spec = make_spec(restart)
    lab.train(spec)
    rows, curve = same(lab.rows("reversing")), lab.curve(spec)
    weights, state = load_checkpoint(lab.folder(spec), "last")
    with pytest.raises(InterruptedRunError):
        lab.train(spec, stop_after(steps), repeat=True)
    lab.train(spec)
    assert same(lab.rows("reversing")) == rows
    assert lab.curve(spec) == curve
    resumed, resumed_state = load_checkpoint(lab.folder(spec), "last")
    assert all(torch.equal(resumed[name], value) for name, value in weights.items())
    moments, resumed_moments = (each["optimizer"]["state"] for each in (state, resumed_state))
    assert all(
        torch.equal(resumed_moments[number][name], value)
        for number, entry in moments.items()
        for name, value in entry.items()
    )


def test_the_schedule_spans_the_whole_run_or_each_stage(make_spec, lab):
    def rates(restart):
        spec = make_spec(restart)
        lab.train(spec)
        return [value for _, split, name, value in lab.curve(spec) if (split, name) == ("train", "lr")]

    over_all, anew = (rates(restart) for restart in RESTART)
    assert over_all == pytest.approx([0.005, 0.01] + [0.01 * (1 - done / 7) for done in range(7)])
    assert anew == pytest.approx([0.005, 0.01, 0.01, 0.005, 0.01, 0.005, 0.01, 0.01, 0.005])


def test_a_new_optimizer_has_no_memory_of_the_stage_before(make_spec, lab):
    for restart, updates in zip(RESTART, (9, 4), strict=True):
        spec = make_spec(restart)
        lab.train(spec)
        _, state = load_checkpoint(lab.folder(spec), "last")
        assert {float(entry["step"]) for entry in state["optimizer"]["state"].values()} == {updates}


def test_a_text_is_read_with_a_fresh_state_where_a_stage_begins(make_spec, lab, write_text, monkeypatch):
    write_text()
    text = REVERSING.replace(
        "task: {kind: reverse, length: 4, alphabet: 3}",
        "task: {kind: language_model, dataset: ptb, form: char, segment_length: 8}",
    )
    text = text.replace("task: {length: 1}", "task: {segment_length: 4}")
    text = text.replace("task: {length: 3}", "task: {segment_length: 6}")
    text = text.replace(", exact_match", "").replace(
        "feed: predictions, metrics: [accuracy]", "metrics: [loss]"
    )
    from rmem_cli.training.backprop import Full

    states = []
    original = Full.gradient

    def gradient(self, model, batch, state, *others, **named):
        states.append(state is None)
        return original(self, model, batch, state, *others, **named)

    monkeypatch.setattr(Full, "gradient", gradient)
    lab.train(make_spec(text=text))
    assert [step for step, fresh in enumerate(states) if fresh] == [0, 3, 5]


def test_stages_change_the_train_hash_and_leaving_them_out_does_not():
    """The default is no stage, which older results have as well."""
    from rmem_cli.recipe.hashing import canonical
    from rmem_cli.recipe.schema import StageSettings, TrainSettings
    from rmem_cli.training.config import FullSettings

    plain = TrainSettings(steps=5, batch_size=1, backprop=FullSettings())
    staged = plain.model_copy(update={"stages": [StageSettings(steps=2, task={"length": 3})]})
    assert "stages" not in canonical(plain)
    assert canonical(staged)["stages"] == [{"steps": 2, "task": {"length": 3}}]


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        (
            ["train.steps=5"],
            "stages: take 5 steps, and train.steps is 5: none is left for the task; give more",
        ),
        (["train.stages=[{steps: 1, task: {lenght: 2}}]"], "unknown key; did you mean 'length'"),
        (["train.stages=[{steps: 1, task: {length: 0}}]"], "must be greater than 0, not 0"),
        (["train.stages=[{steps: 1, task: {kind: copy}}]"], "the kind of the task cannot differ in a stage"),
        (["train.stages=[{steps: 1, task: {}}]"], "nothing differs in this stage"),
        (["train.stages=[{steps: 0, task: {length: 2}}]"], "must be greater than 0, not 0"),
        (["eval.test.feed=nothing"], "eval.test.feed"),
    ],
)
def test_wrong_stages_are_refused_before_anything_starts(make_spec, sets, message):
    with pytest.raises(RecipeError, match=message):
        make_spec(*sets)


def test_a_stage_of_other_symbols_is_refused(make_spec, lab):
    with pytest.raises(UsageError, match=r"stage 0 changes the task to one of 7 symbols .* the model has 5"):
        lab.train(make_spec("train.stages=[{steps: 1, task: {alphabet: 5}}]"))


def test_answers_are_fed_back_only_in_tasks_where_they_are_inputs(make_spec):
    text = REVERSING.replace("kind: reverse, length: 4, alphabet: 3", "kind: copying_memory, length: 4")
    text = text.replace(", exact_match", "")
    with pytest.raises(RecipeError, match=r"eval\.free\.feed: must be truth"):
        make_spec(text=text)
