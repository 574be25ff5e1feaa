"""One run from its first step to its rows, however often it is stopped."""

import os
import random
import re
import signal
import sys
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch

from rmem_cli.errors import DataError, DivergedError, InterruptedRunError, UsageError
from rmem_cli.training import run as run_module
from rmem_cli.training.checkpoint import load_checkpoint, save_checkpoint
from rmem_cli.training.evaluation import Totals, evaluate
from rmem_cli.training.loop import Training, build_task, build_task_model
from rmem_cli.training.machine import choose_machine
from rmem_cli.training.memory import OutOfMemoryError
from rmem_cli.training.run import Machine
from rmem_cli.training.run_folder import RunFolder, read_environment, read_status


def curves():
    """The learning curves among the results, byte for byte."""
    folder = Path(os.environ["RMEM_RESULTS"]) / "curves"
    return {path.name: path.read_bytes() for path in folder.iterdir()}


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
        return Outcome(steps, same(rows), curves())


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
    assert curves() == uninterrupted.curves


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


def test_evaluation_by_another_protocol_adds_rows(make_spec, lab):
    lab.train(make_spec())
    before = lab.rows()
    lab.evaluate(make_spec("eval.test.task.length=30"))
    after = lab.rows()
    assert after[: len(before)] == before
    assert len(after) == 2 * len(before)
    assert {row.train_hash for row in after} == {before[0].train_hash}


def test_evaluation_by_the_same_protocol_replaces_rows_by_equal_ones(make_spec, lab, same):
    lab.train(make_spec())
    before = lab.rows()
    lab.evaluate(make_spec())
    assert same(lab.rows()) == same(before)


def test_the_best_checkpoint_is_the_best_and_the_last_one_the_last(write_text, make_spec, lab):
    write_text()
    protocols = ", ".join(
        f"{{name: {name}, split: valid, batch_size: 3, checkpoint: {name}, metrics: [bpc]}}"
        for name in ("best", "last")
    )
    spec = make_spec(
        f"eval=[{protocols}]", "schedule={kind: constant}", "train.early_stopping={patience: 1}", name="text"
    )
    lab.train(spec)
    validations = {
        step: value for step, split, name, value in lab.curve(spec) if (split, name) == ("valid", "bpc")
    }
    best, last = lab.rows("text")
    assert (best.step, best.value) == min(validations.items(), key=lambda each: each[1])
    assert (last.step, last.value) == max(validations.items())
    assert best.value < last.value


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


def cpu_allocator_fails(*_, **__):
    raise RuntimeError(
        "[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried"
    )


def gpu_allocator_fails(*_, **__):
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")


