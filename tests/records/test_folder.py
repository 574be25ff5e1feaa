import json
import math
import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from rmem_cli import files
from rmem_cli.errors import DataError, UsageError
from rmem_cli.models.cores.recurrent_config import RUMSettings
from rmem_cli.recipe.resolve import RunSpec
from rmem_cli.recipe.schema import ModelSettings, RunSettings, TrainSettings
from rmem_cli.records.curve import CurveFile
from rmem_cli.records.environment import Environment, read_environment
from rmem_cli.records.folder import RunBusyError, RunFolder, run_path
from rmem_cli.records.status import RunStatus, read_status
from rmem_cli.tasks.memory_config import AssociativeRecallSettings
from rmem_cli.training.config import AdamSettings, ConstantSettings, FullSettings

HASH = "0123456789ab"


SETTINGS = RunSettings(
    task=AssociativeRecallSettings(length=10),
    model=ModelSettings(core=RUMSettings.model_validate({"hidden_size": 8, "lambda": 1})),
    optimizer=AdamSettings(lr=0.001),
    schedule=ConstantSettings(),
    train=TrainSettings(steps=3, batch_size=4, backprop=FullSettings()),
    eval=[],
)


def spec(experiment: str = "rum_recall", row: str = "lstm", cell: str = "", seed: int = 3) -> RunSpec:
    return RunSpec(experiment, row, "LSTM", cell, "cpu", seed, [], SETTINGS)


def test_the_folder_is_named_after_experiment_row_scale_seed_and_hash(tmp_path: Path) -> None:
    assert run_path(spec(), HASH, tmp_path) == tmp_path / "rum_recall/lstm/cpu-seed3-0123456789ab"


def test_a_matrix_cell_has_a_folder_of_its_own(tmp_path: Path) -> None:
    expected = "rum_recall/lstm/task.number=3,model.core.hidden_size=50/cpu-seed3-0123456789ab"
    assert (
        run_path(spec(cell="task.number=3,model.core.hidden_size=50"), HASH, tmp_path) == tmp_path / expected
    )


@pytest.mark.parametrize("name", ["..", ".", "../../etc", "/etc", "a/b", "a\\b", "a\0b", "x" * 999, "é ?"])
def test_no_name_leads_out_of_the_folder_of_runs(tmp_path: Path, name: str) -> None:
    path = run_path(spec(experiment=name, row=name, cell=name), HASH, tmp_path)
    assert len(path.relative_to(tmp_path).parts) == 4
    assert path.resolve().parent.parent.parent.parent == tmp_path.resolve()
    path.mkdir(parents=True)


def test_the_recipe_is_the_resolved_settings_written_once(tmp_path: Path) -> None:
    with RunFolder.open(spec(), HASH, tmp_path) as run:
        recipe = run.path / "recipe.yaml"
        core = yaml.safe_load(recipe.read_text())["model"]["core"]
        assert core["lambda"] == 1
        assert RUMSettings.model_validate(core) == SETTINGS.model.core
        written = recipe.stat().st_mtime_ns
    with RunFolder.open(spec(), HASH, tmp_path):
        assert recipe.stat().st_mtime_ns == written


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "rum_recall").write_text("a file where the folder should be")
    with pytest.raises(UsageError, match="RMEM_RUNS"):
        RunFolder.open(spec(), HASH, tmp_path)


HOLD = """
import sys
from dataclasses import make_dataclass
from pathlib import Path
from rmem_cli.training.config import AdamSettings, ConstantSettings, FullSettings
from rmem_cli.records.folder import RunFolder

spec = make_dataclass("Spec", ["experiment", "row", "cell", "scale", "seed", "settings"])
run_spec = spec("rum_recall", "lstm", "", "cpu", 3, AdamSettings(lr=0.001))
run = RunFolder.open(run_spec, sys.argv[2], Path(sys.argv[1]))
assert "torch" not in sys.modules
sys.stdout.write("held\\n")
sys.stdout.flush()
sys.stdin.read()
"""


def test_a_run_held_by_another_process_is_busy_until_that_process_is_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path), HASH]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with pytest.raises(RunBusyError, match="another process is working on the run"):
            RunFolder.open(spec(), HASH, tmp_path)
        RunFolder.open(spec(seed=4), HASH, tmp_path).close()
        process.kill()
    RunFolder.open(spec(), HASH, tmp_path).close()


def test_a_run_is_held_once_within_a_process_too(tmp_path: Path) -> None:
    with RunFolder.open(spec(), HASH, tmp_path), pytest.raises(RunBusyError):
        RunFolder.open(spec(), HASH, tmp_path)
    RunFolder.open(spec(), HASH, tmp_path).close()


