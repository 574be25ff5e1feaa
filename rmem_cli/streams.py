"""Standard output and error, wherever they lead: closed, full, without a reader, or with few characters."""

import contextlib
import io
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO, cast

from rmem_cli.errors import UsageError


@contextmanager
def guarded_streams() -> Iterator[None]:
    """While it lasts, what cannot be written to standard output ends the command, and errors end nothing.

    A stream that is closed swallows what it is given. Output without a reader, as in `rmem list | head -1`,
    ends the command with exit code 0. What is for people is dropped where nobody can read it, and the command
    goes on. For a character that the encoding lacks there is a question mark.
    """
    before = sys.stdout, sys.stderr
    sys.stdout = _guarded(sys.stdout or _opened(1), _end)
    sys.stderr = _guarded(sys.stderr or _opened(2), lambda _: None)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def _end(error: OSError) -> None:
    if isinstance(error, BrokenPipeError):
        raise SystemExit(0)
    raise UsageError(f"what is printed cannot be written: {error.strerror}")


def _opened(descriptor: int) -> TextIO:
    """A closed descriptor, open to nowhere: so that no file gets its number, and with it what is printed."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    if nowhere != descriptor:
        os.dup2(nowhere, descriptor)
        os.close(nowhere)
    os.set_inheritable(descriptor, True)
    return os.fdopen(descriptor, "w", encoding="utf-8", closefd=False)


def _guarded(stream: TextIO, failed: Callable[[OSError], None]) -> TextIO:
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="replace")
    return cast(TextIO, _Guarded(stream, failed))


class _Guarded:
    """A text stream that leads nowhere once it could not be written.

    Args:
        stream: What is written to.
        failed: Called with the first error of the system.
    """

    buffer = None  # click would write UTF-8 to it, past this stream, where the encoding is ASCII

    def __init__(self, stream: TextIO, failed: Callable[[OSError], None]) -> None:
        self._stream = stream
        self._failed = failed

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        if text != "":  # click asks by an empty text which kind of stream it is, and hides the answer
            self._try(lambda: self._stream.write(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        self._try(self._stream.flush)

    def _try(self, action: Callable[[], object]) -> None:
        try:
            action()
        except OSError as error:
            with contextlib.suppress(OSError):  # a stream without a descriptor is one of a test
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, self._stream.fileno())
                os.close(nowhere)
            self._failed(error)