@pytest.mark.parametrize("fail", [cpu_allocator_fails, gpu_allocator_fails])
@pytest.mark.parametrize(
    "place", ["rmem_cli.models.sequence.SequenceModel.step", "rmem_cli.training.rows.evaluate"]
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


def test_other_errors_stay_what_they_are(make_spec, lab, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("a mistake in the code")

    monkeypatch.setattr("rmem_cli.models.sequence.SequenceModel.step", fail)
    with pytest.raises(RuntimeError, match="a mistake in the code"):
        lab.train(make_spec())


@pytest.mark.parametrize("change", [{"device": "cuda"}, {"op_paths": "rotation=another"}])
def test_a_run_does_not_go_on_with_another_device_or_op(make_spec, lab, monkeypatch, change):
    spec = make_spec(row="rum")
    calls = iter(range(100))
    with pytest.raises(InterruptedRunError):
        lab.train(spec, stop=lambda: next(calls) == 3)
    started = run_module._environment
    monkeypatch.setattr(run_module, "_environment", lambda *of: replace(started(*of), **change))
    with pytest.raises(UsageError, match="cannot go on with"):
        lab.train(spec)
    monkeypatch.undo()


def test_a_run_does_not_go_on_with_another_torch(make_spec, lab, monkeypatch):
    spec = make_spec()
    calls = iter(range(100))
    with pytest.raises(InterruptedRunError):
        lab.train(spec, stop=lambda: next(calls) == 3)
    started = run_module._environment
    here = re.escape(torch.__version__)
    sentence = f"started with torch {here} and cannot go on with torch 1.2.3.*install torch {here}"
    with monkeypatch.context() as patch:
        patch.setattr(run_module, "_environment", lambda *of: replace(started(*of), torch_version="1.2.3"))
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
        rows, curve = same(lab.rows()), curves()
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
    assert curves() == curve


def test_a_curve_that_could_not_be_recorded_is_recorded_by_the_same_command_again(
    make_spec, lab, monkeypatch, steps_done
):
    def fail(*_):
        raise OSError("No space left on device")

    spec = make_spec()
    with monkeypatch.context() as patch:
        patch.setattr("rmem_cli.results.store.write_durably", fail)
        with pytest.raises(UsageError, match="No space left on device"):
            lab.train(spec)
    assert lab.rows() == []
    lab.train(spec)
    assert len(lab.rows()) == 2
    assert len(curves()) == 1
    assert steps_done == list(range(12)), "nothing is trained twice"


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


def test_a_run_that_went_on_with_other_code_names_both_commits(make_spec, lab, monkeypatch):
    spec = make_spec()
    started = run_module._environment
    calls = iter(range(100))
    for commit, dirty, version in (("a" * 40, "false", "1"), ("b" * 40, "true", "2")):
        change = {"git_commit": commit, "git_dirty": dirty, "rmem_version": version}
        monkeypatch.setattr(
            run_module, "_environment", lambda *of, change=change: replace(started(*of), **change)
        )
        if commit[0] == "a":
            with pytest.raises(InterruptedRunError):
                lab.train(spec, stop=lambda: next(calls) == 3)
    lab.train(spec)
    assert {(row.git_commit, row.git_dirty) for row in lab.rows()} == {("a" * 40 + "+" + "b" * 40, "true")}
    assert {row.rmem_version for row in lab.rows()} == {"2"}, "the version that evaluated"
    assert read_environment(lab.folder(spec)).git_commit == "a" * 40


def test_an_evaluation_with_other_code_names_both_commits(make_spec, lab, monkeypatch):
    started = run_module._environment
    monkeypatch.setattr(run_module, "_environment", lambda *of: replace(started(*of), git_commit="a" * 40))
    lab.train(make_spec())
    monkeypatch.setattr(run_module, "_environment", lambda *of: replace(started(*of), git_commit="b" * 40))
    rows = lab.evaluate(make_spec("eval.test.examples=8"))
    assert {row.git_commit for row in rows} == {"a" * 40 + "+" + "b" * 40}


def test_rows_of_an_evaluation_tell_what_evaluated_and_how_long_training_took(make_spec, lab, monkeypatch):
    lab.train(make_spec())
    seconds = load_checkpoint(lab.folder(make_spec()), "last")[1]["counters"]["wall_seconds"]
    before = read_environment(lab.folder(make_spec()))
    started = run_module._environment
    other = {"torch_version": "1.2.3", "rmem_version": "9.8.7", "op_paths": "rotation=another"}
    monkeypatch.setattr(run_module, "_environment", lambda *of: replace(started(*of), **other))
    for row in lab.evaluate(make_spec("eval.test.examples=8")):
        assert {name: getattr(row, name) for name in other} == other
        assert row.wall_seconds == round(seconds, 1)
    assert read_environment(lab.folder(make_spec())) == before


def test_an_evaluation_has_the_threads_that_its_rows_tell_of(make_spec, lab):
    lab.train(make_spec())
    lab.machine = Machine("cpu", 2)
    rows = lab.evaluate(make_spec("eval.test.examples=8"))
    assert {row.threads for row in rows} == {torch.get_num_threads()} == {1}


@pytest.fixture
def steps_done(monkeypatch):
    """The steps that are trained, as they are."""
    steps = []
    original = Training._step

    def step(training, *rest):
        steps.append(training.counters.step)
        original(training, *rest)

    monkeypatch.setattr(Training, "_step", step)
    return steps


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


def test_a_repetition_killed_while_it_clears_the_folder_still_starts_all_over(
    make_spec, lab, steps_done, monkeypatch
):
    spec = make_spec()
    lab.train(spec)

    def killed(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("rmem_cli.training.run_folder.shutil.rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            lab.train(spec, repeat=True)
    lab.train(spec, repeat=True)
    assert steps_done == list(range(12)) * 2


def test_a_damaged_checkpoint_is_refused(make_spec, lab):
    spec = make_spec()
    calls = iter(range(100))
    with pytest.raises(InterruptedRunError):
        lab.train(spec, stop=lambda: next(calls) == 3)
    (weights,) = lab.folder(spec).glob("checkpoints/last-*/weights.safetensors")
    weights.write_bytes(weights.read_bytes()[:-1] + b"\0")
    with pytest.raises(DataError, match=r"the checkpoint 'last' in .* is damaged"):
        lab.train(spec)


def test_a_run_that_was_never_trained_cannot_be_evaluated(make_spec, lab):
    with pytest.raises(UsageError, match=r"has not been trained.*run `rmem train` first"):
        lab.evaluate(make_spec())
    assert not lab.folder(make_spec()).exists()


def test_a_run_that_is_not_finished_cannot_be_evaluated(make_spec, lab):
    calls = iter(range(100))
    with pytest.raises(InterruptedRunError):
        lab.train(make_spec(), stop=lambda: next(calls) == 3)
    with pytest.raises(UsageError, match="has not come to its end"):
        lab.evaluate(make_spec())


def test_an_evaluation_that_the_model_cannot_read_is_refused_before_training(make_spec, lab):
    with pytest.raises(UsageError, match="'test' changes the task to one of 9 symbols"):
        lab.train(make_spec("eval.test.task.alphabet=7"))
    assert not lab.folder(make_spec()).exists()


def test_an_evaluation_with_another_core_is_that_of_a_model_with_this_core(make_spec, lab):
    core = "model.core={kind: transformer_xl, hidden_size: 8, segment_length: 3, cache_length: 2}"
    lab.train(make_spec(core))
    (as_trained, *_) = lab.rows()
    longer = make_spec(core, "eval.test.core={segment_length: 4, cache_length: 9, same_length: true}")
    (row, *_) = lab.evaluate(longer)
    assert row.train_hash == as_trained.train_hash
    assert row.eval_hash != as_trained.eval_hash
    assert row.value != as_trained.value

    settings = make_spec(
        "model.core={kind: transformer_xl, hidden_size: 8, segment_length: 4, cache_length: 9, "
        "same_length: true}"
    ).settings
    task = build_task(settings)
    model = build_task_model(settings, task)
    model.load_state_dict(load_checkpoint(lab.folder(longer), "last")[0])
    assert row.value == evaluate(model, task, "test", 24, 4, 1).metric("loss")


def test_an_evaluation_whose_core_has_other_weights_is_refused_before_training(make_spec, lab):
    with pytest.raises(UsageError, match=r"changes the core to one of other weights.*eval\.test\.core"):
        lab.train(make_spec("eval.test.core.hidden_size=9"))
    assert not lab.folder(make_spec()).exists()


def test_an_evaluation_whose_loss_is_not_finite_is_no_result(make_spec, lab):
    spec = make_spec()
    lab.train(spec)
    weights, state = load_checkpoint(lab.folder(spec), "last")
    ruined = {name: torch.full_like(value, torch.nan) for name, value in weights.items()}
    save_checkpoint(lab.folder(spec), "last", ruined, state)
    with pytest.raises(DivergedError, match="the loss on the test split is nan"):
        lab.evaluate(spec)
    assert {row.status for row in lab.rows()} == {"ok"}


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


def test_metrics_of_sums():
    totals = Totals(nll=3.0, weight=2.0, correct=1, answers=4)
    assert totals.metric("loss") == 1.5
    assert totals.metric("bpc") == pytest.approx(1.5 / 0.6931471805599453)
    assert totals.metric("perplexity") == pytest.approx(4.4816890703)
    assert totals.metric("accuracy") == 0.25
    # Two articles of class 1 were found, one was not, and one more was taken for one.
    assert Totals(correct=6, answers=8, found=2).metric("f1") == pytest.approx(2 * 2 / (2 * 2 + 1 + 1))
    assert Totals(correct=0, answers=3).metric("f1") == 0
    assert Totals(nll=1e9, weight=1.0, answers=1).metric("perplexity") < float("inf")


def test_the_folder_is_free_again_after_each_run(make_spec, lab):
    spec = make_spec()
    lab.train(spec)
    train_hash = spec.train_hash("")
    RunFolder.open(spec, train_hash, Path(os.environ["RMEM_RUNS"])).close()
