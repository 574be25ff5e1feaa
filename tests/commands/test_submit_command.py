"""`rmem submit`, by submitit's local executor; `tests/slurm/one_node.sh` tries a real Slurm."""

import json
import os
import signal
import sys
import time
from pathlib import Path

import pytest

from rmem_cli.errors import UsageError
from rmem_cli.paths import runs_root
from rmem_cli.recipe import load_recipe
from rmem_cli.records.pulse import read_pulse
from rmem_cli.records.status import read_status
from rmem_cli.runs.cluster import Job, read_profile

LocalExecutor = pytest.importorskip("submitit").LocalExecutor


def states(rmem):
    return [run["state"] for run in json.loads(rmem("status", "--json").out)]


def test_submitted_runs_come_to_their_ends_and_are_seen_all_along(rmem, recipe, process_timeout, tmp_path):
    submitted = rmem("submit", recipe, "--cluster", "local")
    assert submitted.code == 0
    assert [line.split("\t")[1] for line in submitted.out.splitlines()] == [
        "small gru seed 1 (paper)",
        "small lstm seed 1 (paper)",
    ]
    end = time.monotonic() + process_timeout
    while (seen := states(rmem)) != ["ok", "ok"]:
        assert {*seen} <= {"queued", "running", "ok"}
        assert time.monotonic() < end
        time.sleep(1)
    while "runs to do: 0 of 2" not in rmem("submit", recipe, "--cluster", "local").err:
        assert time.monotonic() < end  # rows are written behind the status
    assert rmem("train", recipe).code == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gpu: 2", "gpu: unknown key; did you mean 'gpus'"),
        ("minutes: soon", "minutes: must be a whole number, not the text 'soon'"),
        ("- 1", "the file: must be a mapping, like .*, not a list"),
        ("a: [", "is no YAML"),
        ("\tminutes: 1", "is no YAML"),
    ],
)
def test_a_profile_that_is_wrong_is_one_sentence(tmp_path, text, message):
    (tmp_path / "profile.yaml").write_text(text)
    with pytest.raises(UsageError, match=message):
        read_profile(tmp_path / "profile.yaml")


def test_a_profile_that_is_not_there_is_named(rmem, recipe):
    ended = rmem("submit", recipe, "--profile", "nowhere.yaml")
    assert (ended.code, "the profile nowhere.yaml cannot be read" in ended.message) == (2, True)


def test_without_slurm_or_submitit_nothing_is_noted(rmem, recipe, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    ended = rmem("submit", recipe)
    assert (ended.code, "sbatch is not found" in ended.message) == (2, True)
    monkeypatch.setitem(sys.modules, "submitit", None)
    ended = rmem("submit", recipe)
    assert (ended.code, "needs submitit" in ended.message) == (2, True)
    assert states(rmem) == []


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="there is no /proc, which names processes")
def test_a_job_whose_time_is_up_saves_a_checkpoint_and_is_requeued(rmem, recipe, process_timeout):
    never = ("steps", "eval_every", "checkpoint_every")
    overrides = [f"train.{name}=100000000" for name in never]
    (spec,) = load_recipe(str(recipe)).runs("paper", ["gru"], [1], overrides)
    job = LocalExecutor(folder="jobs").submit(Job("cpu", 1, repeat=False), spec)
    controller, end = job._process, time.monotonic() + process_timeout
    try:

        def wait_for(what):
            while not (found := what()):
                assert time.monotonic() < end, job.stderr()
                time.sleep(0.05)
            return found

        (folder,) = wait_for(lambda: list(runs_root().glob("small/gru/custom-seed1-*")))
        first = wait_for(lambda: (pulse := read_pulse(folder)) and pulse.step)
        children = Path(f"/proc/{controller.pid}/task/{controller.pid}/children")
        (process,) = map(int, children.read_text().split())
        os.kill(process, signal.SIGTERM)  # Slurm sends it beside; submitit passes over it
        wait_for(lambda: (pulse := read_pulse(folder)) and pulse.step > first)
        assert not (folder / "checkpoints").exists()
        os.kill(process, signal.SIGUSR2)
        wait_for(lambda: "Requeued job" in f"{job.stdout()}{job.stderr()}")
        assert (folder / "checkpoints" / "last.json").exists()
        assert read_status(folder).step > first
    finally:
        job.cancel()
        controller.wait(process_timeout)


def test_a_job_that_goes_back_into_the_queue_does_not_start_all_over_again(make_spec):
    again = Job("cpu", 1, repeat=True).checkpoint(make_spec())
    assert again.function._repeat is False
    assert again.args == (make_spec(),)
