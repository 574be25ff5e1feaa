"""Ctrl-C, SIGTERM and SIGHUP as a request that the training loop sees between two steps."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from rmem_cli.platforms import require_supported

require_supported()


def _handled() -> list[signal.Signals]:
    """The signals that ask for a stop."""
    hang_up = getattr(signal, "SIGHUP", None)  # not everywhere
    others = [signal.SIGTERM, *([] if hang_up is None else [hang_up])]
    return [signal.SIGINT, *(each for each in others if signal.getsignal(each) != signal.SIG_IGN)]


class StopRequest:
    """Whether someone has asked the process to stop: true or false when called, as in `if stop():`."""

    def __init__(self) -> None:
        self._requested = False
        self._interrupt: Any = signal.getsignal(signal.SIGINT)

    def __call__(self) -> bool:
        """Whether a stop was requested."""
        return self._requested

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Take note of a signal; one more Ctrl-C means at once: what it meant before.

        Raises:
            KeyboardInterrupt: A Ctrl-C after another request, if it raised one before.
        """
        if self._requested and number == signal.SIGINT and callable(self._interrupt):
            self._interrupt(number, frame)
        self._requested = True


@contextmanager
def interrupts_held() -> Iterator[None]:
    """Ctrl-C waits until it ends; for a process that is started meanwhile, until `release_interrupts`."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def release_interrupts() -> None:
    """Let a Ctrl-C that has waited come, and those that follow."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


@contextmanager
def stop_requested() -> Iterator[StopRequest]:
    """While it lasts, SIGINT, SIGTERM and SIGHUP set a flag instead of ending the process.

        with stop_requested() as stop:
            for step in ...:
                if stop():
                    save and leave

    A SIGHUP or SIGTERM that is ignored, as `nohup` and jobs of a cluster have it, stays so. Outside the main
    thread, where Python handles no signals, it stays false.
    """
    stop = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    previous = {number: signal.signal(number, stop.handle) for number in _handled()}
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            # None stands for a handler that was not set from Python and cannot be set from it.
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