def test_a_resumed_run_recalls_the_environment_it_started_in(tmp_path: Path) -> None:
    first = Environment.current(threads=2, device="cpu", dtype="float32", op_paths="rotation=fast")
    with RunFolder.open(spec(), HASH, tmp_path) as run:
        assert read_environment(run.path) is None
        assert run.record_environment(first) == first
    with RunFolder.open(spec(), HASH, tmp_path) as run:
        assert run.record_environment(replace(first, threads=8, op_paths="rotation=reference")) == first
        stored = json.loads((run.path / "environment.json").read_text())
    expected = {"threads", "device", "dtype", "op_paths", "rmem_version", "torch_version", "git_commit"}
    assert stored.keys() == expected | {"git_dirty", "python", "platform"}
    assert stored["torch_version"].startswith("2.")


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"status": "ok", "strange": 1}', "\0"])
def test_a_damaged_status_or_environment_is_refused(tmp_path: Path, text: str) -> None:
    for file, read in (("status.json", read_status), ("environment.json", read_environment)):
        (tmp_path / file).write_text(text)
        with pytest.raises(DataError, match=f"{file} is damaged"):
            read(tmp_path)


def test_the_last_status_written_is_read(tmp_path: Path) -> None:
    with RunFolder.open(spec(), HASH, tmp_path) as run:
        assert run.status() is None
        run.write_status("running", 0)
        run.write_status("diverged", 12, "the loss is nan")
        assert run.status() == RunStatus("diverged", 12, "the loss is nan")
    assert read_status(run.path) == RunStatus("diverged", 12, "the loss is nan")


@pytest.mark.parametrize("step_that_fails", ["fsync", "rename"])
def test_a_status_that_could_not_be_finished_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step_that_fails: str
) -> None:
    def fail(*_: object) -> None:
        raise OSError("disk full")

    with RunFolder.open(spec(), HASH, tmp_path) as run:
        run.write_status("running", 5)
        monkeypatch.setattr(*((os, "fsync", fail) if step_that_fails == "fsync" else (Path, "replace", fail)))
        with pytest.raises(UsageError, match=r"status\.json cannot be written \(disk full\); make room"):
            run.write_status("ok", 10)
        monkeypatch.undo()
        assert run.status() == RunStatus("running", 5)


def test_a_file_is_replaced_only_by_what_has_reached_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda _: events.append("sync"))
    rename = Path.replace

    def replace(path: Path, target: Path) -> Path:
        events.append("rename")
        return rename(path, target)

    monkeypatch.setattr(Path, "replace", replace)
    files.write_atomically(tmp_path / "file", b"text")
    assert events[:2] == ["sync", "rename"]
    assert (tmp_path / "file").read_bytes() == b"text"


def test_the_curve_has_one_row_per_metric_with_exact_values(tmp_path: Path) -> None:
    curve = CurveFile(tmp_path / "metrics.csv")
    curve.append(10, "train", {"loss": 0.1 + 0.2, "lr": 1e-3})
    curve.append(20, "valid", {"loss": math.nan})
    assert curve.text() == (
        "step,split,metric,value\n10,train,loss,0.30000000000000004\n10,train,lr,0.001\n20,valid,loss,nan\n"
    )


ROWS = st.lists(
    st.tuples(
        st.integers(0, 30), st.sampled_from(["train", "valid"]), st.sampled_from(["loss", "lr"]), st.floats()
    ),
    max_size=12,
)


@given(rows=ROWS, cut=st.integers(0, 400), garbage=st.binary(max_size=5), step=st.integers(-1, 31))
def test_truncation_keeps_exactly_the_complete_rows_up_to_a_step(
    rows: list[tuple[int, str, str, float]], cut: int, garbage: bytes, step: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "metrics.csv"
        curve = CurveFile(path)
        header = b"step,split,metric,value\n"
        for row_step, split, metric, value in rows:
            curve.append(row_step, split, {metric: value})
        content = path.read_bytes()[:cut] if rows else b""
        complete = content[: content.rfind(b"\n") + 1].splitlines(keepends=True)[1:]
        expected = header + b"".join(line for line in complete if int(line.split(b",")[0]) <= step)
        path.write_bytes(content + garbage.replace(b"\n", b""))

        curve.truncate_after(step)
        assert path.read_bytes() == expected
        curve.append(99, "train", {"loss": 1.0})
        assert path.read_bytes() == expected + b"99,train,loss,1.0\n"


def test_truncation_makes_the_file_of_a_new_run(tmp_path: Path) -> None:
    curve = CurveFile(tmp_path / "metrics.csv")
    curve.truncate_after(-1)
    curve.append(1, "train", {"loss": 2.0})
    assert curve.text() == "step,split,metric,value\n1,train,loss,2.0\n"
