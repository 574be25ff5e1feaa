"""Runs that are equal but for their names are trained once."""

from dataclasses import fields, replace
from pathlib import Path

import pytest
from rich.console import Console

from rmem_cli.paths import results_root
from rmem_cli.recipe import load_recipe
from rmem_cli.results.row import ResultRow
from rmem_cli.results.store import ResultStore
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
