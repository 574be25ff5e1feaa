"""A run is opened once, and says at once all that its data refuses."""

import pytest
import torch

from rmem_cli.errors import DataError, UsageError
from rmem_cli.recipe.registry import BACKPROP
from rmem_cli.runs import opened
from rmem_cli.runs.identity import identity_of
from rmem_cli.runs.opened import open_run
from rmem_cli.tasks import build
from rmem_cli.training.backprop import TrainingStep, build_backprop

THREE = (
    "eval=[{name: a, split: test, examples: 4, metrics: [loss]}, "
    "{name: b, split: test, examples: 8, metrics: [loss]}, "
    "{name: c, split: valid, examples: 4, metrics: [accuracy]}]"
)


@pytest.fixture
def opened_tasks(monkeypatch):
    """The settings of tasks that were opened."""
    seen = []
    original = build.open_task

    def open_task(settings):
        seen.append(settings)
        return original(settings)

    monkeypatch.setattr(opened, "open_task", open_task)
    return seen


def test_a_task_is_opened_once_however_often_it_is_evaluated(lab, make_spec, opened_tasks):
    spec = make_spec(THREE)
    lab.train(spec)
    assert opened_tasks == [spec.settings.task]
    assert [row.protocol for row in lab.rows()] == ["a", "b", "c"]


def test_the_task_of_an_evaluation_that_differs_is_opened_too(make_spec, opened_tasks):
    longer = "split: test, examples: 4, metrics: [loss], task: {length: 5}"
    run = open_run(make_spec(f"eval=[{{name: a, {longer}}}, {{name: b, {longer}}}]"))
    assert [task.length for task in opened_tasks] == [3, 5]
    first, second = (measurement.task for measurement in run.measurements)
    assert first is second is not run.task


def test_everything_that_the_data_refuses_is_said_at_once(make_spec, monkeypatch):
    # What the settings promise is looked at again, on the weights themselves.
    monkeypatch.setattr("rmem_cli.recipe.validation.check_evaluated", lambda *_: ())
    spec = make_spec(
        "eval=[{name: a, split: test, examples: 4, metrics: [loss], task: {alphabet: 7}}, "
        "{name: b, split: test, examples: 4, metrics: [loss], core: {hidden_size: 9}}]",
        "train.stages=[{steps: 2, task: {alphabet: 5}}]",
    )
    with pytest.raises(UsageError) as refused:
        open_run(spec)
    first, second, third = str(refused.value).splitlines()
    assert first.startswith("evaluation 'a' changes the task to one of 9 symbols and 8 classes")
    assert second.startswith("evaluation 'b' changes the core to one of other weights")
    assert third.startswith("stage 0 changes the task to one of 7 symbols and 6 classes")


def test_a_run_has_the_hashes_of_its_recipe_and_says_when_its_data_is_not_there(make_spec, write_text):
    spec = make_spec(name="text")
    with pytest.raises(DataError):
        identity_of(spec)
    data_hash = write_text().data_hash
    run = open_run(spec)
    assert (run.identity.data_hash, run.identity.train_hash) == (data_hash, spec.train_hash(data_hash))
    assert [each.eval_hash for each in run.measurements] == [
        spec.eval_hash(protocol) for protocol in spec.settings.eval
    ]


FORMS = {
    "full": {},
    "truncated": {"segment_length": 2, "segments": 2},
    "sliding": {"depth": 2},
    "replay": {"segment_length": 2},
}


@pytest.mark.parametrize("kind", BACKPROP.kinds())
def test_a_form_of_back_propagation_states_how_often_it_goes_through_a_segment(kind, make_spec, write_text):
    write_text(train=2000)
    run = open_run(make_spec("task.segment_length=12", name="text"))
    model = run.seeded_model(torch.device("cpu"))
    model.core.segment_length = 2
    form = build_backprop(BACKPROP.settings(kind).model_validate({"kind": kind, **FORMS[kind]}))
    passes = []
    model.core.register_forward_pre_hook(lambda *_: passes.append(1 if torch.is_grad_enabled() else 1 / 3))
    state = None
    for step in range(2):  # the second has the segments of the first behind it
        passes.clear()
        batch = run.task.training_batch(step, 4, seed=1)
        state = form.gradient(model, batch, state, "mean", TrainingStep(1, step)).state
    segments = form.segments(model, batch)
    assert len(segments) == 6
    assert sum(passes) == pytest.approx(6 * form.effort(6).passes)
