"""`rmem runs`."""

import json
import os
from pathlib import Path

import pytest
from filelock import FileLock

RUN = "small/gru/smoke-seed1-"


@pytest.fixture
def trained(rmem, recipe):
    """The folder of a trained run."""
    assert rmem("train", recipe, "--scale", "smoke").code == 0
    (folder,) = Path(os.environ["RMEM_RUNS"]).glob(f"{RUN}*")
    return folder


def test_runs_are_listed_with_their_state_size_and_age(rmem, trained):
    ended = rmem("runs", "list")
    (line,) = ended.out.splitlines()
    name, status, size, _ = line.split("\t")
    assert name.startswith(RUN)
    assert status == "ok at step 2"
    assert size.endswith(("kB", "MB"))
    assert "1 run in " in ended.err


def test_json_has_the_numbers(rmem, trained):
    (found,) = json.loads(rmem("runs", "list", "--json").out)
    assert found["path"] == str(trained)
    assert (found["status"], found["step"], found["message"]) == ("ok", 2, "")
    assert found["bytes"] == sum(path.stat().st_size for path in trained.rglob("*") if path.is_file())
    assert 0 <= found["age_seconds"] < 3600


def test_a_run_whose_status_is_damaged_is_listed(rmem, trained):
    (trained / "status.json").write_text("{")
    (found,) = json.loads(rmem("runs", "list", "--json").out)
    assert found["status"] is None


def test_without_runs_there_is_nothing_to_list(rmem):
    ended = rmem("runs", "list")
    assert (ended.code, ended.out) == (0, "")
    assert "0 runs" in ended.err


@pytest.mark.parametrize("part", [1, 2, 3])
def test_a_run_is_deleted_with_the_folders_that_it_leaves_empty(rmem, trained, part):
    root = Path(os.environ["RMEM_RUNS"])
    results = sorted(Path(os.environ["RMEM_RESULTS"]).rglob("*.csv"))
    name = "/".join(trained.relative_to(root).parts[:part])
    ended = rmem("runs", "rm", name, "--yes")
    assert ended.code == 0
    assert "deleted 1 of 1 run" in ended.err
    assert list(root.iterdir()) == []
    assert sorted(Path(os.environ["RMEM_RESULTS"]).rglob("*.csv")) == results


def test_the_others_stay(rmem, recipe, trained):
    rmem("train", recipe, "--scale", "smoke", "--seed", "2")
    rmem("runs", "rm", f"small/gru/{trained.name}", "-y")
    (found,) = json.loads(rmem("runs", "list", "--json").out)
    assert found["name"].startswith("small/gru/smoke-seed2-")


def test_nothing_is_deleted_without_a_yes(rmem, trained):
    ended = rmem("runs", "rm", "small")
    assert ended.code == 2
    assert "--yes" in ended.err
    assert (trained / "status.json").exists()


def test_a_run_that_someone_works_on_is_left_alone(rmem, recipe, trained):
    rmem("train", recipe, "--scale", "smoke", "--seed", "2")
    with FileLock(trained / "lock"):
        ended = rmem("runs", "rm", "small", "--yes")
    assert ended.code == 2
    assert f"another process is working on the run in {trained}" in ended.err
    (found,) = json.loads(rmem("runs", "list", "--json").out)
    assert found["path"] == str(trained)


def test_an_unknown_run_is_a_sentence(rmem, trained):
    ended = rmem("runs", "rm", "small", "smoll", "--yes")
    assert ended.code == 2
    assert "there is no run 'smoll'" in ended.err
    assert trained.exists()
