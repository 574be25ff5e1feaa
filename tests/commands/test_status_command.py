"""`rmem status` on folders of runs, whoever writes to them."""

import json
import os
import time
from pathlib import Path

import pytest

from rmem_cli.records.pulse import Pulse, read_pulse, write_pulse
from rmem_cli.records.status import RunStatus


@pytest.fixture
def folder(lab, make_spec):
    spec = make_spec("train.steps=8", row="gru")
    lab.train(spec)
    return lab.folder(spec)


def told(rmem):
    (run,) = json.loads(rmem("status", "--json").out)
    return run


def test_a_run_that_has_ended_names_its_last_metric_and_nothing_is_left(folder, rmem):
    run = told(rmem)
    assert (run["state"], run["step"], run["total"]) == ("ok", 8, 8)
    assert run["metric"].startswith("loss ")
    assert run["metric"].endswith("at step 8")
    assert run["seconds_left"] is None


def test_a_run_on_another_machine_is_followed_by_what_it_writes(folder, rmem):
    (folder / "status.json").write_text(json.dumps(vars(RunStatus("running", 0))))
    write_pulse(folder, Pulse(3, 8, 2.0, "loss 0.5", host="elsewhere"))
    run = told(rmem)
    assert (run["state"], run["step"], run["host"]) == ("running", 3, "elsewhere")
    assert run["seconds_left"] == 10.0
    assert "3/8\t0.5 steps/s\t10.0 s\tloss 0.5\telsewhere" in rmem("status").out


@pytest.mark.parametrize(
    ("seconds_per_step", "age", "state"),
    [(1.0, 50, "running"), (1.0, 70, "silent"), (60.0, 500, "running"), (60.0, 700, "silent")],
)
def test_a_run_is_silent_after_a_minute_or_ten_steps(folder, rmem, seconds_per_step, age, state):
    (folder / "status.json").write_text(json.dumps(vars(RunStatus("running", 0))))
    write_pulse(folder, Pulse(3, 8, seconds_per_step, "", time=time.time() - age))
    assert told(rmem)["state"] == state


def test_a_pulse_that_is_damaged_or_cannot_be_written_harms_nothing(folder, rmem, lab, make_spec):
    (folder / "pulse.json").write_text("{")
    assert read_pulse(folder) is None
    assert told(rmem)["state"] == "ok"
    (folder / "pulse.json").unlink()
    (folder / "pulse.json").mkdir()
    assert lab.train(make_spec("train.steps=8", row="gru")).status == "ok"


def test_a_name_that_is_none_is_refused(folder, rmem):
    assert "there is no run 'nowhere'" in rmem("status", "nowhere").message
    assert rmem("status", "copying").code == 0


def test_a_checkpoint_that_is_replaced_meanwhile_is_passed_over(folder, rmem, monkeypatch):
    scandir = os.scandir

    def gone(path):
        if Path(path).name.startswith("last-"):
            raise FileNotFoundError(path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", gone)
    assert told(rmem)["state"] == "ok"
    assert rmem("runs", "list").code == 0
