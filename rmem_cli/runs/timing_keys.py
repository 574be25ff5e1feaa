"""What steps that were timed on this machine are kept under, by `rmem_cli.runs.timings`."""

import contextlib
import os
import platform
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import torch

from rmem_cli.recipe.hashing import canonical, digest
from rmem_cli.recipe.schema import RunSettings
from rmem_cli.recipe.settings import Settings


def step_key(settings: RunSettings, data_hash: str, op_paths: Mapping[str, str], device: torch.device) -> str:
    """What the rate of a run's steps is kept under: all that their cost depends on."""
    train = settings.train
    of_step = {name: getattr(train, name) for name in ("batch_size", "backprop", "dtype", "clip_norm")}
    shares = {"accumulate": train.accumulate} if train.accumulate > 1 else {}
    about = {"task": settings.task, "model": settings.model, "optimizer": settings.optimizer.kind, **shares}
    return machine_key(
        "step", {**about, **of_step, "data": data_hash}, settings.train.dtype, op_paths, device
    )


def machine_key(
    sort: str, about: object, dtype: str, op_paths: Mapping[str, str], device: torch.device
) -> str:
    """A hash of what was measured, on which machine, by how many threads and which torch."""
    here = [torch.get_num_threads(), str(device), torch.__version__, _machine(device)]
    described = canonical(about) if isinstance(about, Settings | dict) else about
    return digest([sort, described, dtype, dict(op_paths), *here])


@cache
def _machine(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    names: list[str] = []
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{platform.machine()} {names[0] if names else platform.processor()} {os.cpu_count()}"
