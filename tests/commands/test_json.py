"""What scripts read: with `--json`, standard output is one JSON document or nothing, whatever happens."""

import json
import os
from pathlib import Path

import pytest

FOLDERS = ("RMEM_DATA", "RMEM_RUNS", "RMEM_RESULTS", "RMEM_CACHE", "RMEM_NATIVE_CACHE")


def document(ended):
    """What standard output holds, by a reader that takes no word that JSON has not."""
    return json.loads(ended.out, parse_constant=pytest.fail)


@pytest.fixture
def diverging(recipe):
    """The recipe, with a rate at which the loss is no number any more."""
    recipe.write_text(recipe.read_text().replace("kind: adam, lr: 0.01", "kind: sgd, lr: 1.0e+38"))


@pytest.fixture
def native_forms_anew():
    """What was found of the native forms in this process is forgotten before and after."""
    from rmem_cli.ops.native import build

    build.status.cache_clear()
    yield
    build.status.cache_clear()


@pytest.mark.usefixtures("native_forms_anew")
def test_doctor_tells_versions_folders_and_the_form_of_each_operation(rmem, monkeypatch):
    import torch

    from rmem_cli import __version__
    from rmem_cli.ops.native.build import FAMILIES

    monkeypatch.setenv("RMEM_NATIVE", "off")
    ended = rmem("doctor", "--json")
    found = document(ended)
    assert (ended.code, ended.err) == (0, "")
    assert set(found) == {"environment", "folders", "operations"}
    assert set(found["environment"]) == {"rmem", "python", "torch", "cpu", "gpu"}
    assert found["environment"]["rmem"] == __version__
    assert found["environment"]["torch"] == torch.__version__
    assert list(found["folders"]) == list(FOLDERS)
    assert found["folders"]["RMEM_RUNS"] == os.environ["RMEM_RUNS"]
    assert set(found["operations"]) == set(FAMILIES)
    assert {each["form"] for each in found["operations"].values()} == {"fast"}
    assert "RMEM_NATIVE" in found["operations"]["rotation"]["reason"]


@pytest.mark.usefixtures("native_forms_anew")
def test_doctor_tells_what_is_wrong_in_its_document(rmem, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("RMEM_DATA", str(tmp_path / "file"))
    monkeypatch.setenv("RMEM_NATIVE", "perhaps")
    ended = rmem("doctor", "--json")
    assert (ended.code, ended.err) == (0, "")
    assert document(ended)["folders"]["RMEM_DATA"].startswith("none: ")
    assert document(ended)["operations"]["rotation"]["form"] == "none"


def test_a_plan_tells_each_row(rmem, recipe):
    ended = rmem("train", "small.yaml", "--dry-run", "--json")
    plan = document(ended)
    assert ended.code == 0
    assert [(row["row"], row["seeds"], row["steps"], row["batch_size"]) for row in plan["rows"]] == [
        ("gru", [1], 4, 4),
        ("lstm", [1], 4, 4),
    ]
    assert (plan["device"], plan["refused"]) == ("cpu", [])
    assert plan["seconds"] == pytest.approx(sum(row["seconds"] for row in plan["rows"]))
    assert all(row["memory_mb"] > 0 for row in plan["rows"])


def test_a_plan_of_nothing_is_a_document_too(rmem, recipe):
    rmem("train", "small.yaml")
    plan = document(rmem("train", "small.yaml", "--dry-run", "--json"))
    assert (plan["seconds"], plan["rows"], plan["refused"]) == (0, [], [])


def test_validate_tells_what_is_valid_and_what_is_wrong_and_where(rmem, recipe):
    Path("wrong.yaml").write_text(
        recipe.read_text().replace("steps: 4", "stepps: .nan").replace("small", "wrong")
    )
    ended = rmem("validate", "small.yaml", "wrong.yaml", "nowhere.yaml", "--json")
    assert ended.code == 2
    right, wrong, nowhere = document(ended)
    assert (right["valid"], right["rows"], right["problems"]) == (True, ["gru", "lstm"], [])
    assert (wrong["valid"], wrong["problems"][0]["line"], wrong["problems"][0]["path"]) == (
        False,
        7,
        "train.stepps",
    )
    assert (nowhere["valid"], nowhere["problems"][0]["line"]) == (False, None)
    assert "rmem: wrong.yaml:7" in ended.err


def test_eval_tells_results_and_failures(rmem, recipe):
    rmem("train", "small.yaml", "--row", "gru")
    results = document(rmem("eval", "small.yaml", "--row", "gru", "--json"))
    assert [(row["row"], row["metric"]) for row in results["results"]] == [
        ("gru", "loss"),
        ("gru", "accuracy"),
    ]
    assert results["failures"] == []
    ended = rmem("eval", "small.yaml", "--json")
    both = document(ended)
    assert ended.code == 6
    assert [row["value"] for row in both["results"]] == [row["value"] for row in results["results"]]
    assert [failure["run"] for failure in both["failures"]] == ["small lstm seed 1 (paper)"]


@pytest.mark.parametrize("command", ["train small.yaml --json", "report small.yaml --format json"])
def test_a_run_that_diverged_has_no_number(rmem, diverging, command):
    rmem("train", "small.yaml", "--row", "gru")
    ended = rmem(*command.split())
    assert document(ended)
    assert "NaN" not in ended.out


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("train nowhere.yaml --json", 2),
        ("train small.yaml --dry-run --json --set task.length=-1", 2),
        ("train small.yaml --dry-run --json --device tpu", 2),
        ("train small.yaml --dry-run --json --set model.core.hidden_size=1000000000", 6),
        ("train small.yaml --measure --json", 2),
        ("eval small.yaml --row gru --json", 2),
        ("eval small.yaml --row gur --json", 2),
        ("eval small.yaml --json --checkpoint first", 2),
        ("doctor --jsn", 2),
        ("doctor --json more", 2),
        ("validate --json --all", 2),
        ("show small.yaml --json --row gur", 2),
        ("list --json all", 2),
        ("published nothing --format json", 2),
        ("bench nothing --json", 2),
        ("fetch --list --check --json", 2),
        ("fetch pbt --json", 2),
        ("fetch ptb --from nowhere --json", 3),
        ("report small.yaml --format jsn", 2),
    ],
)
def test_what_fails_leaves_standard_output_empty_and_says_why(rmem, recipe, command, code):
    ended = rmem(*command.split(" "))
    assert (ended.code, ended.out) == (code, "")
    assert "rmem: " in ended.err
    assert "Traceback" not in ended.err


@pytest.mark.parametrize(
    "command",
    [
        "list --json",
        "show small.yaml --json",
        "validate --json",
        "published --format json",
        "published rum2017 --format json",
        "fetch --list --json",
        "fetch --check --json",
        "report small.yaml --format json",
        "report small.yaml --grid --format json",
        "report --format json",
    ],
)
def test_every_other_document_is_json(rmem, recipe, command):
    Path(os.environ["RMEM_RESULTS"]).mkdir()
    ended = rmem(*command.split())
    assert ended.code == 0
    assert document(ended) is not None
