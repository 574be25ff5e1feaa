import hashlib
import io
import json
import os
import pickle
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from rmem_cli import files
from rmem_cli.errors import DataError, UsageError
from rmem_cli.records.checkpoint import load_checkpoint, save_checkpoint
from rmem_cli.training import config
from rmem_cli.training.optimizers import build_optimizer

WEIGHTS = {"layer.weight": torch.arange(6.0).reshape(2, 3), "layer.bias": torch.zeros(2, dtype=torch.float64)}


def load(folder: Path, name: str = "last") -> tuple[dict[str, Tensor], dict[str, Any]]:
    checkpoint = load_checkpoint(folder, name)
    assert checkpoint is not None
    return checkpoint


def content_folder(folder: Path, name: str = "last") -> Path:
    pointer = json.loads((folder / "checkpoints" / f"{name}.json").read_text())
    return folder / "checkpoints" / str(pointer["folder"])


def forge_state(folder: Path, data: bytes) -> None:
    """Put other bytes in place of the state, with the hash that belongs to them."""
    (content_folder(folder) / "state.pt").write_bytes(data)
    pointer_file = folder / "checkpoints" / "last.json"
    pointer = json.loads(pointer_file.read_text())
    pointer["sha256"]["state.pt"] = hashlib.sha256(data).hexdigest()
    pointer_file.write_text(json.dumps(pointer))


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    state: dict[str, Any] = {
        "step": 7,
        "best": -1.5,
        "note": "text",
        "nothing": None,
        "flags": [True, (1, 2.5)],
        "recurrent": {"h": torch.randn(2, 3), "deep": [{"c": torch.tensor([1, 2])}]},
        "optimizer": {"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"betas": (0.9, 0.99)}]},
    }
    save_checkpoint(tmp_path, "last", WEIGHTS, state)
    weights, loaded = load(tmp_path)
    assert weights.keys() == WEIGHTS.keys()
    for name, tensor in WEIGHTS.items():
        torch.testing.assert_close(weights[name], tensor, rtol=0, atol=0)
    torch.testing.assert_close(loaded["recurrent"]["h"], state["recurrent"]["h"], rtol=0, atol=0)
    assert torch.equal(loaded["recurrent"]["deep"][0]["c"], torch.tensor([1, 2]))
    assert loaded["optimizer"]["state"][0]["step"] == 3
    for name in ("step", "best", "note", "nothing", "flags"):
        assert loaded[name] == state[name]
    assert loaded["optimizer"]["param_groups"] == state["optimizer"]["param_groups"]


def test_the_state_of_a_real_optimizer_comes_back(tmp_path: Path) -> None:
    model = torch.nn.Linear(3, 2)
    optimizer = build_optimizer(config.AdamSettings(lr=0.1), model.parameters())
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    save_checkpoint(tmp_path, "last", model.state_dict(), {"optimizer": optimizer.state_dict()})
    weights, state = load(tmp_path)
    resumed = torch.nn.Linear(3, 2)
    resumed.load_state_dict(weights)
    after = build_optimizer(config.AdamSettings(lr=0.1), resumed.parameters())
    after.load_state_dict(state["optimizer"])
    for a, b in ((model, optimizer), (resumed, after)):
        a.zero_grad()
        a(torch.full((1, 3), 2.0)).sum().backward()
        b.step()
    assert torch.equal(model.weight, resumed.weight)
    assert torch.equal(model.bias, resumed.bias)


def test_tied_and_strided_weights_are_saved(tmp_path: Path) -> None:
    table = torch.randn(4, 3)
    weights = {"encoder": table, "head": table, "transposed": table.t(), "part": table[1:3]}
    save_checkpoint(tmp_path, "last", weights, {})
    loaded, _ = load(tmp_path)
    assert all(torch.equal(loaded[name], tensor) for name, tensor in weights.items())


def test_a_small_view_does_not_save_the_large_tensor_behind_it(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, "last", WEIGHTS, {"h": torch.zeros(1000, 1000)[0, :2]})
    assert (content_folder(tmp_path) / "state.pt").stat().st_size < 10_000


def test_there_is_no_checkpoint_before_the_first_save(tmp_path: Path) -> None:
    assert load_checkpoint(tmp_path, "last") is None
    assert load_checkpoint(tmp_path, "best") is None


def test_last_and_best_are_kept_apart_and_replaced_ones_deleted(tmp_path: Path) -> None:
    for step in range(4):
        save_checkpoint(tmp_path, "last", WEIGHTS, {"step": step})
        if step == 1:
            save_checkpoint(tmp_path, "best", WEIGHTS, {"step": step})
    assert load(tmp_path)[1] == {"step": 3}
    assert load(tmp_path, "best")[1] == {"step": 1}
    assert len(list((tmp_path / "checkpoints").iterdir())) == 4


@pytest.mark.parametrize(
    "value",
    [np.float64(1.0), np.zeros(2), {1, 2}, Path("x"), object()],
    ids=lambda value: type(value).__name__,
)
def test_a_state_that_could_not_be_loaded_is_refused_when_saved(tmp_path: Path, value: Any) -> None:
    save_checkpoint(tmp_path, "last", WEIGHTS, {"step": 1})
    with pytest.raises(TypeError, match=r"state\['a'\]\[1\] is a"):
        save_checkpoint(tmp_path, "last", WEIGHTS, {"a": [0, value]})
    assert load(tmp_path)[1] == {"step": 1}


class Malicious:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("pwned",)


@pytest.mark.parametrize("legacy", [True, False], ids=["bare pickle", "torch file"])
def test_a_malicious_pickle_is_refused_and_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, legacy: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    save_checkpoint(tmp_path, "last", WEIGHTS, {"step": 1})
    buffer = io.BytesIO()
    torch.save(Malicious(), buffer)
    forge_state(tmp_path, pickle.dumps(Malicious(), protocol=2) if legacy else buffer.getvalue())
    with pytest.raises(DataError, match="something else than tensors"):
        load_checkpoint(tmp_path, "last")
    assert not Path("pwned").exists()


@pytest.mark.parametrize("file", ["weights.safetensors", "state.pt"])
@pytest.mark.parametrize("damage", ["flipped", "short", "missing"])
def test_a_damaged_checkpoint_is_refused_with_folder_and_cure(tmp_path: Path, file: str, damage: str) -> None:
    save_checkpoint(tmp_path, "last", WEIGHTS, {"step": 1})
    path = content_folder(tmp_path) / file
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(data if damage == "flipped" else data[:-1])
    with pytest.raises(DataError) as caught:
        load_checkpoint(tmp_path, "last")
    assert str(tmp_path) in str(caught.value)
    assert file in str(caught.value)
    assert "delete that folder and train again" in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"folder": 1, "sha256": {}}', "\0\0"])
