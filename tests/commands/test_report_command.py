import csv
import io
import json
from dataclasses import replace
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from rmem_cli.commands.report import report
from rmem_cli.errors import OutOfToleranceError, UsageError
from rmem_cli.recipe import load_recipe
from rmem_cli.results.row import ResultRow
from rmem_cli.results.store import ResultStore

RECIPE = """
name: {name}
title: A made-up experiment
paper: rum2019
tolerance: 0.01
published: rum2019.ptb_char
task: {{kind: language_model, dataset: ptb, form: char, segment_length: 5}}
model: {{core: {{kind: lstm, hidden_size: 4}}}}
optimizer: {{kind: adam, lr: 0.001}}
train: {{steps: 10, batch_size: 2}}
eval: [{{name: test, split: test, metrics: [bpc]}}]
seeds: [1, 2, 3]
rows: [{{id: ours, title: Ours, published: rum2019.ptb_char.fs_rum_2}}]
scales: {{smoke: {{train.steps: 1}}}}
"""
ROW = ResultRow(
    experiment="one", row="ours", cell="", scale="paper", seed=1, protocol="test", split="test", part="",
    metric="bpc", value=1.2, unit="bits per character", examples=10, step=10, checkpoint="last",
    parameters=100, wall_seconds=1.0, peak_memory_mb=1.0, device="cpu", threads=1, op_paths="",
    dtype="float32", torch_version="2.13.0", rmem_version="0.1.0", git_commit="0" * 40, git_dirty="",
    train_hash="", eval_hash="", data_hash="abc", status="ok", time="2026-01-02T03:04:05Z",
)  # fmt: skip

