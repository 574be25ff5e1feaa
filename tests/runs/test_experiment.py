"""Many runs: which are to be done, one after the other and side by side."""

import contextlib
import io
import multiprocessing
import os
import signal
from collections import Counter
from pathlib import Path

import pytest
from rich.console import Console

from rmem_cli.models.cores.torch_rnn import GRU
from rmem_cli.models.sequence import SequenceModel
from rmem_cli.recipe import load_recipe
from rmem_cli.records.checkpoint import load_checkpoint
from rmem_cli.records.status import read_status
from rmem_cli.results.store import ResultStore
from rmem_cli.runs.experiment import failed_runs, missing_runs, train_runs
from rmem_cli.runs.machine import Machine


@pytest.fixture
def runs(recipes):
    """The runs of the copying experiment: two rows, two seeds."""

    def make(*sets, seeds=(1, 2)):
        return load_recipe(recipes["copying"]).runs(seeds=list(seeds), overrides=sets)

    return make


def do(specs, **options):
    return train_runs(specs, Machine("cpu", 1), Console(file=io.StringIO()), **options)


def store():
    return ResultStore(Path(os.environ["RMEM_RESULTS"]))


def test_only_runs_without_results_are_missing(runs):
    assert missing_runs(runs(), "missing") == runs()
    assert do(runs()[:2]) == []
    assert missing_runs(runs(), "missing") == runs()[2:]
    assert missing_runs(runs(), "all") == runs()


def test_a_run_without_one_of_its_metrics_or_protocols_is_missing(runs):
    do(runs())
    assert len(missing_runs(runs("eval.test.examples=8"), "missing")) == 4
    assert len(missing_runs(runs("optimizer.lr=0.02"), "missing")) == 4
    table = Path(os.environ["RMEM_RESULTS"]) / "copying.csv"
    table.write_text("".join(table.read_text().splitlines(keepends=True)[:-1]))
    assert missing_runs(runs(), "missing") == runs()[-1:]


def test_runs_that_failed_are_repeated_only_if_asked(runs):
    specs = runs("train.diverged_above=0.1")
    failures = do(specs)
    assert [(failure.spec, failure.exit_code) for failure in failures] == [(spec, 4) for spec in specs]
    assert all(failure.message.startswith("diverged: the loss is ") for failure in failures)
    assert missing_runs(specs, "missing") == []
    assert missing_runs(specs, "failed") == specs
    do(runs())
    assert missing_runs(runs(), "failed") == []


def test_a_run_that_fails_does_not_stop_the_others(runs):
    good, diverging = runs(seeds=[1]), runs("train.diverged_above=0.1", seeds=[1])
    refused = runs("eval.test.task.alphabet=7", seeds=[1])[0]
    failures = do([diverging[0], good[0], refused, diverging[1], good[1]])
    assert [failure.spec for failure in failures] == [diverging[0], refused, diverging[1]]
    assert [failure.exit_code for failure in failures] == [4, 2, 4]
    assert Counter(row.status for row in store().read("copying")) == {"ok": 4, "diverged": 4}


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_run_that_dies_of_something_unforeseen_does_not_stop_the_others(runs, monkeypatch, jobs):
    def step(model, *rest):
        if isinstance(model.core, GRU):
            raise ZeroDivisionError("nobody foresaw this")
        return original(model, *rest)

    original = SequenceModel.step
    monkeypatch.setattr(SequenceModel, "step", step)
    fork = multiprocessing.get_context("fork")  # processes that have this step, too
    monkeypatch.setattr("multiprocessing.get_context", lambda _: fork)
    failures = do(runs(), jobs=jobs)
    failures.sort(key=lambda failure: failure.spec.seed)  # either of two processes may be the first to fail
    assert [(failure.spec, failure.exit_code) for failure in failures] == [(spec, 6) for spec in runs()[:2]]
    assert Counter(row.status for row in store().read("copying")) == {"ok": 4, "failed": 4}
    assert missing_runs(runs(), "missing") == []
    assert failed_runs(runs()) == missing_runs(runs(), "failed") == runs()[:2]