def test_a_damaged_pointer_is_refused(tmp_path: Path, text: str) -> None:
    save_checkpoint(tmp_path, "last", WEIGHTS, {"step": 1})
    (tmp_path / "checkpoints" / "last.json").write_text(text)
    with pytest.raises(DataError, match=r"last\.json"):
        load_checkpoint(tmp_path, "last")


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").write_text("a file where the folder should be")
    with pytest.raises(UsageError, match="cannot be written"):
        save_checkpoint(tmp_path, "last", WEIGHTS, {})


def test_a_reader_gets_the_new_checkpoint_when_the_old_one_is_replaced_under_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_checkpoint(tmp_path, "last", WEIGHTS, {"step": 1})
    open_it = Path.open

    def replace_then_open(path: Path, mode: str) -> Any:
        if path.name == "weights.safetensors":
            monkeypatch.undo()
            save_checkpoint(tmp_path, "last", WEIGHTS, {"step": 2})
        return open_it(path, mode)

    monkeypatch.setattr(Path, "open", replace_then_open)
    assert load(tmp_path)[1] == {"step": 2}


class Killed(BaseException):
    pass


@pytest.mark.parametrize("half", [False, True], ids=["before", "half-way"])
@pytest.mark.parametrize("write", range(3))
def test_a_save_cut_off_at_any_write_leaves_the_previous_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: int, half: bool
) -> None:
    save_checkpoint(tmp_path, "last", WEIGHTS, {"step": 1})
    writes: list[Path] = []

    def write_until_killed(path: Path, content: bytes) -> None:
        writes.append(path)
        if len(writes) > write:
            if half:
                path.write_bytes(bytes(content)[: len(content) // 2])
            raise Killed
        path.write_bytes(content)

    monkeypatch.setattr(files, "write_durably", write_until_killed)
    monkeypatch.setattr("rmem_cli.records.checkpoint.write_durably", write_until_killed)
    with pytest.raises(Killed):
        save_checkpoint(tmp_path, "last", WEIGHTS, {"step": 2})
    assert load(tmp_path)[1] == {"step": 1}
    monkeypatch.undo()
    save_checkpoint(tmp_path, "last", WEIGHTS, {"step": 3})
    assert load(tmp_path)[1] == {"step": 3}
    assert len(list((tmp_path / "checkpoints").iterdir())) == 2, "what was left unfinished is deleted"


SAVE_FOR_EVER = """
import sys
from itertools import count
from pathlib import Path
import torch
from rmem_cli.records.checkpoint import save_checkpoint

for step in count(int(sys.argv[2])):
    tensor = torch.full((10_000,), float(step))
    save_checkpoint(Path(sys.argv[1]), "last", {"w": tensor}, {"step": step, "w": tensor})
    sys.stdout.write(f"{step}\\n")
    sys.stdout.flush()
"""


@pytest.mark.slow
def test_kill_9_during_saves_always_leaves_the_latest_finished_checkpoint_or_its_successor(
    tmp_path: Path,
) -> None:
    first = 0
    for patience in (0.05, 0.0713, 0.1107):
        command = [sys.executable, "-c", SAVE_FOR_EVER, str(tmp_path), str(first)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            reported = process.stdout.readline()
            time.sleep(patience)
            process.kill()
            finished = int((reported + process.stdout.read()).splitlines()[-1])
        weights, state = load(tmp_path)
        assert finished <= state["step"] <= finished + 1
        assert (weights["w"] == state["step"]).all()
        assert (state["w"] == state["step"]).all()
        first = state["step"] + 1
