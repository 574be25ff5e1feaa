"""A task of several parts is measured as a whole and part by part."""

from dataclasses import replace

import pytest
import torch
from two_parts import PARTS

from rmem_cli.app import main
from rmem_cli.errors import InterruptedRunError
from rmem_cli.evaluation.evaluate import evaluate
from rmem_cli.paths import results_root
from rmem_cli.recipe import load_recipe
from rmem_cli.recipe.registry import TASKS
from rmem_cli.records.checkpoint import load_checkpoint
from rmem_cli.report.build import build_table
from rmem_cli.report.layout import View, page
from rmem_cli.results.metrics import Sums
from rmem_cli.results.store import ResultStore
from rmem_cli.runs.experiment import missing_runs, taken_over
from rmem_cli.runs.opened import open_run

RECIPE = """\
name: parts
title: Two parts
paper: rum2019
task: {kind: two_parts}
model: {core: {kind: gru, hidden_size: 8}}
optimizer: {kind: adam, lr: 0.05}
train: {steps: 40, batch_size: 8, eval_every: 10, validation: {metric: loss, examples: 32}}
eval: [{name: test, split: test, examples: 200, batch_size: 16, metrics: [accuracy, exact_match, loss]}]
seeds: [1, 2, 3]
rows: [{id: gru, title: GRU}]
scales: {smoke: {train.steps: 2}}
"""

WANTED = ("valid", "loss")


@pytest.fixture
def make(tmp_path, monkeypatch):
    """Makes the run of a seed, with fields changed as by --set."""
    monkeypatch.setitem(TASKS._entries, "two_parts", "two_parts:TwoPartsSettings")
    path = tmp_path / "parts.yaml"
    path.write_text(RECIPE)

    def run(*sets, seed=1):
        return load_recipe(str(path)).runs(seeds=[seed], overrides=sets)[0]

    return run


def by_part(rows, metric):
    return {row.part: row for row in rows if row.metric == metric}


@pytest.mark.parametrize("metric", ["accuracy", "exact_match", "loss"])
def test_the_whole_is_what_its_parts_are_by_their_examples(make, lab, metric):
    lab.train(make())
    rows = by_part(lab.rows("parts"), metric)
    assert list(rows) == ["", *PARTS]
    assert sum(rows[part].examples for part in PARTS) == rows[""].examples == 200
    assert len({rows[part].examples for part in PARTS}) == 2
    weighted = sum(rows[part].value * rows[part].examples for part in PARTS) / 200
    assert rows[""].value == pytest.approx(weighted, rel=1e-6)


def test_a_part_that_can_be_learned_is_learned_and_the_other_is_not(make, lab):
    lab.train(make())
    rows = by_part(lab.rows("parts"), "accuracy")
    assert rows["told"].value > 0.95
    assert 0.3 < rows["guessed"].value < 0.7


def test_every_part_has_the_sums_of_its_rows_alone(make):
    run = open_run(make())
    model = run.seeded_model(torch.device("cpu"))

    class OfOnePart(type(run.task)):
        def evaluation_batches(self, *arguments):
            for batch in super().evaluation_batches(*arguments):
                yield batch.rows((batch.part == number).nonzero()[:, 0])

    whole = evaluate(model, run.task, "test", 100, 7, 1)
    for number in range(2):
        alone = evaluate(model, OfOnePart(run.settings.task), "test", 100, 7, 1)
        assert vars(whole.parts[number]).keys() == vars(Sums()).keys()
        for name, value in vars(whole.parts[number]).items():
            if name != "parts":
                assert value == pytest.approx(getattr(alone, name), rel=1e-6), name


def test_parts_change_nothing_of_the_whole(make, lab, same, monkeypatch):
    lab.train(make())
    with_parts = [row for row in lab.rows("parts") if not row.part]
    settings = type(make().settings.task)
    original = open_run(make()).task.batch
    monkeypatch.setattr(settings, "parts", lambda _: ())
    task = type(open_run(make()).task)
    monkeypatch.setattr(task, "batch", lambda _, examples: replace(original(examples), part=None))
    lab.train(make(), repeat=True)
    without = [row for row in lab.rows("parts") if not row.part]
    assert {row.part for row in lab.rows("parts") if row.time > with_parts[0].time} <= {""}
    assert same(without) == same(with_parts)


