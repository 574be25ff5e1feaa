"""Time that work takes."""

import time

import torch


def clock(device: torch.device) -> float:
    """Seconds that only work takes: processor time of this thread, which does not pass while others have it.

    The thread takes part in all that is computed on a CPU and sleeps while it waits, so that this
    is what a quiet machine would take. On other devices it is the time of day.
    """
    return time.thread_time() if device.type == "cpu" else time.perf_counter()
