"""One run from its first step to its rows, however often it is stopped."""

import os
import random
import re
import signal
import sys
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path

import pytest
import torch

from rmem_cli.errors import InterruptedRunError, UsageError
from rmem_cli.records.checkpoint import load_checkpoint
from rmem_cli.records.environment import read_environment
from rmem_cli.records.folder import RunFolder
from rmem_cli.records.status import read_status
from rmem_cli.results.store import ResultStore
from rmem_cli.runs import run as run_module
from rmem_cli.runs.identity import identity_of
from rmem_cli.runs.machine import Machine, choose_machine
from rmem_cli.training.loop import Training


@dataclass(frozen=True)
class Outcome:
    """What a run gave that was never stopped."""

    steps: int
    rows: list
    curves: dict


@pytest.fixture
def uninterrupted(write_text, make_spec, lab, same, tmp_path, monkeypatch):
    """The outcome of the text experiment; its run and results are then out of the way."""
    write_text()
    spec = make_spec(name="text")
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("RMEM_RUNS", str(tmp_path / "other-runs"))
        elsewhere.setenv("RMEM_RESULTS", str(tmp_path / "other-results"))
        assert lab.train(spec).status == "ok"
        rows = lab.rows("text")
        steps = rows[-1].step
        reduced = [step for step, _, name, value in lab.curve(spec) if name == "lr" and value < 0.2]
        assert min(reduced) < 0.8 * steps, "the plateau schedule has something to remember"
        assert 40 < steps < 400, "early stopping ends it"
        assert rows[0].step < steps, "the best checkpoint is not the last"
        return Outcome(steps, same(rows), lab.curves())


@pytest.mark.slow
def test_a_run_stopped_again_and_again_gives_the_rows_and_curves_of_one_never_stopped(
    uninterrupted, recipes, make_spec, lab, same, start_rmem, wait_until
):
    folder = lab.folder(make_spec(name="text"))
    # Spread over the whole run, so that at some of them the schedule and early stopping have a past.
    stops = [signal.SIGKILL, signal.SIGTERM, signal.SIGKILL, signal.SIGINT, signal.SIGKILL]
    moments = random.Random(7)
    for place, number in enumerate(stops):
        goal = int(uninterrupted.steps * (place + moments.uniform(0.2, 1.0)) / (len(stops) + 1))
        command = start_rmem("train", recipes["text"])
        wait_until(lambda goal=goal: steps_in(folder) >= goal, command)
        command.kill(number)
        if number == signal.SIGKILL:
            assert command.wait() == -signal.SIGKILL
        else:
            assert command.wait() == 130
            assert_checkpoint_is_saved(folder, command, goal)
        assert lab.rows("text") == []
    command = start_rmem("train", recipes["text"])
    assert command.wait() == 0, command.text()
    assert same(lab.rows("text")) == uninterrupted.rows
    assert lab.curves() == uninterrupted.curves


def assert_checkpoint_is_saved(folder, command, goal):
    status = read_status(folder)
    assert status.status == "interrupted"
    assert load_checkpoint(folder, "last")[1]["counters"]["step"] == status.step >= goal
    messages = [line for line in command.text().splitlines() if line.startswith("rmem: ")]
    assert messages == [f"rmem: stopped after step {status.step}; the same command goes on from there"]


def steps_in(folder):
    """The last step that the learning curve tells of."""
    curve = folder / "metrics.csv"
    lines = curve.read_text().splitlines() if curve.exists() else []
    return int(lines[-1].partition(",")[0]) if len(lines) > 1 and lines[-1].count(",") == 3 else 0


def test_a_run_killed_between_training_and_recording_is_only_evaluated(make_spec, lab, same, monkeypatch):
    spec = make_spec()
    lab.train(spec)
    expected = same(lab.rows())
    (Path(os.environ["RMEM_RESULTS"]) / "copying.csv").unlink()
    monkeypatch.setattr(Training, "_step", None)
    lab.train(spec)
    assert same(lab.rows()) == expected


def test_a_run_killed_as_soon_as_its_rows_are_written_can_be_evaluated(make_spec, lab, same, monkeypatch):
    def write_and_be_killed(store, rows, write=ResultStore.write):
        write(store, rows)
        raise KeyboardInterrupt

    with monkeypatch.context() as killed:
        killed.setattr(ResultStore, "write", write_and_be_killed)
        with pytest.raises(KeyboardInterrupt):
            lab.train(make_spec())
    assert same(lab.evaluate(make_spec())) == same(lab.rows())


