"""`rmem train` and `rmem eval`."""

import csv
import json
import os
import re
import shutil
import sys
from pathlib import Path

import pytest

from rmem_cli.models.cores.torch_rnn import LSTM
from rmem_cli.models.sequence import SequenceModel
from rmem_cli.recipe import load_recipe
from rmem_cli.runs.timings import known_costs
from rmem_cli.tasks import build


@pytest.fixture
def rows():
    """Reads the table of results: the given columns of each row."""

    def read(*columns):
        with (Path(os.environ["RMEM_RESULTS"]) / "small.csv").open(newline="") as file:
            return [tuple(row[column] for column in columns) for row in csv.DictReader(file)]

    return read


def test_training_prints_the_table_on_stdout_and_progress_on_stderr(rmem, recipe):
    ended = rmem("train", recipe)
    assert ended.code == 0
    assert ended.out.startswith("small: Copying memory")
    assert "GRU" in ended.out
    assert "steps/s" not in ended.out
    assert ended.err.startswith("runs to do: 2 of 2\n")
    assert "small lstm seed 1 (paper): step 4/4: validation loss" in ended.err


def test_the_tables_after_training_are_those_of_report(rmem, recipe):
    """With steps to solve, which the curves tell, and numbers that a reader filled in."""
    text = recipe.read_text().replace("title: GRU", "title: GRU, published: rum2019.ptb_char.rum_1000")
    recipe.write_text(text + "solved: {metric: accuracy, at: 0.1}\n")
    (folder := Path(os.environ["RMEM_RESULTS"])).mkdir()
    (folder / "published.yaml").write_text("- {id: rum2019.ptb_char.rum_1000, number: 1.2, page: 130}\n")
    trained, reported = rmem("train", recipe), rmem("report", recipe, "--scale", "paper")
    assert trained.out == reported.out
    assert "read by a reader" in " ".join(trained.out.split())
    as_json = rmem("train", recipe, "--json").out
    assert as_json == rmem("report", recipe, "--scale", "paper", "--format", "json").out
    assert '"resolution"' in as_json  # of the steps to solve
    (folder / "published.yaml").write_text("- nonsense\n")
    refused = rmem("train", recipe, "--rerun", "all")
    assert (refused.code, refused.out, "step" in refused.err) == (2, "", False)


def test_the_same_command_again_prints_the_table_and_trains_nothing(rmem, recipe, monkeypatch):
    first = rmem("train", recipe)
    monkeypatch.setattr("rmem_cli.runs.experiment.train_run", None)
    second = rmem("train", recipe)
    assert (second.code, second.out, second.err) == (0, first.out, "runs to do: 0 of 2\n")


def test_rows_and_seeds_can_be_chosen(rmem, recipe, rows):
    assert rmem("train", recipe, "--row", "lstm", "--seed", "5", "--seed", "7").code == 0
    assert rows("row", "seed", "metric") == [
        ("lstm", seed, metric) for seed in ("5", "7") for metric in ("loss", "accuracy")
    ]


def test_a_recipe_named_twice_is_trained_once(rmem, recipe):
    assert rmem("train", recipe, recipe, "--dry-run").err.startswith("runs to do: 2 of 2\n")


def test_a_dry_run_tells_the_size_of_each_run_and_trains_nothing(rmem, recipe):
    ended = rmem("train", recipe, "--dry-run")
    assert ended.code == 0
    total, gru, lstm = ended.out.splitlines()
    assert re.fullmatch(r"2 runs, one after the other: about \d\.\d s on cpu, \d+ threads?", total)
    assert re.fullmatch(
        r"small gru \(paper\): 1 seed, 152 parameters, 4 steps of 4, about 0 MB, \d\.\d s \(estimated\)", gru
    )
    assert lstm.startswith("small lstm (paper): 1 seed, 196 parameters, 4 steps of 4, ")
    assert not Path(os.environ["RMEM_RUNS"]).exists()
    assert not Path(os.environ["RMEM_RESULTS"]).exists()


def test_a_dry_run_opens_each_task_once_and_keeps_the_order_of_rows(rmem, recipe, monkeypatch):
    opened = []

    def open_task(settings):
        opened.append(settings.length)
        return build.open_task(settings)

    monkeypatch.setattr("rmem_cli.runs.opened.open_task", open_task)
    ended = rmem("train", recipe, "--dry-run", "--set", "matrix.task.length=[3, 5]")
    rows = [line.partition(" (")[0] for line in ended.out.splitlines()[1:]]
    assert rows == ["small gru length=3", "small gru length=5", "small lstm length=3", "small lstm length=5"]
    assert opened == [3, 5]


