"""Which device and how many threads a run gets."""

import os

import torch

from rmem_cli.errors import UsageError
from rmem_cli.training.run import Machine


def choose_machine(device: str, jobs: int, *, compile: bool = False) -> Machine:  # noqa: A002 - torch's name
    """The machine for runs on a device, `jobs` of them side by side.

    The threads are shared out evenly; `OMP_NUM_THREADS` bounds them as it does for torch itself.

    Raises:
        UsageError: There is no such device here.
    """
    try:
        chosen = torch.device(device)
        torch.zeros(1, device=chosen).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0].split(". ")[0]
        raise UsageError(f"--device {device} cannot be used here ({reason}); try --device cpu") from error
    if chosen.type == "cuda":
        # cuBLAS reads it once, before its first product; processes that are started inherit it.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # There is one CPU, whatever number it is given.
    name = "cpu" if chosen.type == "cpu" else str(chosen)
    return Machine(name, max(1, torch.get_num_threads() // jobs), compile)