def test_training_time_adds_up_over_sessions(make_spec, lab, monkeypatch):
    now = iter(range(10_000))
    monkeypatch.setattr("rmem_cli.training.loop.time.monotonic", lambda: float(next(now)))
    spec = make_spec("train.checkpoint_every=1")
    calls = iter(range(100))
    with pytest.raises(InterruptedRunError, match="after step 6"):
        lab.train(spec, stop=lambda: next(calls) == 6)
    before = load_checkpoint(lab.folder(spec), "last")[1]["counters"]["wall_seconds"]
    assert before > 5
    lab.train(spec)
    assert all(row.wall_seconds > before + 5 for row in lab.rows())


def test_a_row_stands_for_every_protocol_and_metric(make_spec, lab):
    long = "{name: long, split: valid, examples: 8, metrics: [accuracy], task: {length: 9}}"
    short = "{name: test, split: test, examples: 24, metrics: [loss, accuracy]}"
    assert lab.train(make_spec(f"eval=[{short}, {long}]")).status == "ok"
    rows = lab.rows()
    assert [(row.protocol, row.split, row.metric, row.examples) for row in rows] == [
        ("test", "test", "loss", 24),
        ("test", "test", "accuracy", 24),
        ("long", "valid", "accuracy", 8),
    ]
    assert all(
        (row.status, row.step, row.checkpoint, row.device) == ("ok", 12, "last", "cpu") for row in rows
    )
    assert all(row.value is not None for row in rows)


def test_a_run_leaves_the_arithmetic_of_the_process_as_it_was(make_spec, lab):
    lab.train(make_spec())
    assert sys.float_info.min / 2 > 0


@pytest.mark.parametrize("change", [{"device": "cuda"}, {"op_paths": "rotation=another"}])
def test_a_run_does_not_go_on_with_another_device_or_op(make_spec, lab, monkeypatch, change):
    spec = make_spec(row="rum")
    calls = iter(range(100))
    with pytest.raises(InterruptedRunError):
        lab.train(spec, stop=lambda: next(calls) == 3)
    started = run_module.environment_of
    monkeypatch.setattr(run_module, "environment_of", lambda *of: replace(started(*of), **change))
    with pytest.raises(UsageError, match="cannot go on with"):
        lab.train(spec)
    monkeypatch.undo()


def test_a_run_does_not_go_on_with_another_torch(make_spec, lab, monkeypatch):
    spec = make_spec()
    calls = iter(range(100))
    with pytest.raises(InterruptedRunError):
        lab.train(spec, stop=lambda: next(calls) == 3)
    started = run_module.environment_of
    here = re.escape(metadata.version("torch"))
    sentence = f"started with torch {here} and cannot go on with torch 1.2.3.*install torch {here}"
    with monkeypatch.context() as patch:
        patch.setattr(run_module, "environment_of", lambda *of: replace(started(*of), torch_version="1.2.3"))
        with pytest.raises(UsageError, match=sentence):
            lab.train(spec)
    assert steps_in(lab.folder(spec)) == 3
    assert lab.train(spec).status == "ok"


def test_a_run_goes_on_by_either_name_of_the_cpu(make_spec, lab):
    spec = make_spec()
    lab.machine = choose_machine("cpu", 1)
    calls = iter(range(100))
    with pytest.raises(InterruptedRunError):
        lab.train(spec, stop=lambda: next(calls) == 3)
    lab.machine = choose_machine("cpu:0", 1)
    assert lab.train(spec).status == "ok"
    assert {row.device for row in lab.rows()} == {"cpu"}


def test_a_run_goes_on_with_the_threads_it_started_with(make_spec, lab):
    spec = make_spec()
    lab.machine = Machine("cpu", 2)
    try:
        calls = iter(range(100))
        with pytest.raises(InterruptedRunError):
            lab.train(spec, stop=lambda: next(calls) == 3)
        lab.machine = Machine("cpu", 1)
        lab.train(spec)
        assert torch.get_num_threads() == 2
        assert {row.threads for row in lab.rows()} == {2}
        lab.train(make_spec(seed=2))
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(1)


