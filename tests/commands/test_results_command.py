"""`rmem results` and `rmem show RUN`: from a cell of a report to its run, and out of it."""

import json
import time

import pytest


@pytest.fixture
def run(rmem, recipe):
    """The name of a run with results, and with its folder."""
    assert rmem("train", "small.yaml", "--scale", "smoke").code == 0
    (found,) = json.loads(rmem("runs", "list", "--json").out)
    return found["name"]


def test_a_run_is_shown_with_its_results_environment_command_and_folder(rmem, run):
    ended = rmem("show", run)
    assert ended.code == 0
    assert "command: rmem train small.yaml --row gru --scale smoke --seed 1" in ended.out
    assert "torch_version: " in ended.out
    assert "loss (test, test): " in ended.out
    assert json.loads(rmem("show", run, "--json").out)["results"][0]["metric"] in ("loss", "accuracy")


def test_a_run_is_shown_by_the_beginning_of_its_name_if_no_other_begins_so(rmem, recipe, run):
    whole = rmem("show", run).out
    assert rmem("show", "small/gru").out == rmem("show", "small/gru/").out == whole
    assert "there is no result of a run 'small/gr'" in rmem("show", "small/gr").err
    assert "there is no result of a run 'smal/gru' in " in rmem("show", "smal/gru").err
    assert "; of experiments, did you mean 'small'?" in rmem("show", "smal/gru").err
    assert rmem("train", "small.yaml", "--row", "gru").code == 0
    ended = rmem("show", "small/gru")
    assert (ended.code, ended.out) == (2, "")
    assert "'small/gru' is 2 runs with results; name one: " in ended.err
    assert run in ended.err


def test_a_run_whose_folder_is_gone_says_how_to_make_it_again(rmem, run):
    assert rmem("runs", "rm", run, "--yes").code == 0
    ended = rmem("show", run)
    assert ended.code == 0
    assert "its folder is gone" in ended.err
    assert f"rmem train --from-run {run}" in ended.err


def test_of_a_run_nothing_can_be_chosen(rmem, run):
    ended = rmem("show", run, "--row", "gru", "--set", "train.steps=3")
    assert (ended.code, ended.out) == (2, "")
    assert "leave out --row, --set" in ended.err


def test_an_unknown_run_is_a_sentence_with_the_nearest(rmem, run):
    ended = rmem("show", run[:-1] + ("0" if run[-1] != "0" else "1"))
    assert ended.code == 2
    assert f"did you mean {run!r}" in ended.err


def test_a_withdrawn_run_counts_nowhere_says_why_and_is_trained_again(rmem, run):
    assert rmem("results", "drop", run, "--reason", "a wrong rate").code == 0
    report = rmem("report", "small.yaml", "--scale", "smoke")
    assert "withdrawn: 2 results: a wrong rate" in " ".join(report.out.split())
    assert "withdrawn: a wrong rate" in rmem("show", run).out
    time.sleep(1.1)  # results are told apart by the second
    assert rmem("train", "small.yaml", "--scale", "smoke").code == 0
    assert "withdrawn" not in rmem("report", "small.yaml", "--scale", "smoke").out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["drop", "small/lstm", "--reason", "x"], "there is no result of a run"),
        (["drop", "small", "--reason", " "], "--reason is blank"),
        (["merge", "nowhere"], "no results to merge"),
    ],
)
def test_what_cannot_be_done_is_a_sentence(rmem, run, arguments, says):
    ended = rmem("results", *arguments)
    assert ended.code == 2
    assert says in ended.err


def _values(rmem, run):
    return [(one["metric"], one["value"]) for one in json.loads(rmem("show", run, "--json").out)["results"]]


@pytest.mark.parametrize("folder_is_there", [True, False])
def test_a_run_is_made_again_by_its_name_with_the_same_numbers(rmem, run, folder_is_there):
    before = _values(rmem, run)
    if not folder_is_there:
        rmem("runs", "rm", run, "--yes")
    ended = rmem("train", "small.yaml", "--from-run", run)
    assert ended.code == 0
    assert "runs to do: 1 of 1" in ended.err
    assert "small gru seed 1 (smoke): step 2/2" in ended.err
    assert _values(rmem, run) == before