app = typer.Typer()
app.command()(report)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with the recipes `one` and `two`, neither of which has results."""
    (tmp_path / "recipes").mkdir()
    for name in ("one", "two"):
        (tmp_path / "recipes" / f"{name}.yaml").write_text(RECIPE.format(name=name), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RMEM_RESULTS", raising=False)
    return tmp_path


@pytest.fixture
def record(folder):
    """Writes results of seeds 1, 2, ... of an experiment."""

    def write(experiment, values, scale="paper"):
        spec = load_recipe(experiment).runs(scale)[0]
        hashes: dict[str, Any] = {
            "train_hash": spec.train_hash("abc"),
            "eval_hash": spec.eval_hash(spec.protocol("test")),
        }
        ResultStore(folder / "results").write(
            [
                replace(ROW, experiment=experiment, scale=scale, seed=seed, value=value, **hashes)
                for seed, value in enumerate(values, 1)
            ]
        )

    return write


def run(*arguments):
    return CliRunner().invoke(app, list(arguments))


def test_a_recipe_without_results_prints_the_published_numbers_and_not_run(folder):
    done = run("one")
    assert done.exit_code == 0
    lines = {line.split("  ")[0]: line for line in done.stdout.splitlines()}
    for model, value in {"Ours": "1.189", "FS-LSTM-2": "1.190", "FS-LSTM-4": "1.193"}.items():
        assert value in lines[model]
        assert lines[model].endswith("not run" if model == "Ours" else "not run: quoted by the paper")
    assert "unverified" in lines["LSTM 1000 (this paper)"]


def test_the_recipe_that_comes_with_rmem_prints_its_published_numbers():
    done = run("rum_ptb_char")
    assert done.exit_code == 0
    assert "1.189" in done.stdout
    assert "1.190" in done.stdout


def test_without_a_name_every_experiment_with_results_is_reported(folder, record):
    record("two", [1.0])
    done = run("--format", "json")
    assert [table["experiment"] for table in json.loads(done.stdout)["tables"]] == ["two"]


def test_results_without_a_recipe_are_named_on_stderr_and_the_others_reported(folder, record):
    record("one", [1.0])
    (folder / "results" / "gone.csv").write_text("", encoding="utf-8")
    done = run("--format", "csv")
    assert {row["experiment"] for row in csv.DictReader(io.StringIO(done.stdout))} == {"one"}
    assert "gone has results but no recipe" in done.stderr


def test_without_results_stdout_stays_a_valid_document(folder):
    done = run("--format", "json")
    document = json.loads(done.stdout)
    assert (document["schema"], document["tables"]) == (1, [])
    assert "rum2019.ptb_char" in {score["table"] for score in document["scoreboard"]["scores"]}
    assert "no results" in done.stderr


def test_a_scale_can_be_chosen_and_experiments_without_it_are_passed_over(folder, record):
    record("one", [1.0], scale="smoke")
    done = run("--scale", "smoke", "--format", "json")
    assert [table["scales"] for table in json.loads(done.stdout)["tables"]] == [["smoke"]]
    done = run("--scale", "cpu_twins", "--format", "json")
    assert (json.loads(done.stdout)["tables"], "one has no scale cpu_twins" in done.stderr) == ([], True)
    assert isinstance(run("--scale", "huge").exception, UsageError)
    assert isinstance(run("one", "--scale", "huge").exception, UsageError)


def test_out_writes_a_file_in_the_format_of_its_suffix(folder):
    done = run("one", "--out", "tables/one.md")
    assert (done.exit_code, done.stdout) == (0, "")
    assert (folder / "tables" / "one.md").read_text(encoding="utf-8").startswith("## one: A made-up")


def test_a_format_that_is_named_goes_before_the_suffix(folder):
    run("one", "--out", "one.txt", "--format", "json")
    assert json.loads((folder / "one.txt").read_text(encoding="utf-8"))["schema"] == 1


@pytest.mark.parametrize("ending", [".pdf", ".v1", ".markdown"])
@pytest.mark.parametrize("grid", [[], ["--grid"]], ids=["tables", "grid"])
def test_an_ending_without_a_form_is_refused_with_those_there_are(folder, ending, grid):
    done = run("one", *grid, "--out", f"one{ending}")
    assert isinstance(done.exception, UsageError)
    assert f"no form {ending} yet; there are .txt, .md, .tex, .csv, .json" in str(done.exception)
    assert not (folder / f"one{ending}").exists()


@pytest.mark.parametrize(
    ("name", "beginning"),
    [
        ("a.txt", "one: A"),
        ("a.md", "## one"),
        ("a.MD", "## one"),
        ("a.tex", "\\documentclass"),
        ("a.csv", "experiment,"),
        ("a.json", "{"),
    ],
)
def test_the_ending_of_a_file_chooses_the_form(folder, name, beginning):
    assert run("one", "--out", name).exit_code == 0
    assert (folder / name).read_text(encoding="utf-8").startswith(beginning)


@pytest.mark.parametrize(
    "arguments", [["--out", "one.html"], ["--format", "html"], ["--format", "html", "--grid"]]
)
def test_html_is_a_folder_of_tables(folder, arguments):
    done = run("one", *arguments)
    assert isinstance(done.exception, UsageError)
    assert "HTML is a folder" in str(done.exception) or "not --grid" in str(done.exception)


def test_pages_are_written_for_what_is_named_and_the_scoreboard_counts_all(folder, record):
    record("two", [1.3, 1.301, 1.302])
    assert run("one", "--format", "html", "--out", "site").exit_code == 0
    assert sorted(path.name for path in (folder / "site").glob("*.html")) == ["index.html", "one.html"]
    assert "worse" in (folder / "site" / "index.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("place", ["file", "file/site"])
def test_pages_that_cannot_be_written_are_one_sentence(folder, place):
    (folder / "file").write_text("", encoding="utf-8")
    done = run("one", "--format", "html", "--out", place)
    assert isinstance(done.exception, UsageError)
    assert "cannot be written" in str(done.exception)


@pytest.mark.parametrize("option", ["--out", "--published"])
@pytest.mark.parametrize("empty", ["", "  "])
def test_a_path_that_is_empty_is_refused(folder, option, empty):
    before = sorted(folder.rglob("*"))
    done = run("one", option, empty)
    assert (done.exit_code, "is empty" in done.stderr) == (2, True)
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize("arguments", [["one"], [], ["one", "--grid"]])
def test_a_folder_of_results_that_is_not_there_is_one_sentence(folder, arguments, monkeypatch):
    monkeypatch.setenv("RMEM_RESULTS", "elsewhere")
    done = run(*arguments)
    assert done.exit_code == 0
    assert "There is no folder elsewhere, and so there are no results" in done.stderr
    assert done.stderr.count("\n") == 1
    (folder / "elsewhere").write_text("", encoding="utf-8")
    assert "RMEM_RESULTS is 'elsewhere', but that is not a folder" in str(run(*arguments).exception)


def test_out_writes_a_folder_with_a_file_for_each_experiment(folder):
    run("one", "two", "--out", "tables", "--format", "csv")
    assert sorted(path.name for path in (folder / "tables").iterdir()) == ["one.csv", "two.csv"]


def test_a_folder_that_is_there_may_have_a_name_like_a_file(folder):
    (folder / "tables.v1").mkdir()
    run("one", "--out", "tables.v1", "--format", "markdown")
    assert [path.name for path in (folder / "tables.v1").iterdir()] == ["one.md"]


def test_two_experiments_do_not_go_into_one_file(folder):
    done = run("one", "two", "--out", "tables.md")
    assert isinstance(done.exception, UsageError)
    assert not (folder / "tables.md").exists()


def test_a_place_that_cannot_be_written_is_one_sentence(folder):
    (folder / "file").write_text("", encoding="utf-8")
    done = run("one", "--out", "file/one.md")
    assert isinstance(done.exception, UsageError)
    assert "cannot be written" in str(done.exception)


@pytest.mark.parametrize(
    ("values", "refused"),
    [
        ([1.300, 1.301, 1.302], True),
        ([1.100, 1.101, 1.102], True),
        ([1.189, 1.189, 1.189], False),
        ([1.100, 1.200, 1.300], False),
        ([1.300, 1.301], False),
    ],
)
def test_strict_refuses_what_lies_wholly_outside_the_tolerance_on_either_side(
    folder, record, values, refused
):
    record("one", values)
    done = run("one", "--strict")
    assert "Ours" in done.stdout
    assert isinstance(done.exception, OutOfToleranceError) == refused
    if refused:
        assert "bpc is " in str(done.exception)
    assert run("one").exit_code == 0


def test_strict_looks_at_full_scale_results_only(folder, record):
    record("one", [9.0, 9.0, 9.0], scale="smoke")
    assert run("one", "--strict").exit_code == 0


def test_the_grid_has_every_recipe_and_every_core_in_every_format(folder, record):
    record("one", [1.0])
    done = run("--grid", "--format", "json")
    grid = json.loads(done.stdout)["grid"]
    found = {line["experiment"]: line["best"] for line in grid["lines"]}
    assert found["one"]["lstm"]["ours"]["mean"] == 1.0
    assert found["two"] == {}
    records = list(csv.DictReader(io.StringIO(run("one", "--grid", "--format", "csv").stdout)))
    assert [row["core"] for row in records if row["mean"]] == ["lstm"]
    assert len(records) == len(grid["cores"])
    assert "1.000" in run("one", "--grid").stdout
    assert "| one bpc ↓, paper |" in run("one", "--grid", "--format", "markdown").stdout


def test_the_grid_of_one_scale_passes_over_recipes_without_it(folder, record):
    record("one", [1.0], scale="smoke")
    lines = json.loads(run("--grid", "--scale", "smoke", "--format", "json").stdout)["grid"]["lines"]
    assert {line["scale"] for line in lines} == {"smoke"}
    for named in ([], ["one"]):
        with pytest.raises(UsageError, match="no recipe has a scale 'smok'; did you mean 'smoke'"):
            raise run(*named, "--grid", "--scale", "smok").exception


def test_the_grid_is_one_file(folder):
    run("one", "two", "--grid", "--out", "cores.md")
    assert (folder / "cores.md").read_text(encoding="utf-8").startswith("## Every core on every task")
    run("one", "two", "--grid", "--out", "tables", "--format", "csv")
    assert [path.name for path in (folder / "tables").iterdir()] == ["grid.csv"]


def test_the_grid_cannot_be_strict(folder):
    assert isinstance(run("one", "--grid", "--strict").exception, UsageError)
    assert isinstance(run("one", "--grid", "--explain").exception, UsageError)


@pytest.mark.parametrize("given", ["one", "--strict", "--grid", "--all", "--explain", "--scale=smoke"])
def test_what_a_comparison_would_leave_out_is_refused(folder, record, given):
    record("one", [1.0])
    refused = run("--compare", "one/lstm", "one/lstm", given).exception
    assert isinstance(refused, UsageError)
    assert str(refused).endswith(f"leave out {'the names' if given == 'one' else given.split('=')[0]}")


def test_tables_as_csv_never_replace_the_results(folder, record):
    record("one", [1.0])
    before = (folder / "results" / "one.csv").read_bytes()
    for arguments in (["one", "--out", "results", "--format", "csv"], ["one", "--out", "results/one.csv"]):
        assert isinstance(run(*arguments).exception, UsageError)
    assert (folder / "results" / "one.csv").read_bytes() == before
    assert run("one", "--out", "results", "--format", "markdown").exit_code == 0


BLANK = "rum2019.ptb_char.rum_1000"


@pytest.fixture
def reading(folder):
    """A recipe whose row stands for a number that is missing, and a reader's file that has it."""
    recipe = folder / "recipes" / "one.yaml"
    recipe.write_text(recipe.read_text().replace("rum2019.ptb_char.fs_rum_2", BLANK))
    file = folder / "mine.yaml"
    file.write_text(f"- {{id: {BLANK}, number: 1.2, page: 130}}\n")
    return file


def test_a_number_that_a_reader_fills_in_is_compared_and_marked_as_the_readers(record, reading):
    record("one", [1.2, 1.2, 1.2])
    assert "no published number" in run("one").stdout
    text = run("one", "--published", str(reading)).stdout
    assert "1.200" in text
    assert "reproduced" in text
    assert "read by a reader: mine.yaml, p. 130" in " ".join(text.split())
    assert "verdicts on numbers that a reader filled in: 1 reproduced" in text


def test_numbers_beside_the_results_are_read_without_being_named(record, reading):
    record("one", [1.2, 1.2, 1.2])
    reading.rename(reading.parent / "results" / "published.yaml")
    assert "reproduced" in run("one").stdout


def test_a_readers_file_with_a_wrong_id_is_refused_with_place_and_cure(record, reading):
    record("one", [1.2])
    reading.write_text("- {id: rum2019.ptb_char.rum_100, number: 1.2, page: 130}\n")
    error = run("one", "--published", str(reading)).exception
    assert "mine.yaml:1:8: [0].id: unknown published row 'rum2019.ptb_char.rum_100'; did you mean" in str(
        error
    )
