"""What others wrote in recipes and results is shown as text: it moves no cursor and hides nothing."""

import json
from dataclasses import replace

import pytest
import yaml

from rmem_cli.paths import results_root
from rmem_cli.recipe import load_recipe
from rmem_cli.recipe.explain import flow
from rmem_cli.recipe.kinds import TaskSettings
from rmem_cli.results.row import ResultRow
from rmem_cli.results.store import ResultStore

HIDDEN = "\x1b[31m\x07\u202e\u2066\x9b\u200f\ufeff\U000e0041"
ESCAPED = r"\x1b[31m\x07\u202e\u2066\x9b\u200f\ufeff\U000e0041"
MARKUP = "A[bold red]b[/]<script>alert(1)</script>&amp;|_%"
FOREIGN = f"{MARKUP} {HIDDEN}"
RECIPE = """\
name: small
title: {foreign}
paper: rum2019
summary: {foreign}
task: {{kind: copying_memory, length: 3, symbols: 2, alphabet: 3}}
model: {{core: {{kind: gru, hidden_size: 4}}}}
optimizer: {{kind: adam, lr: 0.01}}
train: {{steps: 4, batch_size: 4}}
eval:
  - {{name: test, split: test, examples: 8, metrics: [loss]}}
  - {{name: longer, split: test, examples: 8, metrics: [loss], task: {{length: 5}}}}
  - {{name: more, split: test, examples: 8, metrics: [loss], task: {{length: 6}}}}
  - {{name: longest, split: test, examples: 8, metrics: [loss], task: {{length: 7}}}}
seeds: [1]
rows: [{{id: gru, title: {foreign}, notes: [{foreign}]}}]
scales: {{smoke: {{train.steps: 2}}}}
notes: [{foreign}]
origin: {{train: {foreign}}}
"""
COMMANDS = [
    ["list"],
    ["list", "--json"],
    ["show", "small"],
    ["show", "small", "--json"],
    ["validate", "small"],
    *(["report", "small", "--format", form] for form in ("terminal", "markdown", "latex", "csv", "json")),
    *(["report", "small", "--grid", "--format", form] for form in ("terminal", "markdown", "csv", "json")),
]


@pytest.fixture
def foreign(tmp_path, monkeypatch):
    """A recipe, and a result, that others wrote."""
    monkeypatch.chdir(tmp_path)
    text = RECIPE.format(foreign=json.dumps(FOREIGN[:-1]).replace("{", "{{")[:-1] + '\\U000e0041"')
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "small.yaml").write_text(text)
    (spec,) = load_recipe("small").runs()
    monkeypatch.setattr(TaskSettings, "parts", lambda _: (FOREIGN,))
    rows = [
        ResultRow(
            experiment="small", row="gru", cell="", scale="paper", seed=1, protocol=protocol.name,
            split="test", part=part, metric="loss", value=0.5, unit="nats per symbol", examples=8,
            step=4, checkpoint="last",
            parameters=1, wall_seconds=1.0, peak_memory_mb=1.0, device=MARKUP, threads=1, op_paths=MARKUP,
            dtype=MARKUP, torch_version=MARKUP, rmem_version=MARKUP, git_commit=MARKUP, git_dirty="false",
            train_hash=spec.train_hash(""), eval_hash=spec.eval_hash(protocol), data_hash="",
            status="ok", time="",
        )
        for protocol in spec.settings.eval
        for part in ("", FOREIGN)
    ]  # fmt: skip
    ResultStore(results_root()).write(rows)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_no_command_prints_what_others_hid(rmem, foreign, command):
    ended = rmem(*command)
    assert ended.code == 0
    assert not set(HIDDEN.replace("[31m", "")) & set(ended.out + ended.err)


@pytest.mark.parametrize("command", [["list"], ["show", "small"], ["report", "small"]], ids=" ".join)
def test_it_is_spelled_out_and_markup_means_itself(rmem, foreign, command):
    out = rmem(*command).out
    assert ESCAPED in out
    assert "A[bold red]b[/]" in out


def test_values_of_settings_are_quoted_with_escapes_that_are_read_back():
    shown = flow(FOREIGN)
    assert not set(HIDDEN.replace("[31m", "")) & set(shown)
    assert yaml.safe_load(shown) == FOREIGN


@pytest.mark.parametrize("command", [["list", "--json"], ["show", "small", "--json"]], ids=" ".join)
def test_json_has_the_text_itself_in_escapes(rmem, foreign, command):
    assert FOREIGN in json.dumps(json.loads(rmem(*command).out), ensure_ascii=False).replace(
        "\\u001b", "\x1b"
    ).replace("\\u0007", "\x07")


