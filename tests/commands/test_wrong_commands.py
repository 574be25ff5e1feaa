"""Whatever is wrong with a command: one message with place and cure, the right exit code, no traceback."""

import os
from pathlib import Path

import pytest

from rmem_cli.recipe import list_recipes

LANGUAGE_MODEL = "task={kind: language_model, dataset: ptb, form: char, segment_length: 5}"


def changed(recipe, old, new):
    text = recipe.read_text()
    assert old in text
    recipe.write_text(text.replace(old, new))


# (what is replaced in the recipe, by what, the place and the beginning of the message)
RECIPES = {
    "unknown key": (
        "steps: 4",
        "stepps: 4",
        "small.yaml:7:9: train.stepps: unknown key; did you mean 'steps'?",
    ),
    "misspelled core": (
        "kind: gru, h",
        "kind: grru, h",
        "small.yaml:5:22: model.core.kind: unknown core 'grru'; did you mean 'gru'?",
    ),
    "wrong type": (
        "lr: 0.01",
        "lr: fast",
        "small.yaml:6:29: optimizer.lr: must be a number, not the text 'fast'",
    ),
    "duplicate key": ("seeds: [1]", "seeds: [1]\nseeds: [2]", "small.yaml:10:1: seeds: the key stands twice"),
    "tab": ("rows: [{id", "rows:\n\t- [{id", "small.yaml:11:1: "),
    "negative size": (
        "hidden_size: 4",
        "hidden_size: -4",
        "small.yaml:5:40: model.core.hidden_size: must be greater than 0",
    ),
    "unfinished": ("scales: {smoke", "scales: [smoke", "small.yaml:11:"),
    "unknown paper": (
        "paper: rum2019",
        "paper: rum2091",
        "small.yaml:3:8: paper: unknown published paper 'rum2091'",
    ),
}


@pytest.mark.parametrize("mistake", RECIPES)
@pytest.mark.parametrize("command", ["train", "validate", "show", "eval", "report"])
def test_a_wrong_recipe_is_refused_with_its_place(rmem, recipe, mistake, command):
    old, new, message = RECIPES[mistake]
    changed(recipe, old, new)
    ended = rmem(command, "small.yaml")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith(f"rmem: {message}")
    assert ended.err.count("\n") == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"\x7fELF\x00\x01\xff\xfe", "small.yaml"),
        (b"- a\n- b\n", "small.yaml:1:1"),
        ("näme: ü".encode("latin-1"), "small.yaml"),
    ],
)
def test_a_file_that_is_no_recipe_is_refused_in_a_sentence(rmem, recipe, content, message):
    recipe.write_bytes(content)
    ended = rmem("train", "small.yaml")
    assert (ended.code, ended.out) == (2, "")
    assert message in ended.err
    assert ended.err.count("\n") == 1


