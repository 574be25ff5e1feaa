"""What a shell completes, asked as shells ask; and that nothing is told in the middle of a line."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rmem_cli.recipe import list_recipes, load_recipe
from rmem_cli.recipe.choices import choices
from rmem_cli.recipe.fields import all_paths

CORES = ["gru", "rnn", "lstm", "rum"]


@pytest.fixture
def complete(rmem, recipe, monkeypatch):
    """What bash is told of a line that is split into words as bash splits it."""

    def complete(*words):
        monkeypatch.setenv("_RMEM_COMPLETE", "complete_bash")
        monkeypatch.setenv("COMP_WORDS", "\n".join(["rmem", *words]))
        monkeypatch.setenv("COMP_CWORD", str(len(words)))
        ended = rmem()
        assert (ended.code, ended.err) == (0, "")
        return ended.out.split()

    return complete


@pytest.mark.parametrize("command", ["train", "eval", "report", "validate", "sample", "show", "submit"])
def test_recipes_are_completed(complete, command):
    assert complete(command, "rum_rec") == ["rum_recall"]


def test_every_recipe_is_offered(complete):
    assert complete("train", "") == list_recipes()


def test_recipes_of_plots_are_completed(complete):
    assert complete("plot", "curves", "quick") == ["quickstart"]


def test_rows_are_those_of_the_recipes_named_at_the_scale_named(complete):
    assert complete("train", "small.yaml", "--row", "") == ["gru", "lstm"]
    assert complete("train", "small.yaml", "--scale", "smoke", "--row", "") == ["gru"]
    assert complete("train", "small.yaml", "--row", "l") == ["lstm"]


def test_scales_and_seeds_are_those_of_the_recipe(complete):
    assert complete("train", "small.yaml", "--scale", "") == ["paper", "smoke"]
    assert complete("train", "small.yaml", "--seed", "") == ["1"]


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["len"], ["length=30", "length=50"]),
        (["length", "="], ["30", "50"]),
        (["length", "=", "5"], ["50"]),
    ],
)
def test_cells_are_completed_on_either_side_of_what_bash_splits_at(complete, words, offered):
    assert complete("train", "rum_recall", "--cell", *words) == offered


def test_data_sets_are_completed(complete):
    assert complete("fetch", "pubmed") == ["pubmed", "pubmed_sections"]


def test_published_numbers_are_completed_one_name_after_the_other(complete):
    assert complete("published", "rum2017") == ["rum2017"]
    assert "rum2017.recall" in complete("published", "rum2017.r")
    assert complete("published", "rum2017.recall.l") == ["rum2017.recall.lstm"]


def test_runs_are_completed(complete, rmem):
    assert rmem("train", "small.yaml", "--scale", "smoke").code == 0
    (folder,) = Path(os.environ["RMEM_RUNS"], "small/gru").iterdir()
    for command in ("status", "runs rm", "results drop", "train --from-run", "show"):
        assert complete(*command.split(), "small/") == [f"small/gru/{folder.name}"]


def test_paths_of_settings_are_completed_to_the_end(complete):
    assert {"optimizer.lr=", "optimizer.kind="} <= set(complete("train", "small.yaml", "--set", "optimizer."))
    assert complete("train", "small.yaml", "--set", "train.ste") == ["train.steps=4", "train.steps=null"]
    assert complete("train", "small.yaml", "--set", "eval.test.spl")[0] == "eval.test.split=test"


def test_values_of_settings_are_kinds_and_the_values_of_enumerations(complete):
    known = complete("train", "small.yaml", "--row", "gru", "--set", "model.core.kind", "=", "")
    assert known[:4] == CORES
    assert complete("train", "small.yaml", "--set", "train.dtype", "=", "float6") == ["float64"]
    assert complete("train", "small.yaml", "--set", "train.restart", "=", "t") == ["true"]


def test_settings_are_those_of_a_kind_that_was_set_before(complete):
    rum = ["--set", "model.core.kind", "=", "rum", "--set"]
    assert complete("train", "small.yaml", *rum, "model.core.lam") == [
        "model.core.lambda=0",
        "model.core.lambda=1",
    ]
    assert complete("train", "small.yaml", "--set", "model.core.lam") == []


@pytest.mark.parametrize("name", ["quickstart", "rmt_enwik8", "rum_cnn_dailymail", "ur_adding"])
def test_every_path_that_is_offered_can_be_set_to_its_value(name):
    recipe = load_recipe(name)
    resolved = recipe.resolve()[0]
    given = all_paths(resolved.settings)
    offered = {path: values[0] for path, values in choices(resolved.settings) if path in given}
    again = recipe.resolve(
        rows=[resolved.row.id], overrides=[f"{path}={value}" for path, value in offered.items()]
    )
    assert len(offered) > 20
    assert again[0].settings == resolved.settings


@pytest.mark.parametrize(
    "words",
    [
        ["train", "smal.yaml", "--row", ""],
        ["train", "nonsense", "--set", "train."],
        ["train", "small.yaml", "--scale", "smokey", "--row", ""],
        ["train", "small.yaml", "--set", "train.steps", "=", "many", "--set", "train."],
        ["show", "nothing/"],
        ["results", "drop", "no"],
        ["published", "nothing."],
    ],
)
def test_what_is_wrong_completes_to_nothing_and_is_not_told(complete, words):
    assert complete(*words) == []


def test_a_folder_of_runs_that_is_none_completes_to_nothing(complete, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("RMEM_RUNS", str(tmp_path / "file"))
    assert complete("status", "") == []


def test_completing_imports_no_torch(recipe):
    program = """
import sys
from rmem_cli.app import main
try:
    main()
except SystemExit:
    print("torch" in sys.modules)
"""
    words = ["rmem", "train", "small.yaml", "--set", "optimizer.l"]
    asked = {"_RMEM_COMPLETE": "complete_bash", "COMP_WORDS": "\n".join(words), "COMP_CWORD": "4"}
    done = subprocess.run(
        [sys.executable, "-c", program], env=os.environ | asked, capture_output=True, text=True
    )
    assert done.stdout.split() == ["optimizer.lr=0.01", "False"]


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_are_told_whole_words(rmem, recipe, monkeypatch, shell):
    monkeypatch.setenv("_RMEM_COMPLETE", f"complete_{shell}")
    monkeypatch.setenv("_TYPER_COMPLETE_FISH_ACTION", "get-args")
    monkeypatch.setenv("_TYPER_COMPLETE_ARGS", "rmem train rum_recall --cell length=3")
    assert "length=30" in rmem().out


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash here")
def test_what_is_installed_works_in_bash(tmp_path):
    program = Path(sys.executable).with_name("rmem")
    told = subprocess.run(
        ["bash", "--norc", "-c", f"exec -a bash bash --norc -c '{program} --install-completion; true'"],
        env=os.environ | {"HOME": str(tmp_path)}, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert "completion installed" in told.stdout, told
    typed = "COMP_WORDS=(rmem train rum_recall --cell length = 3) COMP_CWORD=6"
    asked = f'. ~/.bashrc; {typed}; _rmem_completion rmem; echo "${{COMPREPLY[@]}}"; complete -p rmem'
    done = subprocess.run(
        ["bash", "--norc", "-c", asked],
        env=os.environ | {"HOME": str(tmp_path), "PATH": f"{program.parent}:{os.environ['PATH']}"},
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.stdout.splitlines() == ["30", "complete -o default -F _rmem_completion rmem"]
