"""`rmem`, and `python -m rmem_cli`: from the first import on, Ctrl-C ends it in one line."""

import contextlib
import os
import signal
import sys
from types import FrameType

_INTERRUPTED = 130


def main() -> None:
    """Run the command line; Ctrl-C ends it with one line and exit code 130."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # and not ignored, as by `rmem ... &`
        signal.signal(signal.SIGINT, _interrupt)
    try:
        from rmem_cli.app import main as run

        run()
    except KeyboardInterrupt:
        raise SystemExit(_INTERRUPTED) from None
    finally:
        if signal.getsignal(signal.SIGINT) is _leave:  # what is left to do is to end
            signal.signal(signal.SIGINT, signal.SIG_IGN)


def _interrupt(number: int, frame: FrameType | None) -> None:
    signal.signal(signal.SIGINT, _leave)
    with contextlib.suppress(OSError):  # of a terminal that was closed
        os.write(sys.stderr.fileno(), b"rmem: interrupted\n")
    if _imports(frame):
        _leave(number, frame)
    raise KeyboardInterrupt


def _imports(frame: FrameType | None) -> bool:
    """Whether something is being imported: it may swallow an exception, and has nothing to clean up."""
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        frame = frame.f_back
    return False


def _leave(_number: int, _frame: FrameType | None) -> None:
    """At once, as by one more Ctrl-C before the first one has got through."""
    os._exit(_INTERRUPTED)


if __name__ == "__main__":
    main()