def test_a_run_of_parts_that_is_stopped_goes_on_to_the_same_rows(make, lab, same):
    lab.train(make())
    whole = same(lab.rows("parts"))
    calls = iter([False] * 5)
    with pytest.raises(InterruptedRunError):
        lab.train(make(), lambda: next(calls, True), repeat=True)
    lab.train(make())
    assert same(lab.rows("parts")) == whole
    assert same(lab.evaluate(make())) == whole


def test_the_best_checkpoint_is_that_of_the_whole(make, lab):
    lab.train(make())
    points = [(step, value) for step, split, name, value in lab.curve(make()) if (split, name) == WANTED]
    found = dict(points)
    assert len(points) == len(found) == 4  # one value of each validation
    _, saved = load_checkpoint(lab.folder(make()), "best")
    assert saved["counters"]["step"] == min(found, key=found.get)


def test_a_part_without_examples_has_no_row_and_one_of_a_failed_run_has(make, lab):
    lab.train(make("task.seen=1"))
    assert {row.part for row in lab.rows("parts")} == {"", "told"}
    failing = make("optimizer.lr=1e30", "train.diverged_above=2")
    assert lab.train(failing).status == "diverged"
    rows = [row for row in lab.rows("parts") if row.status == "diverged"]
    assert [(row.part, row.value) for row in rows if row.metric == "loss"] == [
        (part, None) for part in ("", *PARTS)
    ]


def test_eval_prints_a_line_for_the_whole_and_each_part(make, lab, tmp_path, monkeypatch, capsys):
    lab.train(make())
    monkeypatch.setattr("sys.argv", ["rmem", "eval", str(tmp_path / "parts.yaml"), "--seed", "1"])
    with pytest.raises(SystemExit, match="0"):
        main()
    lines = [line.partition(": ")[2] for line in capsys.readouterr().out.splitlines()]
    assert [line.rsplit(" ", 2)[0] for line in lines if "accuracy" in line] == [
        "test accuracy",
        "test told accuracy",
        "test guessed accuracy",
    ]


def test_an_equal_run_takes_over_its_parts_but_never_parts_alone(make, lab, tmp_path):
    lab.train(make())
    assert missing_runs([make()], "missing") == []
    (tmp_path / "other.yaml").write_text(RECIPE.replace("name: parts", "name: other"))
    (other,) = load_recipe(str(tmp_path / "other.yaml")).runs(seeds=[1])
    rows = lab.rows("parts")
    (results_root() / "parts.csv").unlink()
    ResultStore(results_root()).write([row for row in rows if row.part])
    assert missing_runs([make()], "missing") == [make()]
    assert taken_over([other]) == []
    ResultStore(results_root()).write(rows)
    assert taken_over([other]) == [other]
    assert sorted(row.part for row in lab.rows("other")) == sorted(row.part for row in rows)


def test_a_report_has_the_whole_and_beside_it_the_mean_and_each_part(make, lab, tmp_path):
    for seed in (1, 2, 3):
        lab.train(make(seed=seed))
    table = build_table(load_recipe(str(tmp_path / "parts.yaml")), lab.rows("parts"))
    accuracy = [section for section in table.sections if section.metric == "accuracy"]
    means = {section.part: section.lines[0].ours["paper"].mean for section in accuracy}
    assert list(means) == ["", "mean", *PARTS]
    assert means["mean"] == pytest.approx((means["told"] + means["guessed"]) / 2)
    first, others, *_ = page(table, View()).grids
    assert "accuracy" in first.caption
    headings = [column.heading.text.split("\n") for column in others.columns]
    assert [heading[0] for heading in headings if "accuracy" in heading] == ["mean", *PARTS]
