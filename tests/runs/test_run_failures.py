"""What becomes of a run that fails: rows that say so, or one sentence, and nothing lost."""

import errno
import fcntl
import os
import re
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from rmem_cli.errors import DataError, InterruptedRunError, UsageError
from rmem_cli.models.sequence import SequenceModel
from rmem_cli.records.checkpoint import load_checkpoint
from rmem_cli.records.folder import UnforeseenError
from rmem_cli.records.status import RunStatus, read_status
from rmem_cli.runs.peak_memory import OutOfMemoryError


@pytest.mark.parametrize("sets", [("optimizer.lr=1e37",), ("train.diverged_above=0.1",)])
def test_a_run_that_diverges_gets_rows_without_values(make_spec, lab, sets):
    ended = lab.train(make_spec(*sets))
    assert ended.status == "diverged"
    assert "a smaller optimizer.lr" in ended.message
    rows = lab.rows()
    assert [(row.metric, row.value, row.examples, row.status) for row in rows] == [
        ("loss", None, None, "diverged"),
        ("accuracy", None, None, "diverged"),
    ]
    assert read_status(lab.folder(make_spec(*sets))) == ended


def test_a_last_update_that_ruins_the_weights_counts_as_diverged(make_spec, lab):
    # The loss of the only step is that of the first weights, and fine.
    ended = lab.train(make_spec("train.steps=1", "train.validation=null", "optimizer.lr=3e38"))
    assert ended.status == "diverged"
    assert {row.status for row in lab.rows()} == {"diverged"}


def test_a_diverged_run_is_not_evaluated_as_if_it_were_fine(make_spec, lab):
    spec = make_spec("optimizer.lr=1e37", "train.checkpoint_every=1")
    lab.train(spec)
    assert load_checkpoint(lab.folder(spec), "last") is not None
    with pytest.raises(UsageError, match=r"failed \(the loss is"):
        lab.evaluate(spec)
    assert {row.status for row in lab.rows()} == {"diverged"}


def test_rows_never_name_a_form_that_did_not_run(make_spec, lab, monkeypatch):
    spec, other = make_spec(row="rum"), make_spec("train.steps=11", row="rum")
    lab.train(spec)
    (named,) = {row.op_paths for row in lab.rows()}
    form = "native" if named == "rotation=fast" else "fast"
    monkeypatch.setattr("rmem_cli.models.cores.rum.RUM.op_paths", lambda _: {"rotation": form})
    assert lab.train(other).status == "failed"
    assert {row.op_paths for row in lab.rows() if row.value is not None} == {named}
    assert "operations ran as" in (lab.folder(other) / "traceback.txt").read_text()


def cpu_allocator_fails(*_, **__):
    raise RuntimeError(
        "[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried"
    )


def gpu_allocator_fails(*_, **__):
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")


@pytest.mark.parametrize("fail", [cpu_allocator_fails, gpu_allocator_fails])
@pytest.mark.parametrize(
    "place", ["rmem_cli.models.sequence.SequenceModel.step", "rmem_cli.runs.rows.evaluate"]
)
def test_running_out_of_memory_gives_rows_that_say_so(make_spec, lab, monkeypatch, fail, place):
    monkeypatch.setattr(place, fail)
    ended = lab.train(make_spec())
    assert ended.status == "out_of_memory"
    assert "train.batch_size" in ended.message
    assert {(row.value, row.status) for row in lab.rows()} == {(None, "out_of_memory")}


def test_a_model_larger_than_the_memory_is_one_sentence(make_spec, lab):
    with pytest.raises(OutOfMemoryError, match="a smaller model"):
        lab.train(make_spec("model.core.hidden_size=1000000000"))


def fail(*_, **__):
    raise KeyError("a mistake in the code\nover two lines")


WRONG = r"KeyError: 'a mistake in the code\\nover two lines' \(its traceback is in (.*)\)"