@pytest.mark.parametrize(
    "end", ["early_stopping={patience: 1}", "stop_when_solved={metric: accuracy, at: 1.0}"]
)
def test_a_dry_run_says_which_runs_may_end_early(rmem, recipe, end):
    sets = ("--set", "train.eval_every=1", "--set", f"train.{end}")
    _, gru, lstm = rmem("train", recipe, "--dry-run", *sets).out.splitlines()
    assert all(", up to 4 steps of 4, " in line for line in (gru, lstm))


@pytest.mark.slow
def test_a_finished_run_and_a_few_timed_steps_make_a_plan_a_measured_one(rmem, recipe):
    def bases():
        ended = rmem("train", recipe, "--rerun", "all", "--dry-run", "--json")
        return {row["row"]: row["basis"] for row in json.loads(ended.out)["rows"]}

    assert bases() == {"gru": "estimated", "lstm": "estimated"}
    assert rmem("train", recipe, "--row", "gru").code == 0
    assert bases() == {"gru": "measured", "lstm": "estimated"}
    timed = rmem("train", recipe, "--row", "lstm", "--dry-run", "--measure")
    assert "timing steps of small lstm (paper)" in timed.err
    assert not list(Path(os.environ["RMEM_RUNS"]).rglob("*lstm*"))
    assert bases() == {"gru": "measured", "lstm": "measured"}


def test_what_a_row_was_planned_to_take_is_kept_for_reports(rmem, recipe):
    (spec,) = load_recipe(str(recipe)).runs(rows=["gru"])
    assert known_costs()(spec) is None
    ended = rmem("train", recipe, "--row", "gru", "--dry-run", "--json")
    (planned,) = json.loads(ended.out)["rows"]
    assert known_costs()(spec) == pytest.approx(planned["seconds"])  # of its one seed


@pytest.mark.parametrize(
    ("field", "code", "message"),
    [
        ("model.core.hidden_size=100000000000", 6, "the memory does not suffice"),
        ("task.length=1000000000000000", 6, "the memory does not suffice"),
        ("model.core.layers=100000000", 2, "must be at most 1000, not 100000000"),
        ("train.batch_size=100000000", 2, "must be at most 1000000, not 100000000"),
    ],
)
def test_a_dry_run_of_an_absurd_size_is_one_sentence(rmem, recipe, field, code, message):
    ended = rmem("train", recipe, "--row", "gru", "--set", field, "--dry-run")
    assert (ended.code, ended.out) == (code, "")
    assert message in ended.err
    assert "Traceback" not in ended.err


def test_a_dry_run_of_many_steps_is_told_in_days(rmem, recipe):
    ended = rmem("train", recipe, "--row", "gru", "--set", "train.steps=1000000000000", "--dry-run")
    assert (ended.code, " days (estimated)" in ended.out) == (0, True)


def test_measure_belongs_to_a_dry_run(rmem, recipe):
    ended = rmem("train", recipe, "--measure")
    assert (ended.code, "give --dry-run" in ended.err) == (2, True)


def test_a_plan_and_tables_are_one_json_document(rmem, recipe):
    plan = json.loads(rmem("train", recipe, "--seed", "1", "--seed", "2", "--dry-run", "--json").out)
    assert plan.keys() == {"device", "threads", "seconds", "rows", "refused"}
    gru, lstm = plan["rows"]
    assert gru.keys() == lstm.keys() == {
        "experiment", "row", "cell", "scale", "seeds", "parameters", "steps", "batch_size", "memory_mb",
        "seconds_per_step", "seconds", "decoding_seconds", "basis",
    }  # fmt: skip
    assert (gru["row"], gru["seeds"], gru["parameters"]) == ("gru", [1, 2], 152)
    assert plan["seconds"] == pytest.approx(2 * gru["seconds"] + 2 * lstm["seconds"])
    assert gru["seconds"] == pytest.approx(gru["steps"] * gru["seconds_per_step"])
    tables = json.loads(rmem("train", recipe, "--row", "gru", "--json").out)
    assert [table["experiment"] for table in tables["tables"]] == ["small"]


