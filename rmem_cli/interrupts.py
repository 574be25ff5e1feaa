"""Ctrl-C from the first import to the last line: one sentence and exit code 130, however often it comes."""

import os
import signal
import threading
from types import FrameType

EXIT_CODE = 130
MESSAGE = "rmem: interrupted\n"


def handle_interrupts() -> None:
    """Let a first Ctrl-C raise KeyboardInterrupt, and one that finds nothing to clean up end the process.

    Where Ctrl-C is ignored or handled by others, as under nohup, it stays so.
    """
    of_python = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if of_python and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, _interrupt)


def ignore_interrupts() -> None:
    """Let no further Ctrl-C disturb the end of the process."""
    if signal.getsignal(signal.SIGINT) in (_interrupt, _leave):
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def _interrupt(number: int, frame: FrameType | None) -> None:
    # What is being imported may take the exception for another, or print it; nothing needs cleaning up yet.
    if _is_importing(frame):
        _leave(number, frame)
    signal.signal(signal.SIGINT, _leave)
    raise KeyboardInterrupt


def _leave(_number: int, _frame: FrameType | None) -> None:
    os.write(2, MESSAGE.encode())
    os._exit(EXIT_CODE)


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False
