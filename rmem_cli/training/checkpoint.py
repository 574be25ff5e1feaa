"""Checkpoints: weights and training state, replaced as a whole and verified when loaded.

A run folder holds

    checkpoints/last.json                      names the files of the checkpoint `last`, with their sha256
    checkpoints/last-3f2a90c1/weights.safetensors
    checkpoints/last-3f2a90c1/state.pt         optimizer, schedule, recurrent state, counters

and the same for `best`. The files are written first and named by the small JSON file last, so that whatever
stops the process leaves the previous checkpoint or the new one. Nothing loaded can run code.
"""

import hashlib
import io
import json
import pickle
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import torch
from safetensors import SafetensorError
from safetensors import torch as safetensors
from torch import Tensor

from rmem_cli.errors import DataError, UsageError
from rmem_cli.files import sync_folder, write_atomically, write_durably

_WEIGHTS = "weights.safetensors"
_STATE = "state.pt"
_PLAIN = {bool, int, float, str, bytes, type(None)}


def save_checkpoint(folder: Path, name: str, weights: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
    """Replace a checkpoint.

    Args:
        folder: The run folder; the caller holds its lock.
        name: "last" or "best".
        weights: The model's `state_dict()`; tensors may share memory and be on any device.
        state: All else a resumed run needs: dicts, lists and tuples of tensors, numbers, strings, booleans
            and None.

    Raises:
        TypeError: The state holds something else, which could not be loaded again.
        UsageError: The folder cannot be written; the previous checkpoint is as it was.
    """
    files: dict[str, bytes | memoryview]
    files = {_WEIGHTS: _weights_to_bytes(weights), _STATE: _state_to_bytes(state)}
    checkpoints = folder / "checkpoints"
    content = checkpoints / f"{name}-{uuid4().hex[:8]}"
    try:
        content.mkdir(parents=True)
        for file, data in files.items():
            write_durably(content / file, data)
        sync_folder(content)
        sync_folder(checkpoints)
        sums = {file: _sha256(data) for file, data in files.items()}
        pointer = json.dumps({"folder": content.name, "sha256": sums}, indent=2) + "\n"
        write_atomically(_pointer(folder, name), pointer.encode())
    except OSError as error:
        raise UsageError(
            f"the checkpoint {name!r} cannot be written to {checkpoints} ({error.strerror or error}); "
            "make room or make it writable, then run the same command again to go on from the previous one"
        ) from error
    _delete_others(content, name)


def load_checkpoint(folder: Path, name: str) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Weights and state of a checkpoint, on the CPU; None if there is none.

    Args:
        folder: The run folder.
        name: "last" or "best".

    Raises:
        DataError: The checkpoint is damaged.
    """
    files = _read(folder, name, [_WEIGHTS, _STATE])
    if files is None:
        return None
    weights, state = files
    try:
        return _weights_from_bytes(weights), _state_from_bytes(state)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError) as error:
        raise _damaged(folder, name, "it holds something else than tensors and plain values") from error


def _weights_to_bytes(weights: Mapping[str, Tensor]) -> bytes:
    # Tied weights share memory, which the format refuses: each name gets a copy.
    return safetensors.save(
        {
            name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
            for name, tensor in weights.items()
        }
    )


def _weights_from_bytes(data: bytes) -> dict[str, Tensor]:
    return safetensors.load(data)


def _state_to_bytes(state: Mapping[str, Any]) -> memoryview:
    buffer = io.BytesIO()
    torch.save(_plain(state, "state"), buffer)
    return buffer.getbuffer()


def _state_from_bytes(data: bytes) -> dict[str, Any]:
    state: dict[str, Any] = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    return state


def _plain(value: Any, where: str) -> Any:
    """The value with its tensors alone in their memory, so that a small view does not save a large tensor."""
    if isinstance(value, Tensor):
        return value.detach().cpu().clone()
    if isinstance(value, Mapping):
        return {_plain(key, where): _plain(item, f"{where}[{key!r}]") for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_plain(item, f"{where}[{index}]") for index, item in enumerate(value))
    if type(value) in _PLAIN:
        return value
    raise TypeError(f"{where} is a {type(value).__name__}, which a checkpoint cannot hold")


def _read(folder: Path, name: str, files: list[str]) -> list[bytes] | None:
    """Verified content of some files of a checkpoint; None if there is no checkpoint."""
    while True:
        try:
            pointer = _pointer(folder, name).read_bytes()
        except FileNotFoundError:
            return None
        try:
            return _read_named(folder, name, pointer, files)
        except DataError:
            # A run in progress may have replaced the checkpoint, and deleted its files, since the first line.
            if _pointer(folder, name).read_bytes() == pointer:
                raise


def _read_named(folder: Path, name: str, pointer: bytes, files: list[str]) -> list[bytes]:
    contents = []
    for file in files:
        try:
            entry = json.loads(pointer)
            data = (folder / "checkpoints" / entry["folder"] / file).read_bytes()
            intact = _sha256(data) == entry["sha256"][file]
        except (ValueError, KeyError, TypeError) as error:
            raise _damaged(folder, name, f"{name}.json does not name its files") from error
        except (FileNotFoundError, NotADirectoryError) as error:
            raise _damaged(folder, name, f"{file} is missing") from error
        if not intact:
            raise _damaged(folder, name, f"{file} is not what was written") from None
        contents.append(data)
    return contents


def _delete_others(content: Path, name: str) -> None:
    """Delete the checkpoint just replaced, and whatever an earlier process left unfinished."""
    for other in content.parent.glob(f"{name}-*"):
        if other != content:
            shutil.rmtree(other, ignore_errors=True)


def _pointer(folder: Path, name: str) -> Path:
    return folder / "checkpoints" / f"{name}.json"


def _damaged(folder: Path, name: str, reason: str) -> DataError:
    return DataError(
        f"the checkpoint {name!r} in {folder} is damaged: {reason}; "
        "delete that folder and train again with --rerun all, which repeats the run from its start"
    )


def _sha256(data: bytes | memoryview) -> str:
    return hashlib.sha256(data).hexdigest()