def test_a_run_that_went_on_with_other_code_names_the_commits_of_all_sessions(make_spec, lab, monkeypatch):
    spec = make_spec()
    started = run_module.environment_of
    codes = [("a" * 40, "false", "1"), ("b" * 40, "true", "2"), ("c" * 40, "false", "3")]
    for commit, dirty, version in codes:
        change = {"git_commit": commit, "git_dirty": dirty, "rmem_version": version}
        monkeypatch.setattr(
            run_module, "environment_of", lambda *of, change=change: replace(started(*of), **change)
        )
        if commit[0] != "c":
            steps = iter(range(100))
            with pytest.raises(InterruptedRunError):
                lab.train(spec, stop=lambda steps=steps: next(steps) == 3)
    lab.train(spec)
    commits = "+".join(commit for commit, _, _ in codes)
    assert {(row.git_commit, row.git_dirty) for row in lab.rows()} == {(commits, "true")}
    assert {row.rmem_version for row in lab.rows()} == {"3"}, "the version that evaluated"
    assert read_environment(lab.folder(spec)).git_commit == commits
    assert read_environment(lab.folder(spec)).rmem_version == "1", "the version that started"


def test_repeating_starts_all_over_and_gives_the_same_numbers(make_spec, lab, same, steps_done):
    spec = make_spec(row="rum")
    lab.train(spec)
    before = lab.rows()
    lab.train(spec)
    assert steps_done == list(range(12))
    lab.train(spec, repeat=True)
    assert steps_done == list(range(12)) * 2
    assert same(lab.rows()) == same(before)


def test_a_repetition_that_was_interrupted_goes_on(make_spec, lab, steps_done):
    spec = make_spec()
    lab.train(spec)
    calls = iter(range(100))
    with pytest.raises(InterruptedRunError):
        lab.train(spec, stop=lambda: next(calls) == 9, repeat=True)
    lab.train(spec, repeat=True)
    assert steps_done == list(range(12)) * 2


@pytest.mark.parametrize(
    "core",
    [
        "{kind: eunn, hidden_size: 6, layers: 2}",
        "{kind: eunn, hidden_size: 5, complex: true, fft: true}",
        "{kind: goru, hidden_size: 6, zoneout: 0.2}",
    ],
)
@pytest.mark.parametrize("stop_at", [2, 9])
def test_a_run_of_a_unitary_core_that_was_stopped_ends_bit_for_bit(make_spec, lab, same, core, stop_at):
    spec = make_spec(f"model.core={core}")
    lab.train(spec)
    expected = same(lab.rows())
    calls = iter(range(100))
    with pytest.raises(InterruptedRunError):
        lab.train(spec, stop=lambda: next(calls) == stop_at, repeat=True)
    lab.train(spec, repeat=True)
    assert same(lab.rows()) == expected


def test_a_repetition_killed_while_it_clears_the_folder_still_starts_all_over(
    make_spec, lab, steps_done, monkeypatch
):
    spec = make_spec()
    lab.train(spec)

    def killed(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("rmem_cli.records.folder.shutil.rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            lab.train(spec, repeat=True)
    lab.train(spec, repeat=True)
    assert steps_done == list(range(12)) * 2


def test_double_precision_is_that_of_weights_losses_and_rows(make_spec, lab):
    spec = make_spec("train.dtype=float64", row="rum")
    lab.train(spec)
    weights, _ = load_checkpoint(lab.folder(spec), "last")
    assert {value.dtype for value in weights.values()} == {torch.float64}
    assert {row.dtype for row in lab.rows()} == {"float64"}
    singles = make_spec(row="rum")
    lab.train(singles)
    double, single = (
        next(row.value for row in lab.rows() if row.dtype == kind) for kind in ("float64", "float32")
    )
    assert double != single
    assert double == pytest.approx(single, abs=0.1)


def test_the_folder_is_free_again_after_each_run(make_spec, lab):
    spec = make_spec()
    lab.train(spec)
    train_hash = spec.train_hash("")
    RunFolder.open(spec, train_hash, Path(os.environ["RMEM_RUNS"])).close()


@pytest.mark.parametrize("cell", ["core=org/model", "x" * 300])
def test_a_run_whose_cell_names_no_file_ends_with_its_curve_and_its_rows(lab, make_spec, cell):
    spec = replace(make_spec(), cell=cell)
    lab.train(spec)
    assert {row.cell for row in lab.rows()} == {cell}
    assert list(lab.curves()) == [f"{identity_of(spec).curve}.csv"]
