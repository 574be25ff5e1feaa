"""Evaluation of runs that are finished, by the protocols they were trained with and by others."""

from dataclasses import replace

import pytest
import torch

from rmem_cli.errors import DivergedError, InterruptedRunError, UsageError
from rmem_cli.evaluation.evaluate import evaluate
from rmem_cli.records.checkpoint import load_checkpoint, save_checkpoint
from rmem_cli.records.environment import read_environment
from rmem_cli.results.metrics import Sums
from rmem_cli.runs import run as run_module
from rmem_cli.runs.machine import Machine
from rmem_cli.runs.opened import open_run


def test_evaluation_by_another_protocol_adds_rows(make_spec, lab):
    lab.train(make_spec())
    before = lab.rows()
    lab.evaluate(make_spec("eval.test.task.length=30"))
    after = lab.rows()
    assert after[: len(before)] == before
    assert len(after) == 2 * len(before)
    assert {row.train_hash for row in after} == {before[0].train_hash}


def test_evaluation_by_the_same_protocol_replaces_rows_by_equal_ones(make_spec, lab, same):
    lab.train(make_spec())
    before = lab.rows()
    lab.evaluate(make_spec())
    assert same(lab.rows()) == same(before)


def test_what_is_measured_of_examples_drawn_by_number_depends_on_no_batch_size(make_spec, lab):
    by_number = "eval.test.examples_drawn=by_number"
    lab.train(make_spec())

    def values(*sets):
        return [row.value for row in lab.evaluate(make_spec("eval.test.examples=150", *sets))]

    measured = values(by_number, "eval.test.batch_size=150")
    for batch_size in (1, 7, 64, 200):
        assert values(by_number, f"eval.test.batch_size={batch_size}") == pytest.approx(measured, rel=1e-6)
    assert values("eval.test.batch_size=7") != pytest.approx(values("eval.test.batch_size=150"), rel=1e-6)


def test_validation_draws_examples_by_number_if_it_is_to(make_spec, lab):
    def validated(*sets):
        spec = make_spec(*sets)
        lab.train(spec)
        return [value for _, split, name, value in lab.curve(spec) if (split, name) == ("valid", "loss")]

    by_number = "train.validation.examples_drawn=by_number"
    values = validated(by_number, "train.validation.batch_size=16")
    assert validated(by_number, "train.validation.batch_size=5") == pytest.approx(values, rel=1e-6)
    assert validated("train.validation.batch_size=5") != pytest.approx(values, rel=1e-6)


def test_the_best_checkpoint_is_the_best_and_the_last_one_the_last(write_text, make_spec, lab):
    write_text()
    protocols = ", ".join(
        f"{{name: {name}, split: valid, batch_size: 3, checkpoint: {name}, metrics: [bpc]}}"
        for name in ("best", "last")
    )
    spec = make_spec(
        f"eval=[{protocols}]", "schedule={kind: constant}", "train.early_stopping={patience: 1}", name="text"
    )
    lab.train(spec)
    validations = {
        step: value for step, split, name, value in lab.curve(spec) if (split, name) == ("valid", "bpc")
    }
    best, last = lab.rows("text")
    assert (best.step, best.value) == min(validations.items(), key=lambda each: each[1])
    assert (last.step, last.value) == max(validations.items())
    assert best.value < last.value


def test_an_evaluation_with_other_code_names_both_commits(make_spec, lab, monkeypatch):
    started = run_module.environment_of
    monkeypatch.setattr(run_module, "environment_of", lambda *of: replace(started(*of), git_commit="a" * 40))
    lab.train(make_spec())
    monkeypatch.setattr(run_module, "environment_of", lambda *of: replace(started(*of), git_commit="b" * 40))
    rows = lab.evaluate(make_spec("eval.test.examples=8"))
    assert {row.git_commit for row in rows} == {"a" * 40 + "+" + "b" * 40}


