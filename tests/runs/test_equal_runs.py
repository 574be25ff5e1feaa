"""Runs that are equal but for their names are trained once."""

import shutil
from dataclasses import fields, replace
from pathlib import Path

import pytest
from rich.console import Console

from rmem_cli.errors import InterruptedRunError, UsageError
from rmem_cli.paths import results_root
from rmem_cli.recipe import load_recipe
from rmem_cli.results.row import ResultRow
from rmem_cli.results.run_names import run_name
from rmem_cli.results.store import ResultStore
from rmem_cli.results.withdrawn import Withdrawal, add_withdrawals, withdraw
from rmem_cli.runs.equal import EqualRuns
from rmem_cli.runs.experiment import missing_runs, taken_over, train_runs
from rmem_cli.runs.identity import identity_of

NAMES = {"experiment", "row", "cell", "scale", "protocol"}


@pytest.fixture
def other(recipes, tmp_path):
    """The run of a row that is equal to `gru` of `copying`, of another recipe, row and protocol."""
    text = Path(recipes["copying"]).read_text()
    text = text.replace("name: copying", "name: other").replace("id: gru", "id: plain")
    text = text.replace("{name: test,", "{name: final,")
    (tmp_path / "other.yaml").write_text(text)

    def make(*sets, seed=1):
        return load_recipe(str(tmp_path / "other.yaml")).runs("paper", ["plain"], [seed], list(sets))[0]

    return make


def values(rows):
    """All of the rows but their names."""
    return [
        {each.name: getattr(row, each.name) for each in fields(ResultRow) if each.name not in NAMES}
        for row in rows
    ]


def test_results_of_an_equal_run_are_taken_over_with_all_that_is_said_of_it(lab, make_spec, other):
    spec = make_spec()
    lab.train(spec)
    assert missing_runs([other()], "missing") == [other()]
    assert taken_over([other()], write=False) == [other()]
    assert lab.rows("other") == []
    assert taken_over([other()]) == [other()]
    assert missing_runs([other()], "missing") == []
    assert values(lab.rows("other")) == values(lab.rows())
    assert {(row.row, row.protocol, row.scale) for row in lab.rows("other")} == {("plain", "final", "paper")}
    curves = lab.curves()
    assert curves[f"{identity_of(other()).curve}.csv"] == curves[f"{identity_of(spec).curve}.csv"]


@pytest.mark.parametrize(
    "change",
    [
        ["train.steps=11"],
        ["eval.final.examples=25"],
        ["optimizer.lr=0.02"],
    ],
)
def test_results_of_a_run_that_differs_are_not(lab, make_spec, other, change):
    lab.train(make_spec())
    assert taken_over([other(*change)]) == []
    assert taken_over([other(seed=2)]) == []
    assert lab.rows("other") == []


def test_of_several_equal_runs_the_latest_is_taken_over(lab, make_spec, other):
    lab.train(make_spec())
    rows = [replace(row, value=0.5, time="9999-01-01T00:00:00Z", row="later") for row in lab.rows()]
    ResultStore(results_root()).write(rows)
    assert taken_over([other()]) == [other()]
    assert [row.value for row in lab.rows("other")] == [0.5, 0.5]


@pytest.mark.parametrize("status", ["diverged", "out_of_memory", "failed"])
def test_only_results_are_taken_over_and_no_failures(lab, make_spec, other, status):
    lab.train(make_spec())
    ResultStore(results_root()).write([replace(row, value=None, status=status) for row in lab.rows()])
    assert taken_over([other()]) == []


def test_of_a_withdrawn_run_nothing_is_taken_over_by_either_name(lab, make_spec, other):
    spec = make_spec()
    lab.train(spec)
    equal = other()
    assert taken_over([equal]) == [equal]
    name, copy = (run_name(lab.rows(each.experiment)[0]) for each in (spec, equal))
    rows = [*lab.rows(spec.experiment), *lab.rows(equal.experiment)]
    assert {*withdraw(results_root(), rows, [copy], "a bug")} == {name, copy}
    store = ResultStore(results_root())
    assert EqualRuns(store).results(spec) == EqualRuns(store).results(equal) == []
    # As before all of them were withdrawn together: the copy counts, and is none of the run's own name.
    (results_root() / "withdrawn.jsonl").unlink()
    add_withdrawals(results_root(), [Withdrawal(name, "a bug", max(row.time for row in rows))])
    assert EqualRuns(store).results(spec) == []
    assert EqualRuns(store).results(equal)