# (arguments, the message's beginning)
COMMANDS = {
    "missing file": (["train", "smal.yaml"], "smal.yaml: there is no such file"),
    "unknown recipe": (["train", "quikstart"], "no recipe is called 'quikstart'; did you mean 'quickstart'?"),
    "a folder": (["train", "."], ". is a folder"),
    "unknown row": (["train", "small.yaml", "--row", "gur"], "small has no row 'gur'; did you mean 'gru'?"),
    "unknown cell": (
        ["train", "small.yaml", "--cell", "length=7"],
        "small has no cell 'length=7' at scale 'paper'; there are none",
    ),
    "row left out at the scale": (
        ["train", "small.yaml", "--scale", "smoke", "--row", "lstm"],
        "small leaves row 'lstm' out at scale smoke",
    ),
    "unknown scale": (
        ["train", "small.yaml", "--scale", "smokey"],
        "small has no scale 'smokey'; did you mean 'smoke'?",
    ),
    "what is like nothing": (["train", "nothing"], "no recipe is called 'nothing'; there are: "),
    "unknown scale of all reports": (
        ["report", "--scale", "smokey"],
        "no recipe has a scale 'smokey'; did you",
    ),
    "what names no run": (
        ["train", "--from-run", "small"],
        "--from-run small: this names no run; `rmem runs",
    ),
    "no run at all": (["train", "--from-run", ""], "--from-run : this names no run"),
    "negative seed": (["train", "small.yaml", "--seed", "-1"], "a seed must be at least 0, not -1"),
    "set without a value": (
        ["train", "small.yaml", "--set", "train.steps"],
        "--set train.steps: write it as path=value",
    ),
    "set of an unknown key": (
        ["train", "small.yaml", "--set", "train.step=3"],
        "--set train.step=3: unknown key; did you mean 'steps'?",
    ),
    "set of a wrong type": (
        ["train", "small.yaml", "--set", "train.steps=many"],
        "--set train.steps=many: must be a whole number",
    ),
    "set of a negative size": (
        ["train", "small.yaml", "--set", "train.batch_size=-1"],
        "--set train.batch_size=-1: must be greater than 0",
    ),
    "set of broken YAML": (
        ["train", "small.yaml", "--set", "train.steps=[1"],
        "--set train.steps=[1: not valid YAML",
    ),
    "set of an unknown protocol": (
        ["eval", "small.yaml", "--set", "eval.tset.examples=1"],
        "--set eval.tset.examples=1: no evaluation protocol is called 'tset'",
    ),
    **{
        f"device {device!r}": (
            ["train", "small.yaml", "--device", device],
            f"--device {device}: there is no such kind of device; here there are: cpu",
        )
        for device in ("gpu", "GPU", "", "cuda:", "cuda:x", "cpu:-1", "tpu:0")
    },
    **{
        f"device {device!r}": (
            [command, "small.yaml", "--row", "gru", "--device", device],
            f"--device {device}: there is none here that can compute; there are: cpu",
        )
        for command, device in (("train", "meta"), ("eval", "cuda:77"), ("train", "xpu"), ("train", "mps:9"))
    },
    "report of an unknown name": (
        ["report", "rum_recal"],
        "no recipe is called 'rum_recal'; did you mean 'rum_recall'?",
    ),
    "report at an unknown scale": (["report", "small.yaml", "--scale", "big"], "small has no scale 'big'"),
    "fetch of an unknown name": (["fetch", "pbt"], ""),
    "evaluation that the model cannot read": (
        ["train", "small.yaml", "--row", "gru", "--set", "eval.test.task.alphabet=7"],
        "small gru seed 1 (paper): evaluation 'test' changes the task",
    ),
}


@pytest.mark.parametrize("mistake", COMMANDS)
def test_a_wrong_command_is_refused_in_a_sentence(rmem, recipe, mistake):
    arguments, message = COMMANDS[mistake]
    ended = rmem(*arguments)
    assert ended.code == 2
    assert ended.message.startswith(f"rmem: {message}")
    assert ended.message.count("\n") == 0
    assert "Traceback" not in ended.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trian", "small.yaml"], "No such command 'trian'. Did you mean 'train'?"),
        (["train"], "Missing argument"),
        (["train", "small.yaml", "--jobs", "0"], "--jobs"),
        (["train", "small.yaml", "--seed", "one"], "--seed"),
        (["train", "small.yaml", "--rerun", "some"], "--rerun"),
        (["train", "small.yaml", "--sed", "1"], "No such option"),
        (["report", "small.yaml", "--format", "pdf"], "--format"),
        (["eval", "small.yaml", "--checkpoint", "first"], "'--checkpoint': 'first' is not one of"),
        (["sample", "small.yaml", "--beam", "0"], "'--beam': it must be greater than or equal to 1"),
    ],
)
def test_wrong_options_are_named_with_the_help_that_lists_the_right_ones(rmem, recipe, arguments, message):
    ended = rmem(*arguments)
    assert (ended.code, ended.out) == (2, "")
    assert message in ended.err
    assert "-h' for help" in ended.err
    assert "Traceback" not in ended.err


@pytest.mark.parametrize("command", ["train", "eval"])
def test_a_wrong_variable_is_refused_before_anything_is_run(rmem, recipe, monkeypatch, command):
    monkeypatch.setenv("RMEM_NATIVE", "maybe")
    ended = rmem(command, "small.yaml")
    assert (ended.code, ended.message) == (2, "rmem: RMEM_NATIVE is 'maybe'; it must be one of auto, on, off")