def test_rows_of_an_evaluation_tell_what_evaluated_and_how_long_training_took(make_spec, lab, monkeypatch):
    lab.train(make_spec())
    seconds = load_checkpoint(lab.folder(make_spec()), "last")[1]["counters"]["wall_seconds"]
    before = read_environment(lab.folder(make_spec()))
    started = run_module.environment_of
    other = {"torch_version": "1.2.3", "rmem_version": "9.8.7", "op_paths": "rotation=another"}
    monkeypatch.setattr(run_module, "environment_of", lambda *of: replace(started(*of), **other))
    for row in lab.evaluate(make_spec("eval.test.examples=8")):
        assert {name: getattr(row, name) for name in other} == other
        assert row.wall_seconds == round(seconds, 3)
    assert read_environment(lab.folder(make_spec())) == before


def test_an_evaluation_has_the_threads_that_its_rows_tell_of(make_spec, lab):
    lab.train(make_spec())
    lab.machine = Machine("cpu", 2)
    rows = lab.evaluate(make_spec("eval.test.examples=8"))
    assert {row.threads for row in rows} == {torch.get_num_threads()} == {1}


def test_a_run_that_was_never_trained_cannot_be_evaluated(make_spec, lab):
    with pytest.raises(
        UsageError, match=r"has not been trained.*`rmem train` with the same options trains it"
    ):
        lab.evaluate(make_spec())
    assert not lab.folder(make_spec()).exists()


def test_a_run_that_is_not_finished_cannot_be_evaluated(make_spec, lab):
    calls = iter(range(100))
    with pytest.raises(InterruptedRunError):
        lab.train(make_spec(), stop=lambda: next(calls) == 3)
    with pytest.raises(UsageError, match="has not come to its end"):
        lab.evaluate(make_spec())


def test_an_evaluation_that_the_model_cannot_read_is_refused_before_training(make_spec, lab):
    with pytest.raises(UsageError, match="'test' changes the task to one of 9 symbols"):
        lab.train(make_spec("eval.test.task.alphabet=7"))
    assert not lab.folder(make_spec()).exists()


def test_an_evaluation_with_another_core_is_that_of_a_model_with_this_core(make_spec, lab):
    core = "model.core={kind: transformer_xl, hidden_size: 8, segment_length: 3, cache_length: 2}"
    lab.train(make_spec(core))
    (as_trained, *_) = lab.rows()
    longer = make_spec(core, "eval.test.core={segment_length: 4, cache_length: 9, same_length: true}")
    (row, *_) = lab.evaluate(longer)
    assert row.train_hash == as_trained.train_hash
    assert row.eval_hash != as_trained.eval_hash
    assert row.value != as_trained.value

    run = open_run(
        make_spec(
            "model.core={kind: transformer_xl, hidden_size: 8, segment_length: 4, cache_length: 9, "
            "same_length: true}"
        )
    )
    model = run.new_model()
    model.load_state_dict(load_checkpoint(lab.folder(longer), "last")[0])
    assert row.value == evaluate(model, run.task, "test", 24, 4, 1).metric("loss")


def test_an_evaluation_whose_loss_is_not_finite_is_no_result(make_spec, lab):
    spec = make_spec()
    lab.train(spec)
    weights, state = load_checkpoint(lab.folder(spec), "last")
    ruined = {name: torch.full_like(value, torch.nan) for name, value in weights.items()}
    save_checkpoint(lab.folder(spec), "last", ruined, state)
    with pytest.raises(DivergedError, match="the loss on the test split is nan"):
        lab.evaluate(spec)
    assert {row.status for row in lab.rows()} == {"ok"}


def test_metrics_of_sums():
    totals = Sums(nll=3.0, weight=2.0, correct=1, answers=4)
    assert totals.metric("loss") == 1.5
    assert totals.metric("bpc") == pytest.approx(1.5 / 0.6931471805599453)
    assert totals.metric("perplexity") == pytest.approx(4.4816890703)
    assert totals.metric("accuracy") == 0.25
    # Two articles of class 1 were found, one was not, and one more was taken for one.
    assert Sums(correct=6, answers=8, found=2).metric("f1") == pytest.approx(2 * 2 / (2 * 2 + 1 + 1))
    assert Sums(correct=0, answers=3).metric("f1") == 0
    assert Sums(nll=1e9, weight=1.0, answers=1).metric("perplexity") < float("inf")