@pytest.mark.parametrize(
    "place", ["rmem_cli.models.sequence.SequenceModel.step", "rmem_cli.runs.rows.evaluate"]
)
def test_an_error_that_nobody_foresaw_gives_rows_and_a_sentence_that_names_its_traceback(
    make_spec, lab, monkeypatch, place
):
    monkeypatch.setattr(place, fail)
    ended = lab.train(make_spec())
    assert ended.status == "failed"
    text = Path(re.fullmatch(WRONG, ended.message)[1]).read_text()
    assert text.startswith("Traceback (most recent call last):")
    assert "in fail" in text
    assert {(row.value, row.status) for row in lab.rows()} == {(None, "failed")}
    assert read_status(lab.folder(make_spec())) == ended


def test_a_run_that_failed_is_repeated_from_its_start_and_forgets_the_traceback(
    make_spec, lab, monkeypatch, same
):
    spec = make_spec("train.checkpoint_every=2")
    lab.train(spec)
    expected = same(lab.rows())
    calls = iter(range(100))
    original = SequenceModel.step
    with monkeypatch.context() as broken:
        broken.setattr(
            SequenceModel,
            "step",
            lambda model, *of: fail() if model.training and next(calls) == 5 else original(model, *of),
        )
        assert lab.train(spec, repeat=True).step == 5
    assert (lab.folder(spec) / "traceback.txt").exists()
    assert lab.train(spec, repeat=True).status == "ok"
    assert same(lab.rows()) == expected
    assert not (lab.folder(spec) / "traceback.txt").exists()


def test_a_model_that_cannot_be_built_is_a_sentence_that_names_the_traceback(make_spec, lab, monkeypatch):
    monkeypatch.setattr("rmem_cli.runs.opened.build_model", fail)
    with pytest.raises(UnforeseenError, match=WRONG):
        lab.train(make_spec())
    assert lab.rows() == []


def test_an_evaluation_that_fails_unforeseen_is_a_sentence_that_names_the_traceback(
    make_spec, lab, monkeypatch
):
    lab.train(make_spec())
    rows = lab.rows()
    monkeypatch.setattr("rmem_cli.runs.rows.evaluate", fail)
    with pytest.raises(UnforeseenError, match=WRONG):
        lab.evaluate(make_spec())
    assert lab.rows() == rows


def interrupt(*_, **__):
    raise KeyboardInterrupt


def test_ctrl_c_is_no_failure(make_spec, lab, monkeypatch):
    monkeypatch.setattr(SequenceModel, "step", interrupt)
    with pytest.raises(KeyboardInterrupt):
        lab.train(make_spec())
    assert lab.rows() == []


def refuse(*_, **__):
    raise UsageError("no room for a checkpoint")


@pytest.mark.parametrize(
    ("end", "said"), [(refuse, "no room for a checkpoint"), (interrupt, "")], ids=["sentence", "ctrl-c"]
)
@pytest.mark.parametrize("again", [False, True], ids=["missing", "rerun"])
def test_a_run_that_ends_in_training_says_so_and_goes_on(
    make_spec, lab, monkeypatch, steps_done, end, said, again
):
    spec, step = make_spec("train.checkpoint_every=5"), SequenceModel.step
    with monkeypatch.context() as broken:
        broken.setattr(SequenceModel, "step", lambda *of: end() if steps_done[-1:] == [6] else step(*of))
        with pytest.raises((UsageError, KeyboardInterrupt)):
            lab.train(spec)
    assert read_status(lab.folder(spec)) == RunStatus("interrupted", 6, said)
    lab.train(spec, repeat=again)
    assert steps_done[:7] + steps_done[-7:] == [*range(7), *range(5, 12)]


def test_a_run_that_ends_as_its_results_are_written_says_so(make_spec, lab, monkeypatch):
    monkeypatch.setattr("rmem_cli.runs.run.thinned", refuse)
    with pytest.raises(UsageError):
        lab.train(make_spec())
    assert read_status(lab.folder(make_spec())) == RunStatus("interrupted", 12, "no room for a checkpoint")


