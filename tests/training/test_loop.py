"""The training loop."""

import math

import pytest
import torch

from rmem_cli.errors import DivergedError, InterruptedRunError, UsageError
from rmem_cli.records.checkpoint import load_checkpoint, save_checkpoint
from rmem_cli.runs.opened import open_run
from rmem_cli.tasks.build import open_task
from rmem_cli.training import loop, parallel
from rmem_cli.training.loop import Training
from rmem_cli.training.stages import total_steps


def metric_of(curve, split, name):
    return {step: value for step, where, what, value in curve if (where, what) == (split, name)}


@pytest.fixture
def fake_validations(monkeypatch):
    """Makes validations give the values of a list instead."""

    def fake(values):
        remaining = iter(values)
        monkeypatch.setattr(Training, "_validation_values", lambda *_: {"loss": next(remaining)})

    return fake


def test_training_lowers_the_loss(make_spec, lab):
    spec = make_spec("train.steps=60", "train.eval_every=60", "optimizer.lr=0.03")
    lab.train(spec)
    losses = metric_of(lab.curve(spec), "train", "loss")
    assert list(losses) == list(range(1, 61))
    assert losses[60] < 0.7 * losses[1]


def test_the_curve_holds_averages_since_the_line_before(make_spec, lab):
    each, averaged = make_spec("train.log_every=1"), make_spec("train.log_every=5", seed=1)
    lab.train(each)
    single = metric_of(lab.curve(each), "train", "loss")
    lab.train(averaged, repeat=True)
    averages = metric_of(lab.curve(averaged), "train", "loss")
    assert list(averages) == [5, 10, 12]
    assert averages[10] == pytest.approx(sum(single[step] for step in range(6, 11)) / 5)
    assert averages[12] == pytest.approx((single[11] + single[12]) / 2)


def test_a_run_goes_on_with_more_lines_of_its_curve_than_before(make_spec, lab):
    first, more = make_spec("train.log_every=9"), make_spec("train.log_every=2")
    calls = iter(range(20))
    with pytest.raises(InterruptedRunError):
        lab.train(first, stop=lambda: next(calls) == 7)
    assert lab.train(more).status == "ok"
    assert list(metric_of(lab.curve(more), "train", "loss")) == [8, 10, 12]


def test_validation_comes_every_so_many_steps_and_at_the_end(make_spec, lab):
    spec = make_spec("train.eval_every=5")
    lab.train(spec)
    assert list(metric_of(lab.curve(spec), "valid", "loss")) == [5, 10, 12]
    at_the_end = make_spec("train.eval_every=null")
    lab.train(at_the_end)
    assert list(metric_of(lab.curve(at_the_end), "valid", "loss")) == [12]
    never = make_spec("train.validation=null")
    lab.train(never)
    assert metric_of(lab.curve(never), "valid", "loss") == {}
    assert load_checkpoint(lab.folder(never), "best") is None


def test_the_schedule_sets_the_rate_of_each_step(make_spec, lab):
    spec = make_spec("schedule={kind: step, at: [4, 8], factor: 0.5}", "train.validation=null")
    lab.train(spec)
    rates = metric_of(lab.curve(spec), "train", "lr")
    assert [rates[step] for step in (1, 4, 5, 8, 9, 12)] == [0.01, 0.01, 0.005, 0.005, 0.0025, 0.0025]


def test_plateau_lowers_the_rate_when_validation_does_not_improve(make_spec, lab, fake_validations):
    spec = make_spec("schedule={kind: plateau, factor: 0.1, patience: 0}", "train.eval_every=3")
    fake_validations([2.0, 2.0, 1.0, 3.0])
    lab.train(spec)
    rates = metric_of(lab.curve(spec), "train", "lr")
    assert [rates[step] for step in (3, 6, 7, 9, 12)] == pytest.approx([0.01, 0.01, 0.001, 0.001, 0.001])


def test_early_stopping_counts_validations_without_a_large_enough_improvement(
    make_spec, lab, fake_validations
):
    early = "train.early_stopping={patience: 2, min_delta: 0.1}"
    spec = make_spec(early, "train.eval_every=1", "train.steps=100")
    fake_validations([3.0, 2.0, 1.95, 1.85, 1.8, 1.79, 0.0])
    ended = lab.train(spec)
    # 1.95 is no improvement by 0.1 on 2.0, 1.85 is; 1.8 and 1.79 are none.
    assert (ended.status, ended.step) == ("ok", 6)
    assert load_checkpoint(lab.folder(spec), "best")[1]["counters"]["step"] == 4


@pytest.fixture
def accuracies(monkeypatch):
    """Validations that are right from step 3 to 4 and again from step 6 on, whose loss rises."""

    def values(training, _):
        step = training.counters.step
        return {"loss": float(step), "accuracy": 1.0 if step in (3, 4) or step >= 6 else 0.999}

    monkeypatch.setattr(Training, "_validation_values", values)


SOLVED = ("train.eval_every=1", "train.stop_when_solved={metric: accuracy, at: 1.0, evaluations: 3}")


@pytest.mark.usefixtures("accuracies")
def test_training_ends_with_so_many_solved_validations_in_a_row(make_spec, lab):
    spec = make_spec(*SOLVED)
    ended = lab.train(spec)
    assert (ended.status, ended.step) == ("ok", 8)
    best = load_checkpoint(lab.folder(spec), "best")[1]["counters"]
    assert best["best_step"] == 1, "the best checkpoint goes by the loss, as in a run that goes on"
    assert lab.train(make_spec(*SOLVED, "train.stop_when_solved.evaluations=9")).step == 12