def test_a_table_that_cannot_be_read_has_nothing_to_say(lab, make_spec, other):
    lab.train(make_spec())
    (results_root() / "broken.csv").write_text("experiment,row\nnonsense,\n")
    assert taken_over([other()]) == [other()]


def test_equal_runs_of_one_command_are_trained_once(lab, make_spec, other, steps_done):
    assert train_runs([make_spec(), other()], lab.machine, Console(quiet=True)) == []
    assert steps_done == list(range(12))
    assert values(lab.rows("other")) == values(lab.rows())


def test_an_equal_run_is_trained_after_all_where_the_first_did_not_end_well(
    lab, make_spec, other, monkeypatch
):
    from rmem_cli.models.sequence import SequenceModel

    step, calls = SequenceModel.step, []

    def out_of_memory_once(model, *rest):
        calls.append(None)
        if len(calls) == 3:
            raise MemoryError
        return step(model, *rest)

    monkeypatch.setattr(SequenceModel, "step", out_of_memory_once)
    (failure,) = train_runs([make_spec(), other()], lab.machine, Console(quiet=True))
    assert failure.spec == make_spec()
    assert {row.status for row in lab.rows("other")} == {"ok"}


def test_repeated_runs_are_repeated_once(lab, make_spec, other, steps_done):
    specs = [make_spec(), other()]
    train_runs(specs, lab.machine, Console(quiet=True))
    train_runs(specs, lab.machine, Console(quiet=True), repeat=True)
    assert steps_done == [*range(12)] * 2


def test_a_run_whose_results_were_taken_over_is_evaluated_from_the_equal_run(lab, make_spec, other):
    lab.train(make_spec())
    assert taken_over([other()]) == [other()]
    ours = lab.evaluate(other("eval.final.examples=30"))
    theirs = lab.evaluate(make_spec("eval.test.examples=30"))
    assert [row.value for row in ours] == [row.value for row in theirs]
    assert {(row.experiment, row.row, row.protocol) for row in ours} == {("other", "plain", "final")}
    assert not lab.folder(other()).exists()


def test_a_run_that_did_not_end_is_evaluated_from_an_equal_one_that_did(lab, make_spec, other):
    asked = iter([False, False, True])
    with pytest.raises(InterruptedRunError):
        lab.train(other(), lambda: next(asked))
    with pytest.raises(UsageError, match="has not come to its end"):
        lab.evaluate(other())
    lab.train(make_spec())
    assert values(lab.evaluate(other()))[0]["value"] == values(lab.evaluate(make_spec()))[0]["value"]


@pytest.mark.parametrize(
    "change", [{"sets": ["optimizer.lr=0.02"]}, {"seed": 2}, {"sets": ["train.steps=11"]}]
)
def test_a_run_is_not_evaluated_from_one_that_differs(lab, make_spec, other, change):
    lab.train(make_spec())
    with pytest.raises(UsageError, match=r"has not been trained.*add --rerun all"):
        lab.evaluate(other(*change.get("sets", []), seed=change.get("seed", 1)))


@pytest.mark.parametrize("status", ["", "{", '{"status": "running", "step": 3}'])
def test_an_equal_run_that_is_damaged_or_has_not_ended_is_passed_over(lab, make_spec, other, status):
    lab.train(make_spec())
    (lab.folder(make_spec()) / "status.json").write_text(status)
    with pytest.raises(UsageError, match="has not been trained"):
        lab.evaluate(other())


def test_a_run_without_checkpoints_is_evaluated_from_an_equal_one_that_has_them(lab, make_spec, other):
    for spec in (make_spec(), other()):
        lab.train(spec)
    before = [row.value for row in lab.evaluate(other())]
    shutil.rmtree(lab.folder(other()) / "checkpoints")
    assert [row.value for row in lab.evaluate(other())] == before
    shutil.rmtree(lab.folder(make_spec()) / "checkpoints")
    with pytest.raises(UsageError, match="has not come to its end"):
        lab.evaluate(other())
