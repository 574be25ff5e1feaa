"""Where runs are computed."""

import os
from dataclasses import dataclass
from typing import Literal

import torch

from rmem_cli.errors import UsageError
from rmem_cli.ops.native.build import mode_asked_for
from rmem_cli.world import ALONE, World

Deterministic = Literal["off", "warn", "error"]


@dataclass(frozen=True)
class Machine:
    """Where runs are computed.

    Attributes:
        device: Such as "cpu" or "cuda:0".
        threads: CPU threads of one run.
        compile: Whether `torch.compile` translates the model.
        world: The processes that train each run together.
        deterministic: What becomes of operations whose bits vary from time to time: on a GPU, others are
            taken, and torch warns where there are none (`warn`); they are an `error` on any device; or
            nothing (`off`).
        tensorboard: Whether learning curves are kept for TensorBoard, too.
    """

    device: str
    threads: int
    compile: bool = False
    world: World = ALONE
    deterministic: Deterministic = "warn"
    tensorboard: bool = False


def choose_machine(
    device: str,
    jobs: int,
    *,
    compile: bool = False,  # noqa: A002 - torch's name
    deterministic: Deterministic = "warn",
) -> Machine:
    """The machine for runs on a device, `jobs` of them side by side.

    The threads are shared out evenly; `OMP_NUM_THREADS` bounds them as it does for torch itself.

    Raises:
        UsageError: There is no such device here, or `RMEM_NATIVE` is none of its values.
    """
    mode_asked_for()
    chosen = _device(device)
    if chosen.type == "cuda":
        # cuBLAS reads it once, before its first product; processes that are started inherit it.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # There is one CPU, whatever number it is given.
    name = "cpu" if chosen.type == "cpu" else str(chosen)
    return Machine(name, max(1, torch.get_num_threads() // jobs), compile, deterministic=deterministic)


def devices_here() -> list[str]:
    """The devices that runs can have on this machine."""
    cuda = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    return [
        "cpu",
        *(["cuda", *cuda] if cuda else []),
        *(["mps"] if torch.backends.mps.is_available() else []),
    ]


def _device(name: str) -> torch.device:
    here = ", ".join(devices_here())
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UsageError(
            f"--device {name}: there is no such kind of device; here there are: {here}"
        ) from error
    try:
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UsageError(
            f"--device {name}: there is none here that can compute; there are: {here}"
        ) from error
    return device