def test_an_evaluation_is_one_json_document(rmem, recipe):
    rmem("train", recipe, "--row", "gru")
    found = json.loads(rmem("eval", recipe, "--row", "gru", "--json").out)
    assert [(row["row"], row["metric"]) for row in found["results"]] == [("gru", "loss"), ("gru", "accuracy")]
    ended = rmem("eval", recipe, "--json")
    found = json.loads(ended.out)
    assert ended.code == 6
    assert len(found["results"]) == 2
    assert [failure["run"] for failure in found["failures"]] == ["small lstm seed 1 (paper)"]


def test_a_dry_run_plans_with_the_known_size_of_data_that_is_not_here(rmem, recipe):
    image_sequence = ["--set", "task={kind: image_sequence, dataset: cifar10}", "--set", "train.epochs=2"]
    rest = ["--set", "train.steps=null", "--set", "train.batch_size=50", "--set", "eval.test.examples=null"]
    ended = rmem("train", recipe, "--row", "gru", *image_sequence, *rest, "--dry-run")
    assert ended.code == 0, ended.err
    assert "1,800 steps of 50" in ended.out
    assert "cifar10 (images) is not here; its known size will do for a plan" in ended.err


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("options", [[], ["--dry-run"]])
def test_damaged_data_is_refused_before_the_first_step(rmem, write_text, split, options):
    path = write_text().folder / f"{split}.bin"
    path.write_bytes(bytes(path.stat().st_size))
    ended = rmem("train", "rum_ptb_char", "--scale", "smoke", "--row", "lstm_1000", *options)
    assert ended.code == 3
    assert f"({split}.bin has sha256 " in ended.err
    assert "`rmem fetch ptb` makes it anew" in ended.err
    assert "step" not in ended.err
    assert not Path(os.environ["RMEM_RESULTS"]).joinpath("rum_ptb_char.csv").exists()


