"""Peak memory of a run, and running out of it."""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

import torch

from rmem_cli.errors import RmemError, RunsFailedError
from rmem_cli.platforms import require_supported

require_supported()

import resource  # noqa: E402  there is none elsewhere


class OutOfMemoryError(RmemError):
    """A model, or a batch, that does not fit into memory."""

    exit_code = RunsFailedError.exit_code


_OUT_OF_MEMORY = (
    "can't allocate memory",
    "calculation overflowed",
    "Overflow when unpacking",
    "Maximum allowed dimension exceeded",
    "array is too big",
    "too large to convert to C",
)


@contextlib.contextmanager
def one_out_of_memory_error() -> Iterator[None]:
    """Inside, every way of running out of memory becomes an `OutOfMemoryError`.

    Raises:
        OutOfMemoryError: The memory of the computer, or of the GPU, did not suffice.
    """
    try:
        yield
    except (MemoryError, RuntimeError, ValueError, OverflowError) as error:
        # On a CPU, torch says so in the text of a plain RuntimeError only; of sizes that no memory has, NumPy
        # and Python say other things.
        known = isinstance(error, MemoryError | torch.OutOfMemoryError)
        if not known and not any(words in str(error) for words in _OUT_OF_MEMORY):
            raise
        raise OutOfMemoryError(
            "the memory does not suffice; a smaller model, train.batch_size or eval batch_size, or shorter "
            "sequences, need less"
        ) from error


def reset_peak_memory(device: torch.device) -> None:
    """Start measuring anew, where the system allows it (Linux, CUDA)."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak_memory_mb(device: torch.device) -> float:
    """Most memory used since the last reset, in megabytes: of the GPU, or of the whole process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
    kilobytes = next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))
    return int(kilobytes) * 1024 / 1e6