def test_a_message_about_a_recipe_shows_what_is_hidden(rmem, foreign, tmp_path):
    (tmp_path / "bad.yaml").write_text('name: bad\n"\\e[31mkey\\u202e": 1\n', encoding="utf-8")
    ended = rmem("validate", "bad.yaml")
    assert ended.code == 2
    assert r"\x1b[31mkey\u202e: unknown key" in ended.err
    assert not {"\x1b", "\u202e"} & set(ended.err)


def test_a_text_in_a_matrix_is_spelled_out_where_it_is_refused(rmem, foreign, tmp_path):
    path = tmp_path / "recipes" / "small.yaml"
    path.write_text(path.read_text() + 'matrix: {task.length: ["\\e[31m\\u202e"]}\n')
    ended = rmem("validate", "small")
    assert ended.code == 2
    assert not {"\x1b", "\u202e"} & set(ended.err)


def test_progress_and_plans_spell_out_the_matrix_cell_and_why_a_row_is_refused(foreign, capsys):
    from rmem_cli.commands.plans import PlannedRow, print_rows, tell_refused
    from rmem_cli.runs.machine import Machine
    from rmem_cli.runs.plan import Plan

    (spec,) = load_recipe("small").runs()
    odd = replace(spec, cell=FOREIGN)
    assert ESCAPED in odd.label
    print_rows([PlannedRow(odd, [1], Plan(1, 1, 1, 1.0, 1.0, is_measured=False))], Machine("cpu", 1))
    tell_refused({FOREIGN: {"small gru": None}})
    printed = capsys.readouterr()
    assert ESCAPED in printed.out
    assert ESCAPED in printed.err
    assert not set(HIDDEN.replace("[31m", "")) & set(odd.label + printed.out + printed.err)


REPEATING = [
    "{}",
    "--{}",
    "train --{}",
    "train small --rerun {}",
    "eval small --checkpoint {}",
    "report small --format {}",
    "train {}",
    "show {}",
    "bench {}",
    "published {}",
    "fetch {}",
]
SILENT = [
    "-{}",
    "train small --seed {}",
    "train small --jobs {}",
    "train small --dry-run={}",
    "sample small --tokens {}",
    "fetch --sentencepiece {}",
    "doctor {}",
    "list {}",
]


@pytest.mark.parametrize("command", [*REPEATING, *SILENT])
def test_a_wrong_command_shows_nothing_hidden(rmem, foreign, command):
    ended = rmem(*command.format(FOREIGN.replace(" ", "")).split(" "))
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("rmem: ")
    assert not set(HIDDEN.replace("[31m", "")) & set(ended.err)


@pytest.mark.parametrize("command", REPEATING)
def test_what_is_wrong_in_a_command_is_spelled_out_and_markup_means_itself(rmem, foreign, command):
    ended = rmem(*command.format("[red]a[/]\u202e:smile:").split(" "))
    assert r"[red]a[/]\u202e:smile:" in ended.err


@pytest.fixture
def odd_folder(foreign, tmp_path, monkeypatch):
    """A folder with hidden characters in its name, which holds the recipe and all else."""
    folder = tmp_path / f"a[bold]{HIDDEN}"
    folder.mkdir()
    (tmp_path / "recipes" / "small.yaml").rename(folder / "small.yaml")
    for name in ("DATA", "RUNS", "RESULTS", "CACHE"):
        monkeypatch.setenv(f"RMEM_{name}", str(folder / name))
    return folder


@pytest.mark.parametrize(
    "command",
    [
        "validate {}/small.yaml",
        "train {}/small.yaml --set train.steps=1",
        "eval {}/small.yaml --seed 8 --seed 9",
        "report {}/small.yaml",
        "fetch ptb --from {}",
        "fetch ptb --from {}/small.yaml",
    ],
)
def test_names_of_folders_are_spelled_out_in_messages(rmem, odd_folder, command):
    ended = rmem(*command.format(odd_folder).split(" "))
    assert not set(HIDDEN.replace("[31m", "")) & set(ended.out + ended.err)
    assert f"a[bold]{ESCAPED}" in ended.err
    assert "Traceback" not in ended.err


def test_no_page_holds_what_others_wrote_but_as_text(rmem, foreign, tmp_path):
    assert rmem("report", "small", "--format", "html", "--out", "site").code == 0
    for page in (tmp_path / "site").glob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert not set(HIDDEN.replace("[31m", "")) & set(text)
        assert text.count("<script") == 1
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text or page.name == "index.html"