@pytest.mark.parametrize("command", [["train"], ["eval"]])
def test_missing_data_names_the_command_that_gets_it(rmem, recipe, command):
    ended = rmem(
        *command, "small.yaml", "--row", "gru", "--set", LANGUAGE_MODEL, "--set", "eval.test.metrics=[bpc]"
    )
    assert (ended.code, ended.out) == (3, "")
    assert ended.err.startswith("rmem: The data set ptb (char) is not in ")
    assert "`rmem fetch ptb`" in ended.err
    assert ended.err.count("\n") == 1


def test_a_text_shorter_than_a_batch_is_refused(rmem, recipe, write_text):
    write_text()
    ended = rmem(
        "train", "small.yaml", "--row", "gru", "--set", LANGUAGE_MODEL, "--set", "eval.test.metrics=[bpc]",
        "--set", "train.batch_size=500",
    )  # fmt: skip
    assert ended.code == 2
    assert "the training text has 600 symbols" in ended.message
    assert "lower train.batch_size" in ended.message


@pytest.mark.parametrize("variable", ["RMEM_RESULTS", "RMEM_RUNS"])
@pytest.mark.parametrize("below", ["", "folder"])
def test_a_folder_that_cannot_be_written_is_refused_before_training(
    rmem, recipe, monkeypatch, variable, below
):
    # Permissions do not hold back root, but nobody can make a folder of a file.
    file = Path("a-file")
    file.write_text("")
    monkeypatch.setenv(variable, str(file / below))
    ended = rmem("train", "small.yaml")
    assert (ended.code, ended.out) == (2, "")
    assert "a-file" in ended.message
    assert ended.message.count("\n") == 0
    assert "step" not in ended.err


@pytest.mark.parametrize("command", ["train", "report"])
def test_a_damaged_table_of_results_is_named_with_its_line(rmem, recipe, command):
    rmem("train", "small.yaml", "--row", "gru")
    table = Path(os.environ["RMEM_RESULTS"]) / "small.csv"
    table.write_text(table.read_text() + "half a row,1,2\n")
    ended = rmem(command, "small.yaml")
    assert (ended.code, ended.out) == (2, "")
    assert f"small.csv:{len(table.read_text().splitlines())}: the row has 3 cells" in ended.message
    assert "restore the file with git" in ended.message


def test_a_damaged_table_is_refused_before_anything_is_trained(rmem, recipe):
    rmem("train", "small.yaml", "--row", "gru")
    table = Path(os.environ["RMEM_RESULTS"]) / "small.csv"
    table.write_text(table.read_text() + "half a row,1,2\n")
    ended = rmem("train", "small.yaml", "--row", "gru", "--rerun", "all")
    assert ended.code == 2
    assert "the row has 3 cells" in ended.message
    assert "step" not in ended.err


def test_a_damaged_checkpoint_is_refused_with_3(rmem, recipe):
    rmem("train", "small.yaml", "--row", "gru")
    for weights in Path(os.environ["RMEM_RUNS"]).rglob("weights.safetensors"):
        weights.write_bytes(b"\0" * weights.stat().st_size)
    ended = rmem("eval", "small.yaml", "--row", "gru")
    assert (ended.code, ended.out) == (3, "")
    assert "the checkpoint 'last' in" in ended.message
    assert "is damaged: weights.safetensors is not what was written" in ended.message
    assert ended.message.count("\n") == 0


def test_a_model_larger_than_the_memory_is_one_sentence(rmem, recipe):
    ended = rmem("train", "small.yaml", "--row", "gru", "--set", "model.core.hidden_size=1000000000")
    assert ended.code == 6
    assert "the memory does not suffice" in ended.message
    assert "Traceback" not in ended.err


def test_all_mistakes_of_a_recipe_are_told_at_once(rmem, recipe):
    changed(recipe, "lr: 0.01", "lr: -1")
    changed(recipe, "steps: 4", "stepps: 4")
    ended = rmem("validate", "small.yaml")
    assert ended.code == 2
    assert len(ended.err.splitlines()) >= 2


def test_the_names_in_these_tests_are_close_to_real_ones():
    assert {"quickstart", "rum_recall"} <= set(list_recipes())