@pytest.mark.usefixtures("accuracies")
def test_a_resumed_run_remembers_the_solved_validations_before_it(make_spec, lab):
    spec = make_spec(*SOLVED)
    calls = iter(range(100))
    with pytest.raises(InterruptedRunError, match="stopped after step 7"):
        lab.train(spec, stop=lambda: next(calls) == 7)
    assert lab.train(spec).step == 8


@pytest.mark.usefixtures("accuracies")
def test_a_checkpoint_from_before_solved_validations_were_counted_goes_on(make_spec, lab):
    spec = make_spec("train.eval_every=1")
    calls = iter(range(100))
    with pytest.raises(InterruptedRunError):
        lab.train(spec, stop=lambda: next(calls) == 7)
    weights, saved = load_checkpoint(lab.folder(spec), "last")
    del saved["counters"]["evaluations_solved"]
    save_checkpoint(lab.folder(spec), "last", weights, saved)
    assert lab.train(spec).step == 12


def test_a_higher_accuracy_is_a_better_one(make_spec, lab, monkeypatch):
    values = iter([0.5, 0.9, 0.7])
    monkeypatch.setattr(Training, "_validation_values", lambda *_: {"accuracy": next(values)})
    spec = make_spec("train.validation.metric=accuracy")
    lab.train(spec)
    best = load_checkpoint(lab.folder(spec), "best")[1]["counters"]
    assert (best["best"], best["best_step"], best["step"]) == (0.9, 8, 8)


def test_the_gradient_is_clipped_by_its_norm(make_spec, lab, monkeypatch):
    norms = []
    original = loop.clip_grad_norm_

    def clip(parameters, bound):
        parameters = list(parameters)
        result = original(parameters, bound)
        norms.append((bound, math.sqrt(sum(float(each.grad.square().sum()) for each in parameters))))
        return result

    monkeypatch.setattr(loop, "clip_grad_norm_", clip)
    lab.train(make_spec("train.clip_norm=0.01"))
    assert len(norms) == 12
    assert all(bound == 0.01 and norm <= 0.0100001 for bound, norm in norms)
    norms.clear()
    lab.train(make_spec())
    assert norms == []


def test_a_loss_that_is_not_finite_or_too_high_stops_the_run_before_the_update(make_spec, lab):
    spec = make_spec("train.diverged_above=0.5")
    ended = lab.train(spec)
    assert (ended.status, ended.step) == ("diverged", 0)
    assert "at step 1 (train.diverged_above is 0.5)" in ended.message
    assert lab.train(make_spec("train.diverged_above=50.0")).status == "ok"


def test_a_validation_that_is_not_finite_counts_as_diverged(make_spec, lab, monkeypatch):
    def diverge(*_, **__):
        raise DivergedError("the loss on the valid split is nan")

    monkeypatch.setattr(loop, "evaluate", diverge)
    assert lab.train(make_spec()).status == "diverged"


def test_epochs_are_passes_over_the_training_text(write_text, make_spec, lab):
    write_text(train=600)  # 4 columns of 150, in segments of 6: 25 steps
    spec = make_spec("train.steps=null", "train.epochs=1.2", "train.early_stopping=null", name="text")
    assert open_run(spec).steps == 30
    assert lab.train(spec).step == 30


def test_the_state_is_carried_from_batch_to_batch_and_forgotten_with_each_pass(
    write_text, make_spec, lab, monkeypatch
):
    write_text(train=96)  # 4 columns of 24: 4 steps
    given = []
    original = parallel.build_backprop

    def spy(settings):
        form = original(settings)
        gradient = form.gradient

        def watched(model, batch, state, *rest, **named):
            given.append(None if state is None else {name: value.clone() for name, value in state.items()})
            result = gradient(model, batch, state, *rest, **named)
            last.append(result.state)
            return result

        form.gradient = watched
        return form

    last = []
    monkeypatch.setattr(parallel, "build_backprop", spy)
    lab.train(make_spec("train.steps=9", "train.early_stopping=null", name="text"))
    assert [state is None for state in given] == [True, False, False, False] * 2 + [True]
    for before, state in zip(last, given[1:], strict=False):
        if state is not None:
            assert all(torch.equal(before[name], value) for name, value in state.items())


def test_epochs_of_a_task_that_makes_its_examples_are_refused(make_spec):
    spec = make_spec()
    train = spec.settings.train.model_copy(update={"steps": None, "epochs": 2.0})
    with pytest.raises(UsageError, match=r"train\.epochs needs a task that reads data"):
        total_steps(train, open_task(spec.settings.task))


def test_first_weights_are_a_function_of_the_seed_alone(make_spec):
    def weights(seed):
        run = open_run(make_spec(row="rum", seed=seed))
        torch.rand(3)
        return torch.nn.utils.parameters_to_vector(run.seeded_model(torch.device("cpu")).parameters())

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))
    state = torch.random.get_rng_state()
    weights(3)
    torch.rand(3)
    torch.random.set_rng_state(state)


def test_checkpoints_come_every_so_many_steps(make_spec, lab, monkeypatch):
    saved = []
    original = Training.save
    monkeypatch.setattr(
        Training, "save", lambda self, name: (saved.append((name, self.counters.step)), original(self, name))
    )
    lab.train(make_spec("train.checkpoint_every=5", "train.validation=null"))
    assert saved == [("last", 5), ("last", 10), ("last", 12)]


def test_a_stop_saves_where_the_run_is(make_spec, lab):
    spec = make_spec("train.checkpoint_every=null", "train.validation=null")
    calls = iter(range(100))
    with pytest.raises(InterruptedRunError, match="stopped after step 7"):
        lab.train(spec, stop=lambda: next(calls) == 7)
    assert load_checkpoint(lab.folder(spec), "last")[1]["counters"]["step"] == 7