@pytest.mark.parametrize("seed", [1, 9])
def test_a_run_made_again_is_of_its_row_its_cell_its_scale_and_its_seed(rmem, recipe, seed):
    (recipe.parent / "recipes").mkdir()
    text = recipe.read_text().replace(
        "seeds: [1]", "seeds: [1]\nmatrix: {task.length: [2, 3], optimizer.lr: [0.1, 0.2]}"
    )
    (recipe.parent / "recipes" / "small.yaml").write_text(text)
    chosen = ["--cell", "length=3", "--cell", "lr=0.1", "--row", "lstm"]
    assert rmem("train", "small", "--seed", seed, *chosen).code == 0
    (found,) = json.loads(rmem("runs", "list", "--json").out)
    ended = rmem("train", "--from-run", found["name"])
    assert ended.code == 0
    assert f"small lstm length=3,lr=0.1 seed {seed} (paper): step 4/4" in ended.err
    assert "runs to do: 1 of 1" in ended.err


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("lr: 0.01", "lr: 0.02", "the settings of the row have changed. Take the recipe of "),
        ("train.steps: 2", "train.steps: 3", "the settings of the row have changed. Take the recipe of "),
        ("smoke: {", "other: {", "small has no scale 'smoke'"),
        ("seeds: [1]", "seeds: [1]\nmatrix: {task.length: [2, 3]}", "its row gru has no cell '' now"),
        ("name: small", "name: small  # the same", None),
    ],
)
def test_a_run_is_not_made_again_by_a_recipe_that_has_changed(rmem, recipe, run, old, new, says):
    recipe.write_text(recipe.read_text().replace(old, new))
    ended = rmem("train", "small.yaml", "--from-run", run)
    assert ended.code == (0 if says is None else 2)
    assert says is None or says in ended.err


def test_a_run_made_again_may_be_named_by_its_beginning(rmem, recipe, run):
    ended = rmem("train", "small.yaml", "--from-run", "small/gru")
    assert (ended.code, "runs to do: 1 of 1" in ended.err) == (0, True)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--scale", "paper"], "leave out --scale"),
        (["--seed", "1", "--row", "gru"], "leave out --row, --seed"),
        (["--set", "train.steps=2"], "leave out --set"),
        (["--rerun", "missing"], "leave out --rerun"),
    ],
)
def test_of_a_run_made_again_nothing_can_be_chosen(rmem, run, more, says):
    ended = rmem("train", "small.yaml", "--from-run", run, *more)
    assert ended.code == 2
    assert says in ended.err


def test_a_run_that_cannot_be_made_again_is_a_sentence(rmem, recipe, run):
    another = run[:-1] + ("1" if run[-1] == "0" else "0")
    assert "there is no result of a run" in rmem("train", "small.yaml", "--from-run", another).err
    assert f"did you mean '{run}'" in rmem("train", "small.yaml", "--from-run", f"{run}0").err
    assert "this names no run" in rmem("train", "small.yaml", "--from-run", "small").err
    assert "no recipe is called 'small'" in rmem("train", "--from-run", run).err
    assert "is of small, not of other" in _of_another(rmem, recipe, run)
    assert rmem("train", "small.yaml", "--row", "gru", "--set", "train.steps=1").code == 0
    changed = next(
        one["name"] for one in json.loads(rmem("runs", "list", "--json").out) if "custom" in one["name"]
    )
    assert "was changed by --set" in rmem("train", "small.yaml", "--from-run", changed).err
    assert "name a recipe" in rmem("train").err


def _of_another(rmem, recipe, run):
    (recipe.parent / "other.yaml").write_text(recipe.read_text().replace("name: small", "name: other"))
    return rmem("train", "other.yaml", "--from-run", run).err