def test_a_label_names_experiment_row_seed_and_scale(runs):
    assert runs()[0].label == "copying gru seed 1 (paper)"


def test_side_by_side_gives_the_numbers_of_one_after_the_other(runs, same, monkeypatch, tmp_path):
    assert do(runs(seeds=[1]), jobs=2) == []
    side_by_side = same(store().read("copying"))
    monkeypatch.setenv("RMEM_RUNS", str(tmp_path / "other-runs"))
    monkeypatch.setenv("RMEM_RESULTS", str(tmp_path / "other-results"))
    do(runs(seeds=[1]))
    one_by_one = same(store().read("copying"))
    assert sorted(side_by_side, key=str) == sorted(one_by_one, key=str)


def test_different_commands_at_once_lose_and_double_nothing(
    recipes, start_rmem, runs, same, monkeypatch, tmp_path
):
    commands = [
        start_rmem("train", recipes["copying"], "--row", row, "--seed", "1", "--seed", "2")
        for row in ("gru", "rum")
    ]
    assert [command.wait() for command in commands] == [0, 0]
    rows = store().read("copying")
    lines = (Path(os.environ["RMEM_RESULTS"]) / "copying.csv").read_text().splitlines()
    assert len(lines) == 1 + len(rows)
    monkeypatch.setenv("RMEM_RUNS", str(tmp_path / "other-runs"))
    monkeypatch.setenv("RMEM_RESULTS", str(tmp_path / "other-results"))
    do(runs())
    assert sorted(same(rows), key=str) == sorted(same(store().read("copying")), key=str)


def test_of_two_equal_commands_one_runs_and_the_other_says_so(
    recipes, start_rmem, wait_until, lab, make_spec
):
    command = ["train", recipes["copying"], "--row", "gru", "--set", "train.steps=100000"]
    spec = make_spec("train.steps=100000", row="gru")
    first = start_rmem(*command)
    wait_until(lambda: (lab.folder(spec) / "metrics.csv").exists(), first)
    second = start_rmem(*command)
    assert second.wait() == 2
    errors = [line for line in second.text().splitlines() if line.startswith("rmem: ")]
    assert len(errors) == 1
    assert "another process is working on the run in" in errors[0]
    assert store().read("copying") == []
    first.kill(signal.SIGINT)
    assert first.wait() == 130


def test_a_run_finished_by_another_command_meanwhile_is_not_doubled(runs):
    specs = runs()
    do(specs)
    before = store().read("copying")
    do(specs)
    after = store().read("copying")
    assert [row.key for row in after] == [row.key for row in before]


def test_ctrl_c_stops_runs_side_by_side_with_checkpoints(recipes, start_rmem, wait_until, lab, make_spec):
    specs = [make_spec("train.steps=100000", row=row) for row in ("gru", "rum")]
    command = start_rmem("train", recipes["copying"], "--set", "train.steps=100000", "--jobs", "2")
    curves = [lab.folder(spec) / "metrics.csv" for spec in specs]
    wait_until(lambda: all(curve.exists() and curve.stat().st_size > 100 for curve in curves), command)
    command.kill(signal.SIGINT)
    assert command.wait() == 130
    assert "rmem: stopped; the same command goes on from the last checkpoints" in command.text()
    assert "Traceback" not in command.text()
    assert checkpointed_steps(specs, lab) == stopped_steps(specs, lab)


def checkpointed_steps(specs, lab):
    """Of each run, the step of its last checkpoint."""
    checkpoints = [load_checkpoint(lab.folder(spec), "last") for spec in specs]
    return [saved["counters"]["step"] for _, saved in checkpoints]


def stopped_steps(specs, lab):
    """Of each run, the step at which it was stopped."""
    ended = [read_status(lab.folder(spec)) for spec in specs]
    assert {status.status for status in ended} == {"interrupted"}
    return [status.step for status in ended]