def test_a_dry_run_names_the_runs_that_cannot_be_planned_and_plans_the_others(rmem, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    rows = ["--row", "roberta_base_1seg", "--row", "t5_base_1seg", "--row", "t5_base_4seg"]
    some = rmem("train", "rmt_hyperpartisan", *rows, "--row", "scratch_1seg", "--dry-run")
    assert some.code == 0, some.err
    total, row = some.out.splitlines()
    assert total.startswith("3 runs, one after the other: about ")
    assert row.startswith("rmt_hyperpartisan scratch_1seg (paper): 3 seeds, ")
    assert "runs to do: 12 of 12" in some.err
    assert "hyperpartisan (pieces) is not here; its known size will do for a plan" in some.err
    assert "cannot plan rmt_hyperpartisan roberta_base_1seg: roberta-base needs the transformers" in some.err
    both = "cannot plan rmt_hyperpartisan t5_base_1seg, rmt_hyperpartisan t5_base_4seg: t5-base needs"
    assert both in some.err
    none = rmem("train", "rmt_hyperpartisan", *rows, "--dry-run")
    assert (none.code, none.out) == (3, "")
    assert both in none.err


def test_a_dry_run_plans_what_it_can_beside_data_of_no_known_size(rmem, recipe):
    some = rmem("train", "dancer_arxiv", recipe, "--dry-run", "--json")
    assert some.code == 0, some.err
    plan = json.loads(some.out)
    assert [row["row"] for row in plan["rows"] if row["experiment"] == "small"] == ["gru", "lstm"]
    (refused,) = plan["refused"]
    assert refused["reason"].startswith("The data set arxiv_sections (words) is not in ")
    assert {row.split()[0] for row in refused["rows"]} == {"dancer_arxiv"}
    runs = sum(len(one.seeds) for one in load_recipe("dancer_arxiv").resolved if one.scale == "paper")
    assert f"runs to do: {runs + 2} of {runs + 2}\n" in some.err
    rows = [option for row in refused["rows"] for option in ("--row", row.split()[1])]
    alone = rmem("train", "dancer_arxiv", *rows, "--dry-run")
    assert (alone.code, alone.out) == (3, "")
    assert "The data set arxiv_sections (words) is not in " in alone.err


def test_runs_changed_by_set_are_told_where_to_be_found(rmem, recipe, rows):
    ended = rmem("train", recipe, "--row", "gru", "--set", "train.steps=3")
    assert (ended.code, ended.out) == (0, "")
    assert "their rows are in" in ended.err
    assert rows("scale", "step") == [("custom", "3")] * 2


def test_a_run_that_diverges_ends_with_4_and_says_why(rmem, recipe, rows):
    ended = rmem("train", recipe, "--row", "gru", "--set", "train.diverged_above=0.1")
    assert ended.code == 4
    assert ended.message.startswith("rmem: small gru seed 1 (custom): diverged: the loss is ")
    assert "a smaller optimizer.lr or train.clip_norm may help" in ended.message
    assert rows("status", "value") == [("diverged", "")] * 2
    assert "Runs changed by --set" not in ended.err


def test_several_failures_end_with_6_and_are_listed(rmem, recipe):
    ended = rmem("train", recipe, "--set", "train.diverged_above=0.1")
    assert ended.code == 6
    first, *others = ended.err.splitlines()[-3:]
    assert first == "rmem: 2 of 2 runs failed"
    for line, row in zip(others, ("gru", "lstm"), strict=True):
        assert line.startswith(f"small {row} seed 1 (custom): diverged: the loss is ")


@pytest.mark.parametrize(("rerun", "to_do"), [("missing", 0), ("failed", 1), ("all", 1)])
def test_a_diverged_run_is_repeated_only_if_asked(rmem, recipe, rerun, to_do):
    command = ["train", recipe, "--row", "gru", "--set", "train.diverged_above=0.1"]
    rmem(*command)
    again = rmem(*command, "--rerun", rerun)
    assert f"runs to do: {to_do} of 1" in again.err
    assert ("failed before: 1; --rerun failed repeats them" in again.err) == (rerun == "missing")
    assert again.code == (4 if to_do else 6)


def test_a_run_that_fails_now_is_told_beside_one_that_failed_before(rmem, recipe):
    diverging = ["--set", "train.diverged_above=0.1"]
    rmem("train", recipe, "--row", "gru", *diverging)
    ended = rmem("train", recipe, *diverging)
    assert ended.code == 4
    assert "failed before: 1; --rerun failed repeats them" in ended.err
    assert "rmem: small lstm seed 1 (custom): diverged: the loss is " in ended.err


def test_a_run_that_dies_unforeseen_ends_in_a_sentence_and_code_6_and_the_others_are_trained(
    rmem, recipe, rows, monkeypatch
):
    def step(model, *rest):
        if isinstance(model.core, LSTM):
            raise ValueError("nobody foresaw this")
        return original(model, *rest)

    original = SequenceModel.step
    monkeypatch.setattr(SequenceModel, "step", step)
    alone = rmem("train", recipe, "--row", "lstm")
    assert alone.code == 6
    assert "rmem: small lstm seed 1 (paper): failed: ValueError: nobody foresaw this (its tra" in alone.err
    assert "Traceback" not in alone.err
    both = rmem("train", recipe, "--rerun", "failed")
    assert both.code == 6
    assert "rmem: 1 of 2 runs failed\nsmall lstm seed 1 (paper): failed: ValueError" in both.err
    assert rows("row", "status") == [("lstm", "failed")] * 2 + [("gru", "ok")] * 2


def test_rerun_all_trains_again_what_is_done(rmem, recipe, rows):
    rmem("train", recipe)
    before = rows("row", "metric", "value")
    ended = rmem("train", recipe, "--rerun", "all")
    assert ended.err.startswith("runs to do: 2 of 2\n")
    assert "step 4/4: validation" in ended.err
    assert rows("row", "metric", "value") == before


def test_eval_prints_a_line_for_each_value_and_writes_rows(rmem, recipe, rows):
    rmem("train", recipe)
    before = rows("row", "metric", "eval_hash", "value")
    ended = rmem("eval", recipe, "--row", "gru", "--checkpoint", "best", "--set", "eval.test.task.length=9")
    assert ended.code == 0
    lines = ended.out.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("small gru seed 1 (paper): test loss ")
    assert lines[0].endswith(" nats per symbol")
    after = rows("row", "metric", "eval_hash", "value")
    assert after[: len(before)] == before
    assert len(after) == len(before) + 2
    assert rows("checkpoint")[-1] == ("best",)


def test_eval_of_a_run_that_was_not_trained_names_the_command_that_trains(rmem, recipe):
    ended = rmem("eval", recipe, "--row", "gru")
    assert (ended.code, ended.out) == (2, "")
    assert "has not been trained" in ended.message
    assert "`rmem train` with the same options trains it" in ended.message


def test_eval_of_a_run_whose_results_alone_are_here_names_the_command_that_trains_it(rmem, recipe):
    rmem("train", recipe, "--row", "gru")
    shutil.rmtree(os.environ["RMEM_RUNS"])
    assert "add --rerun all" in rmem("eval", recipe, "--row", "gru").message
    assert rmem("train", recipe, "--row", "gru", "--rerun", "all").code == 0
    assert rmem("eval", recipe, "--row", "gru").code == 0


def test_eval_of_several_runs_evaluates_those_that_it_can(rmem, recipe):
    rmem("train", recipe, "--row", "lstm")
    ended = rmem("eval", recipe)
    assert ended.code == 6
    assert "small lstm seed 1 (paper): test loss" in ended.out
    assert "has not been trained" in ended.err
    assert "rmem: 1 of 2 evaluations failed" in ended.err


@pytest.fixture
def searching(recipe):
    """A recipe whose second rate learns nothing, so that the first is chosen."""
    text = recipe.read_text().replace(
        "eval: [", "eval: [{name: valid, split: valid, examples: 8, metrics: [loss]}, "
    )
    search = "search: {over: [optimizer.lr], protocol: valid, seeds: [1, 2]}\n"
    recipe.write_text(f"{text}matrix: {{optimizer.lr: [0.01, 1.0e-9]}}\n{search}")
    return recipe


def test_what_a_search_chooses_is_trained_with_the_other_seeds_at_once(rmem, searching, rows):
    planned = rmem("train", searching, "--dry-run")
    assert planned.err.startswith(
        "runs to do: 4 of 4\n2 more to come, of what the searches of the recipe choose by these\n"
    )
    ended = rmem("train", searching)
    assert ended.code == 0
    assert "runs to do of what the searches chose: 2\n" in ended.err
    both = {(row, f"lr={rate}", "1") for row in ("gru", "lstm") for rate in ("0.01", "1e-09")}
    assert set(rows("row", "cell", "seed")) == both | {("gru", "lr=0.01", "2"), ("lstm", "lr=0.01", "2")}
    assert "lr by valid, test" in ended.out
    again = rmem("train", searching, "--dry-run")
    assert (again.code, again.err) == (0, "runs to do: 0 of 6\n")


@pytest.mark.slow
def test_what_a_search_chooses_is_trained_side_by_side_too(rmem, searching, rows):
    assert rmem("train", searching, "--row", "gru", "--jobs", 2).code == 0
    assert set(rows("cell", "seed")) == {("lr=0.01", "1"), ("lr=1e-09", "1"), ("lr=0.01", "2")}


def test_candidates_that_are_done_again_choose_anew(rmem, searching):
    assert rmem("train", searching, "--row", "gru").code == 0
    planned = rmem("train", searching, "--row", "gru", "--rerun", "all", "--dry-run")
    assert planned.err.startswith("runs to do: 2 of 2\n1 more to come, of what the searches")
    again = rmem("train", searching, "--row", "gru", "--rerun", "all")
    assert "runs to do: 2 of 2\n" in again.err
    assert "runs to do of what the searches chose: 1\n" in again.err


def test_seeds_that_are_asked_for_and_some_of_the_candidates_choose_nothing(rmem, searching, rows):
    assert rmem("train", searching, "--row", "gru", "--cell", "lr=0.01").code == 0
    assert rmem("train", searching, "--seed", "1").code == 0
    assert {seed for (seed,) in rows("seed")} == {"1"}
    assert rmem("train", searching, "--row", "gru").err.startswith("runs to do: 1 of 3\n")
    assert sorted(set(rows("row", "cell"))) == [
        (row, f"lr={rate}") for row in ("gru", "lstm") for rate in ("0.01", "1e-09")
    ]
    assert {row for row, seed in rows("row", "seed") if seed == "2"} == {"gru"}


def test_what_was_chosen_is_evaluated_too_and_keeps_what_was_set(rmem, searching, rows):
    assert rmem("train", searching, "--row", "gru", "--set", "eval.test.examples=16").code == 0
    wanted = {("lr=0.01", "1"), ("lr=1e-09", "1"), ("lr=0.01", "2")}
    asked = [row for row in rows("cell", "seed", "protocol", "examples") if row[2] == "test"]
    assert {row[:2] for row in asked} == wanted
    assert {examples for *_, examples in asked} == {"16"}
    assert rmem("eval", searching, "--row", "gru", "--set", "eval.test.examples=24").code == 0
    again = [row for row in rows("cell", "seed", "protocol", "examples") if row[3] == "24"]
    assert {row[:2] for row in again} == wanted
    one = rmem("eval", searching, "--row", "gru", "--seed", "1", "--json")
    assert {result["seed"] for result in json.loads(one.out)["results"]} == {1}
