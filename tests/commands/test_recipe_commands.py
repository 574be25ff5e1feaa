"""`rmem list`, `rmem show` and `rmem validate`."""

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from rmem_cli.commands import lists
from rmem_cli.commands.list_recipes import list_recipes
from rmem_cli.commands.show import show
from rmem_cli.commands.validate import validate
from rmem_cli.errors import UsageError
from rmem_cli.recipe.document import read_document

TEXT = """\
name: made_up
title: A [made-up] experiment with a title that is longer than what fits on a line of eighty columns
paper: rum2019
task: {kind: associative_recall, length: 50}
model: {core: {kind: rum, hidden_size: 50, lambda: 1}}
optimizer: {kind: adam, lr: 1e-3}
train: {steps: 1000, batch_size: 128}
eval:
  - {name: test, split: test, examples: 2000, metrics: [accuracy]}
seeds: [1, 2]
rows:
  - {id: rum, title: RUM, published: rum2019.ptb_char.fs_rum_2}
  - {id: lstm, title: LSTM, model.core.kind: lstm}
scales:
  smoke: {train.steps: 3}
origin:
  optimizer: section 4
  optimizer.lr: table 7
  train: section 5
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "made_up.yaml").write_text(TEXT)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str) -> Result:
    app = typer.Typer()
    app.command("list")(list_recipes)
    app.command("show")(show)
    app.command("validate")(validate)
    return CliRunner().invoke(app, arguments)


def shown(*arguments: str) -> dict[str, str]:
    """Each line of `show` without its indentation: YAML to comment."""
    lines = [line.partition("  # ") for line in run("show", *arguments).stdout.splitlines()]
    return {text.strip(): comment for text, _, comment in lines}


def test_show_prints_the_origin_of_each_value() -> None:
    lines = shown("made_up", "--row", "lstm", "--scale", "smoke", "--set", "train.batch_size=4")
    assert lines["length: 50"] == "base"
    assert lines["kind: lstm"] == "row"
    assert lines["layers: 1"] == "default"
    assert lines["lr: 0.001"] == "base; table 7"
    assert lines["kind: adam"] == "base; section 4"
    assert lines["beta1: 0.9"] == "default"
    assert lines["steps: 3"] == "scale"
    assert lines["batch_size: 4"] == "--set"
    assert lines["seeds: [1, 2]"] == "base"


def test_show_lists_what_a_change_of_kind_dropped() -> None:
    assert (
        "# dropped with the old kind: model.core.lambda: 1" in run("show", "made_up", "--row", "lstm").stdout
    )


def test_what_show_prints_is_a_recipe_of_the_same_settings() -> None:
    output = run("show", "made_up", "--row", "rum").stdout
    tree = read_document(output.encode(), "shown").plain()
    settings = json.loads(run("show", "made_up", "--row", "rum", "--json").stdout)[0]["settings"]
    assert tree == {**settings, "seeds": [1, 2]}


def test_show_tells_what_is_searched() -> None:
    search = {"over": ["optimizer.lr"], "protocol": "valid", "seeds": [1, 2]}
    sets = [
        "matrix={optimizer.lr: [0.1, 0.2]}",
        "eval=[{name: valid, split: valid, examples: 4, metrics: [loss]}]",
        f"search={json.dumps(search)}",
    ]
    options = [part for each in sets for part in ("--set", each)]
    printed = run("show", "made_up", "--row", "rum", *options).stdout
    assert read_document(printed.split("\n---\n")[0].encode(), "shown").plain()["search"] == search
    told = json.loads(run("show", "made_up", "--row", "rum", *options, "--json").stdout)
    assert [one["search"] for one in told] == [search, search]
    assert json.loads(run("show", "made_up", "--row", "rum", "--json").stdout)[0]["search"] is None


def test_show_prints_one_document_for_each_row() -> None:
    assert run("show", "made_up").stdout.count("\n---\n") == 1


def test_show_gives_hashes_and_origins_as_json() -> None:
    rows = json.loads(run("show", "made_up", "--json").stdout)
    assert [row["row"] for row in rows] == ["rum", "lstm"]
    assert rows[0]["published"] == ["rum2019.ptb_char.fs_rum_2"]
    assert rows[0]["train_hash"] != rows[1]["train_hash"]
    assert rows[0]["eval_hash"] == rows[1]["eval_hash"]
    assert rows[1]["dropped"] == {"model.core.lambda": 1}
    assert rows[0]["origin"]["eval.test.examples"] == {"layer": "base", "note": ""}


def test_show_tells_why_there_is_no_hash_where_the_data_is_missing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RMEM_DATA", str(folder / "data"))
    task = "task={kind: language_model, dataset: ptb, form: char, segment_length: 10}"
    result = run("show", "made_up", "--row", "rum", "--set", task)
    assert "no train_hash yet" in result.stdout
    assert "rmem fetch ptb" in result.stdout


def test_list_shows_recipes_whole_where_no_terminal_is() -> None:
    lines = run("list").stdout.splitlines()
    line = next(line for line in lines if line.startswith("made_up"))
    assert (
        "A [made-up] experiment with a title that is longer than what fits on a line of eighty columns"
        in line
    )
    assert line.rstrip().endswith("paper, smoke")
    assert any(line.startswith("cores: ") and "rum" in line for line in lines)


def test_list_gives_json() -> None:
    listed = json.loads(run("list", "--json").stdout)
    about = next(recipe for recipe in listed["recipes"] if recipe["name"] == "made_up")
    assert (about["paper"], about["rows"], about["scales"]) == (
        "rum2019",
        ["rum", "lstm"],
        ["paper", "smoke"],
    )
    assert "associative_recall" in listed["tasks"]


def test_validate_passes_what_is_right_and_says_so_on_stderr() -> None:
    result = run("validate", "made_up")
    assert result.exit_code == 0
    assert result.stdout == ""
    assert "made_up is valid: 2 rows; scales paper, smoke" in result.stderr


def test_validate_gives_the_outcome_as_json(folder: Path) -> None:
    (folder / "a.yaml").write_text(TEXT.replace("name: made_up", "name: a").replace("lr: 1e-3", "lr: -1"))
    right, wrong, missing = json.loads(run("validate", "made_up", "a.yaml", "missing.yaml", "--json").stdout)
    assert right == {
        "recipe": "made_up",
        "valid": True,
        "rows": ["rum", "lstm"],
        "scales": ["paper", "smoke"],
        "problems": [],
    }
    assert (wrong["valid"], wrong["problems"]) == (
        False,
        [
            {
                "file": "a.yaml",
                "line": 6,
                "column": 29,
                "path": "optimizer.lr",
                "message": "must be greater than 0, not -1",
            }
        ],
    )
    assert "there is no such file" in missing["problems"][0]["message"]


def test_validate_without_a_name_takes_every_recipe(folder: Path) -> None:
    (folder / "recipes" / "broken.yaml").write_text("name: broken\n")
    result = run("validate")
    assert "made_up is valid" in result.stderr
    assert isinstance(result.exception, UsageError)
    assert "broken.yaml:1:1: title: is missing" in str(result.exception)


def test_validate_tells_the_problems_of_all_recipes_at_once(folder: Path) -> None:
    (folder / "a.yaml").write_text(TEXT.replace("name: made_up", "name: a").replace("lr: 1e-3", "lr: -1"))
    result = run("validate", "a.yaml", "missing.yaml")
    assert isinstance(result.exception, UsageError)
    assert result.exception.exit_code == 2
    assert str(result.exception).splitlines() == [
        "a.yaml:6:29: optimizer.lr: must be greater than 0, not -1",
        "missing.yaml: there is no such file; `rmem list` shows the recipes there are",
    ]


@pytest.mark.parametrize("width", [0, 1, 3, 9, 10, 11, 13, 14, 15, 40, 79, 200, 1000])
def test_lists_fit_a_terminal_of_any_width_and_break_no_word(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    record = {"name": "a_name", "title": "Read pre-norm once", "rows": "one-way, two, tri"}
    monkeypatch.setattr(lists, "terminal_width", lambda: width)
    lists.print_records([record])
    lists.print_line("cores: two-fold, gru")
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= max(width, 10)
    told = "a_name: Read pre-norm once rows: one-way, two, tri cores: two-fold, gru"
    assert "".join(lines).replace(" ", "") == told.replace(" ", "")
    if width > 12:  # below, a word with its indentation is longer
        assert " ".join(" ".join(lines).split()) == told
