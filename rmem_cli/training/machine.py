"""Which device and how many threads a run gets."""

import os

import torch

from rmem_cli.errors import UsageError
from rmem_cli.training.run import Machine


def choose_machine(device: str, jobs: int) -> Machine:
    """The machine for runs on a device, `jobs` of them side by side.

    The threads are shared out evenly; `OMP_NUM_THREADS` bounds them as it does for torch itself.

    Raises:
        UsageError: There is no such device here.
    """
    try:
        chosen = torch.device(device)
        torch.zeros(1, device=chosen).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"--device {device} cannot be used here ({reason}); try --device cpu") from error
    # Vanishing gradients end in numbers so small that a processor takes a hundred times as long over them.
    torch.set_flush_denormal(True)
    if chosen.type == "cuda":
        # Kernels of cuBLAS and cuDNN are chosen for equal bits, not for the last few per cent of speed.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=True)
    return Machine(str(chosen), max(1, torch.get_num_threads() // jobs))
