"""One run in several processes is the run of one process."""

import os
import signal
from contextlib import nullcontext
from itertools import chain, repeat
from pathlib import Path

import pytest
import torch

from rmem_cli.errors import InterruptedRunError, UsageError
from rmem_cli.recipe import load_recipe
from rmem_cli.records.status import read_status
from rmem_cli.runs.peak_memory import OutOfMemoryError
from rmem_cli.runs.together import together
from rmem_cli.training import loop
from rmem_cli.training.loop import Training
from rmem_cli.world import LostProcessError

ALL = (
    "train.dtype=float64",
    "train.log_every=1",
    "train.batch_size=5",
    "train.steps=6",
    "train.eval_every=2",
)
# A text with a state from batch to batch, and the segments before kept with the states before them.
TEXT = (
    *("train.early_stopping=null", "train.steps=9", "train.eval_every=3", "optimizer.lr=0.01"),
    *("train.dtype=float64", "train.log_every=1", "train.batch_size=5", "model.core.dropout=0"),
)
RUM = ("model.core.zoneout=0",)
RMT = (
    "model.core={kind: rmt, hidden_size: 8, heads: 2, layers: 1, memory_tokens: 2, segment_length: 3, "
    "inner_size: 8}",
    "train.backprop={kind: sliding, depth: 2}",
)


def of_recipe(name, row, *sets):
    return load_recipe(name).runs("smoke", [row], None, [*ALL, *sets])[0]


@pytest.fixture
def specs(make_spec, write_text):
    write_text(train=200)
    return [
        of_recipe("rum_recall", "rum_lambda1"),
        of_recipe("ur_adding", "ur_lstm"),
        *(
            of_recipe("rmt_copy", "rmt_6seg", "model.core.dropout=0", f"train.backprop={{kind: {kind}}}")
            for kind in ("full", "sliding, depth: 1", "replay")
        ),
        make_spec(*TEXT, *RUM, name="text"),
    ]


def trained(lab, specs, monkeypatch, folder, count=1):
    """The learning curve and the values of each run, trained by so many processes."""
    monkeypatch.setenv("RMEM_RUNS", str(folder / "runs"))
    monkeypatch.setenv("RMEM_RESULTS", str(folder / "results"))
    with lab.together(count) if count > 1 else nullcontext():
        for spec in specs:
            assert lab.train(spec).status == "ok"
    rows = [row for name in sorted({spec.experiment for spec in specs}) for row in lab.rows(name)]
    return [lab.curve(spec) for spec in specs], [(row.train_hash, row.metric, row.value) for row in rows]


def assert_close(found, expected):
    for ours, theirs in zip(found, expected, strict=True):
        assert [point[:-1] for point in ours] == [point[:-1] for point in theirs]
        assert [point[-1] for point in ours] == pytest.approx([point[-1] for point in theirs], rel=1e-9)


def test_two_and_three_processes_find_the_curves_and_values_of_one(lab, specs, monkeypatch, tmp_path):
    curves, values = trained(lab, specs, monkeypatch, tmp_path / "one")
    for count in (2, 3):
        found, rows = trained(lab, specs, monkeypatch, tmp_path / str(count), count)
        assert_close(found, curves)
        assert_close([rows], [values])


def test_a_run_goes_on_in_another_number_of_processes(lab, make_spec, write_text, monkeypatch, tmp_path):
    write_text(train=200)
    spec = make_spec(*TEXT, *RMT, name="text")
    curves, values = trained(lab, [spec], monkeypatch, tmp_path / "one")
    monkeypatch.setenv("RMEM_RUNS", str(tmp_path / "runs"))
    for count, steps in ((2, 4), (1, 3)):
        stop = chain(repeat(False, steps), repeat(True)).__next__
        with pytest.raises(InterruptedRunError), lab.together(count) if count > 1 else nullcontext():
            lab.train(spec, stop=stop)
    found, rows = trained(lab, [spec], monkeypatch, tmp_path / "three", 3)
    assert_close(found, curves)
    assert_close([rows], [values])


