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
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import torch
from safetensors import torch as safetensors
from torch import Tensor

from rmem_cli.errors import DataError, RmemError, UsageError
from rmem_cli.files import read_small, sync_folder, write_atomically, write_durably

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
    files = {_WEIGHTS: weights_to_bytes(weights), _STATE: _state_to_bytes(state)}
    checkpoints = folder / "checkpoints"
    content = checkpoints / f"{name}-{uuid4().hex[:8]}"
    try:
        content.mkdir(parents=True)
        for file, data in files.items():
            write_durably(content / file, data)
        sync_folder(content)
        sync_folder(checkpoints)
        sums = {file: hashlib.sha256(data).hexdigest() for file, data in files.items()}
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
    with _damage(folder, name, "it holds something else than tensors and plain values"):
        return weights_from_bytes(weights), _state_from_bytes(state)


def weights_hash(weights: Mapping[str, Tensor]) -> str:
    """A hash of weights, as they are written."""
    return hashlib.sha256(weights_to_bytes(weights)).hexdigest()


@contextmanager
def fitting(folder: Path, name: str) -> Iterator[None]:
    """Inside, what a checkpoint holds is made use of, and anything that does not fit is damage.

    Args:
        folder: The run folder.
        name: "last" or "best".

    Raises:
        DataError: It does not fit.
    """
    with _damage(folder, name, "it is not one of this run"):
        yield


@contextmanager
def _damage(folder: Path, name: str, reason: str) -> Iterator[None]:
    """Content that is not what this code wrote may fail in any way; a lack of memory is not its fault."""
    try:
        yield
    except (RmemError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        detail = f" ({error})" if type(error) is ValueError else ""
        raise _damaged(folder, name, f"{reason}{detail}") from error


def weights_to_bytes(weights: Mapping[str, Tensor]) -> bytes:
    """Weights as safetensors has them; they may share memory and be on any device."""
    # Tied weights share memory, which the format refuses: each name gets a copy.
    return safetensors.save(
        {
            name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
            for name, tensor in weights.items()
        }
    )


def weights_from_bytes(data: bytes) -> dict[str, Tensor]:
    """What `weights_to_bytes` made of weights, on the CPU."""
    return safetensors.load(data)


def _state_to_bytes(state: Mapping[str, Any]) -> memoryview:
    buffer = io.BytesIO()
    torch.save(_plain(state, "state"), buffer)
    return buffer.getbuffer()


def _state_from_bytes(data: bytes) -> dict[str, Any]:
    state: dict[str, Any] = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    if not isinstance(state, dict):
        raise ValueError(f"a {type(state).__name__}")
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
        pointer = _read_pointer(folder, name)
        if pointer is None:
            return None
        try:
            return _read_named(folder, name, pointer, files)
        except DataError:
            # A run in progress may have replaced the checkpoint, and deleted its files, since the first line.
            if _read_pointer(folder, name) == pointer:
                raise


def _read_pointer(folder: Path, name: str) -> bytes | None:
    """The small file that names those of a checkpoint; None if there is none."""
    try:
        return read_small(_pointer(folder, name))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _damaged(folder, name, f"{name}.json cannot be read ({error.strerror or error})") from error


def _read_named(folder: Path, name: str, pointer: bytes, files: list[str]) -> list[bytes]:
    contents = []
    for file in files:
        try:
            entry = json.loads(pointer)
            path = folder / "checkpoints" / Path(entry["folder"]).name / file
            with path.open("rb") as content:
                # Read only then: what is not what was written may be too large for the memory.
                intact = hashlib.file_digest(content, "sha256").hexdigest() == entry["sha256"][file]
                content.seek(0)
                contents += [content.read()] if intact else []
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise _damaged(folder, name, f"{name}.json does not name its files") from error
        except (FileNotFoundError, NotADirectoryError) as error:
            raise _damaged(folder, name, f"{file} is missing") from error
        except OSError as error:
            raise _damaged(folder, name, f"{file} cannot be read ({error.strerror or error})") from error
        if not intact:
            raise _damaged(folder, name, f"{file} is not what was written") from None
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