def workers_of(command):
    """The processes that a command has started to do runs in."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == command.pid and b"spawn_main" in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
        except OSError:
            continue
    return found


needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are found in /proc")


@needs_proc
def test_ctrl_c_while_processes_start_is_no_traceback(recipes, start_rmem, wait_until):
    command = start_rmem("train", recipes["copying"], "--set", "train.steps=100000", "--jobs", "2")
    wait_until(lambda: workers_of(command), command)
    for process in [*workers_of(command), command.pid]:
        os.kill(process, signal.SIGINT)
    assert command.wait() == 130
    assert "rmem: stopped; the same command goes on from the last checkpoints" in command.text()
    assert "Traceback" not in command.text()


@needs_proc
def test_ctrl_c_twice_ends_runs_side_by_side_without_a_traceback(
    recipes, start_rmem, wait_until, lab, make_spec
):
    specs = [make_spec("train.steps=100000", row=row) for row in ("gru", "rum")]
    command = start_rmem("train", recipes["copying"], "--set", "train.steps=100000", "--jobs", "2")
    curves = [lab.folder(spec) / "metrics.csv" for spec in specs]
    wait_until(lambda: all(curve.exists() and curve.stat().st_size > 100 for curve in curves), command)
    processes = [*workers_of(command), command.pid]
    for process in processes * 2:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGINT)
    assert command.wait() == 130
    assert "Traceback" not in command.text()


@needs_proc
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_hang_up_leaves_a_checkpoint_as_sigterm_does(recipes, start_rmem, wait_until, lab, make_spec, jobs):
    specs = [make_spec("train.steps=100000", row=row) for row in ("gru", "rum")][: int(jobs)]
    command = start_rmem("train", recipes["copying"], "--set", "train.steps=100000", "--jobs", jobs)
    curves = [lab.folder(spec) / "metrics.csv" for spec in specs]
    wait_until(lambda: all(curve.exists() and curve.stat().st_size > 100 for curve in curves), command)
    for process in [command.pid, *workers_of(command)]:
        os.kill(process, signal.SIGHUP)
    assert command.wait() == 130
    assert "the same command goes on from" in command.text()
    assert "Traceback" not in command.text()
    assert checkpointed_steps(specs, lab) == stopped_steps(specs, lab)


@needs_proc
def test_processes_whose_parent_was_killed_end_after_a_checkpoint(
    recipes, start_rmem, wait_until, lab, make_spec
):
    specs = [make_spec("train.steps=100000", row=row) for row in ("gru", "rum")]
    command = start_rmem("train", recipes["copying"], "--set", "train.steps=100000", "--jobs", "2")
    curves = [lab.folder(spec) / "metrics.csv" for spec in specs]
    wait_until(lambda: all(curve.exists() and curve.stat().st_size > 100 for curve in curves), command)
    workers = workers_of(command)
    command.kill(signal.SIGKILL)
    assert command.wait() == -signal.SIGKILL
    wait_until(lambda: not any(Path(f"/proc/{worker}/cwd").exists() for worker in workers), command)
    assert "Traceback" not in command.text()
    assert checkpointed_steps(specs, lab) == stopped_steps(specs, lab)


@needs_proc
def test_a_process_that_is_killed_is_told_as_such(recipes, start_rmem, wait_until, lab, make_spec):
    curve = lab.folder(make_spec("train.steps=100000", row="gru")) / "metrics.csv"
    arguments = ("--row", "gru", "--row", "rum", "--set", "train.steps=100000", "--jobs", "2")
    command = start_rmem("train", recipes["copying"], *arguments)
    wait_until(lambda: curve.exists() and len(workers_of(command)) == 2, command)
    for process in workers_of(command):
        os.kill(process, signal.SIGKILL)
    assert command.wait() == 6
    assert command.text().count("was killed by signal 9, as systems do that run out of memory") == 2