def test_the_sums_of_evaluation_are_shared_out_and_rows_are_those_of_one(lab, make_spec, write_text):
    # Three text columns and one are fewer than the rows of a batch, and than the processes.
    write_text(train=200)
    spec = make_spec(*TEXT, *RUM, "eval.last.batch_size=2", name="text")
    with lab.together(3):
        lab.train(spec)
    shared = {(row.protocol, row.metric): (row.value, row.examples) for row in lab.rows("text")}
    alone = {(row.protocol, row.metric): (row.value, row.examples) for row in lab.evaluate(spec)}
    assert {key: count for key, (_, count) in shared.items()} == {
        key: count for key, (_, count) in alone.items()
    }
    assert [shared[key][0] for key in alone] == pytest.approx([value for value, _ in alone.values()])


def test_more_processes_than_rows_are_refused_before_the_start(lab, make_spec):
    spec = make_spec("train.batch_size=2")
    with lab.together(3):
        with pytest.raises(UsageError, match="3 processes are more than the 2 rows of a batch"):
            lab.train(spec)
        assert not lab.folder(spec).exists()
    assert lab.ended == [0, 0]


def test_a_process_that_dies_ends_all_with_a_sentence_and_the_run_goes_on(
    lab, make_spec, monkeypatch, tmp_path
):
    spec = make_spec("train.checkpoint_every=3", "train.dtype=float64")
    curves, _ = trained(lab, [spec], monkeypatch, tmp_path / "one")
    monkeypatch.setenv("RMEM_RUNS", str(tmp_path / "runs"))
    step = Training._step

    def dying(training, progress):
        if training.world.rank == 1 and training.counters.step == 7:
            os._exit(9)
        step(training, progress)

    monkeypatch.setattr(Training, "_step", dying)
    with pytest.raises(LostProcessError, match="goes on from the last checkpoint"), lab.together(3):
        lab.train(spec)
    assert (lab.ended[0], lab.ended[1]) == (9, LostProcessError.exit_code)
    assert read_status(lab.folder(spec)).status == "interrupted"
    monkeypatch.setattr(Training, "_step", step)
    found, _ = trained(lab, [spec], monkeypatch, tmp_path, 2)
    assert_close(found, curves)


def test_one_process_out_of_memory_or_without_room_on_the_disk_ends_all(lab, make_spec, monkeypatch):
    # Of the other one's: rank 1 cannot take a step, rank 0 cannot write.
    def fails(training, progress):
        if training.world.rank == 1:
            raise torch.OutOfMemoryError("out of memory")
        step(training, progress)

    def full(*_):
        raise UsageError("the disk is full")

    step = Training._step
    with monkeypatch.context() as patch:
        patch.setattr(Training, "_step", fails)
        with pytest.raises(LostProcessError), lab.together(2):
            lab.train(make_spec())
    assert lab.ended == [OutOfMemoryError.exit_code]
    with monkeypatch.context() as patch:
        patch.setattr(loop, "save_checkpoint", full)
        with pytest.raises(UsageError, match="the disk is full"), lab.together(2):
            lab.train(make_spec())
    assert lab.ended == [LostProcessError.exit_code]


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"RANK": "0"}, "not WORLD_SIZE, MASTER_ADDR, MASTER_PORT"),
        ({"WORLD_SIZE": "2"}, "not RANK"),
        ({"RANK": "2", "WORLD_SIZE": "2", "MASTER_ADDR": "x", "MASTER_PORT": "1"}, "RANK counts from 0"),
        ({"RANK": "a", "WORLD_SIZE": "2", "MASTER_ADDR": "x", "MASTER_PORT": "1"}, "RANK counts from 0"),
    ],
)
def test_variables_of_torchrun_that_are_missing_or_wrong_are_named(lab, monkeypatch, variables, message):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match=message), together(lab.machine, 1):
        pass


def test_nproc_starts_the_others_and_a_killed_one_ends_the_command(
    start_rmem, recipes, wait_until, lab, make_spec
):
    sets = "--set", "train.steps=100000", "--set", "train.checkpoint_every=1"
    command = start_rmem("train", recipes["copying"], "--row", "gru", "--nproc", "2", *sets)
    folder = lab.folder(make_spec("train.steps=100000", "train.checkpoint_every=1", row="gru"))
    wait_until((folder / "checkpoints" / "last.json").exists, command)
    children = Path(f"/proc/{command.pid}/task/{command.pid}/children")
    for child in children.read_text().split():
        if "spawn_main" in Path(f"/proc/{child}/cmdline").read_text():
            os.kill(int(child), signal.SIGKILL)
    assert command.wait() == LostProcessError.exit_code
    assert "the same command goes on from the last checkpoint" in command.text()