def test_a_last_word_that_cannot_be_written_hides_nothing(make_spec, lab, monkeypatch):
    def full(*_, **__):
        monkeypatch.setattr("rmem_cli.records.folder.write_json", fail_to_write)
        refuse()

    def fail_to_write(*_, **__):
        raise UsageError("status.json cannot be written")

    monkeypatch.setattr(SequenceModel, "step", full)
    with pytest.raises(UsageError, match="no room for a checkpoint"):
        lab.train(make_spec())


@contextmanager
def full_disk(limit):
    """No file gets larger than so many bytes."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_disk_that_is_full_of_the_learning_curve_is_one_sentence_and_the_run_goes_on(
    make_spec, lab, same, steps_done, monkeypatch, tmp_path
):
    spec = make_spec("train.steps=480", "train.checkpoint_every=40", "train.validation=null")
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("RMEM_RUNS", str(tmp_path / "other-runs"))
        elsewhere.setenv("RMEM_RESULTS", str(tmp_path / "other-results"))
        lab.train(spec)
        rows, curve = same(lab.rows()), lab.curves()
        size = (lab.folder(spec) / "metrics.csv").stat().st_size
        assert size > 1.5 * max(path.stat().st_size for path in lab.folder(spec).glob("checkpoints/*/*"))
    steps_done.clear()
    with full_disk(size * 2 // 3), pytest.raises(UsageError) as refused:
        lab.train(spec)
    assert re.fullmatch(
        r".*metrics\.csv cannot be written \(File too large\); make room or make it writable, then run the "
        "same command again to go on from the last checkpoint",
        str(refused.value),
    )
    assert steps_done[-1] > 200
    reached = load_checkpoint(lab.folder(spec), "last")[1]["counters"]["step"]
    assert steps_done[-1] - 40 <= reached
    steps_done.clear()
    lab.train(spec)
    assert steps_done[0] == reached
    assert same(lab.rows()) == rows
    assert lab.curves() == curve


def test_a_curve_that_could_not_be_recorded_is_recorded_by_the_same_command_again(
    make_spec, lab, monkeypatch, steps_done
):
    def fail(*_):
        raise OSError("No space left on device")

    spec = make_spec()
    with monkeypatch.context() as patch:
        patch.setattr("rmem_cli.results.locks.write_durably", fail)
        with pytest.raises(UsageError, match="No space left on device"):
            lab.train(spec)
    assert lab.rows() == []
    lab.train(spec)
    assert len(lab.rows()) == 2
    assert len(lab.curves()) == 1
    assert steps_done == list(range(12)), "nothing is trained twice"


def test_a_damaged_checkpoint_is_refused(make_spec, lab):
    spec = make_spec()
    calls = iter(range(100))
    with pytest.raises(InterruptedRunError):
        lab.train(spec, stop=lambda: next(calls) == 3)
    (weights,) = lab.folder(spec).glob("checkpoints/last-*/weights.safetensors")
    weights.write_bytes(weights.read_bytes()[:-1] + b"\0")
    with pytest.raises(DataError, match=r"the checkpoint 'last' in .* is damaged"):
        lab.train(spec)


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
@pytest.mark.parametrize("folder", ["RMEM_RUNS", "RMEM_RESULTS"])
def test_a_file_system_without_locks_is_one_sentence(lab, make_spec, monkeypatch, folder, number):
    def flock(descriptor, *_):
        if f"/rmem-{folder.removeprefix('RMEM_').lower()}/" in str(
            Path(f"/proc/self/fd/{descriptor}").readlink()
        ):
            raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(UsageError, match=f"its file system has no locks, use one that has, or.*{folder}"):
        lab.train(make_spec())
    assert not (lab.folder(make_spec()) / "checkpoints").exists()
