"""Downloading a file of known content: resumed, retried, from several mirrors, verified before it is used."""

import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

import requests
import urllib3
from rich.console import Console
from rich.filesize import decimal

from rmem_cli.data.progress import transfer
from rmem_cli.errors import DataError
from rmem_cli.version import VERSION
from rmem_cli.visible import say

from .checksum import digest_file
from .dataset import SourceFile

AGENT = f"rmem/{VERSION}"
BROWSER_AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"

_CHUNK = 1 << 18
_MOST_REQUESTS = 1000
_PART, _ANEW = ".part", ".anew"
_CERTIFICATES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")  # name a file of them, the first that is set


@dataclass(frozen=True)
class Patience:
    """How long a mirror is given.

    Args:
        attempts: Requests in a row that may bring nothing new before the next mirror is tried.
        backoff: Seconds before the second attempt; doubles with each further one.
        connect: Seconds for a connection to come about.
        read: Seconds without a byte, after which the connection counts as cut.
        slowest: Bytes per second below which, for `read` seconds, the mirror is given up.
    """

    attempts: int = 3
    backoff: float = 1.0
    connect: float = 10.0
    read: float = 20.0
    slowest: float = 1024.0


class UnavailableError(DataError):
    """No mirror gave the file.

    Attributes:
        unreachable: Hosts that there is no connection to.
        refusals: What the other hosts did, host by host; empty if there is none.
    """

    def __init__(self, file: SourceFile, failures: "Sequence[tuple[str, _MirrorError]]") -> None:
        why = "; ".join(f"{host}: {error}" for host, error in failures)
        super().__init__(f"{file.name} could not be downloaded ({why})")
        self.unreachable = {host for host, error in failures if isinstance(error, _UnreachableError)}
        self.refusals = "; ".join(
            f"{host}: {error}" for host, error in failures if host not in self.unreachable
        )


class _MirrorError(Exception):
    """This mirror does not give the file; the message says why."""


class _UnreachableError(_MirrorError):
    """There is no connection to this mirror."""


class _CutError(Exception):
    """This request failed, but another may go on from where it stopped; the message says why."""


class _NoConnectionError(_CutError):
    """No connection came about."""


class _BehindEndError(Exception):
    """This mirror's file has no byte at the place from which the download is to go on."""


def download(
    file: SourceFile,
    urls: Sequence[str],
    folder: Path,
    console: Console,
    *,
    browser: bool = False,
    patience: Patience | None = None,
) -> Path:
    """Download a file into a folder, unless it is there already.

    Bytes are collected in `<name>.part`, which a later call continues (also from another mirror), and
    renamed to `<name>` once size and hash are right. A mirror that begins anew writes to `<name>.anew`, which
    takes the place of a shorter part only. A file with the wrong content is kept as `<name>.bad`.
    The caller sees to it that no two calls for one file run at once.

    Args:
        file: What is wanted.
        urls: Where it may be, best first.
        folder: Where it goes.
        console: For progress and warnings (stderr).
        browser: Name a browser as the user agent.
        patience: Time limits.

    Returns:
        The path of the verified file.

    Raises:
        UnavailableError: No mirror gave it; the message says why, mirror by mirror.
        DataError: The disk is full or cannot be written.
    """
    job = _Download(
        file, folder / file.name, console, BROWSER_AGENT if browser else AGENT, patience or Patience()
    )
    with _disk_errors_named(job.target):
        if job.target.is_file() and job.mismatch(job.target) is None:
            return job.target
        job.target.parent.mkdir(parents=True, exist_ok=True)
    failures: list[tuple[str, _MirrorError]] = []
    for place, url in enumerate(urls, start=1):
        try:
            job.from_mirror(url)
        except _MirrorError as error:
            failures.append((host_of(url), error))
            if place < len(urls) and not isinstance(error, _UnreachableError):
                say(console, f"{file.name}: {host_of(url)}: {error}")
        else:
            return job.target
    raise UnavailableError(file, failures)


def host_of(url: str) -> str:
    """The host that an address names."""
    return urlsplit(url).netloc or url


def set_aside(path: Path) -> Path:
    """Rename a file with wrong content to `<name>.bad`: there to look at, never taken for good."""
    bad = path.with_name(path.name.removesuffix(_PART).removesuffix(_ANEW) + ".bad")
    path.replace(bad)
    return bad


@dataclass(frozen=True)
class _Download:
    file: SourceFile
    target: Path
    console: Console
    agent: str
    patience: Patience

    @property
    def part(self) -> Path:
        return self.target.with_name(self.target.name + _PART)

    @property
    def anew(self) -> Path:
        """What begins at the first byte although there is a part, which it may not be worth."""
        return self.target.with_name(self.target.name + _ANEW)

    def mismatch(self, path: Path) -> str | None:
        return self.file.mismatch(digest_file(path, [self.file.algorithm]))

    def from_mirror(self, url: str) -> None:
        """Bring the target about, or raise _MirrorError."""
        with _disk_errors_named(self.target):
            self.keep_longer()  # of what a process left that was killed
            resumed = self.received() > 0
            whole = self.complete(url)
            wrong = self.mismatch(whole)
            if wrong is None:
                whole.replace(self.target)
                self.part.unlink(missing_ok=True)
                return
            bad = set_aside(whole)
        if not resumed or whole == self.anew:
            raise _MirrorError(f"{wrong}; kept as {bad}")
        say(
            self.console,
            f"{self.file.name}: what an earlier download left is wrong (kept as {bad}); starting anew",
        )
        self.from_mirror(url)

    def received(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def keep_longer(self) -> None:
        """Keep what has more bytes as the part: the part, or what began anew and did not become whole."""
        if self.anew.exists():
            if self.anew.stat().st_size > self.received():
                self.anew.replace(self.part)
            else:
                self.anew.unlink()

    def complete(self, url: str) -> Path:
        """Request the rest again and again until a file is whole, which is returned."""
        reached, fruitless = self.received(), 0
        for _ in range(_MOST_REQUESTS):
            try:
                return self.request_rest(url)
            except _CutError as error:
                fruitless = 0 if self.received() > reached else fruitless + 1
                reached = max(reached, self.received())
                if fruitless >= self.patience.attempts:
                    no_connection = isinstance(error, _NoConnectionError) and reached == 0
                    raise (_UnreachableError if no_connection else _MirrorError)(str(error)) from error
            if fruitless:
                time.sleep(self.patience.backoff * 2 ** (fruitless - 1))
        raise _MirrorError(f"the connection was cut {_MOST_REQUESTS} times")

    def request_rest(self, url: str) -> Path:
        """Request what the part lacks; all of the file, if the mirror has nothing behind the part."""
        offset = self.received()
        if self.file.size is not None and offset >= self.file.size:
            return self.part
        try:
            return self.request(url, offset)
        except _BehindEndError:
            if self.file.checksum and self.mismatch(self.part) is None:
                return self.part
            return self.request(url, 0)

    def request(self, url: str, offset: int) -> Path:
        """Write what one request brings, from a byte on; returns only if the file is then whole."""
        # Asking for the bytes as they are: a compressed answer could be neither measured nor resumed.
        headers = {"User-Agent": self.agent, "Accept-Encoding": "identity"}
        if offset:
            headers["Range"] = f"bytes={offset}-"
        with _network_errors_named(self.patience), _answer(url, headers, self.patience) as r:
            if offset and r.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                raise _BehindEndError
            _refuse_status(r.status_code)
            start = _range_start(r) if r.status_code == HTTPStatus.PARTIAL_CONTENT else 0
            if start not in (0, offset):
                raise _MirrorError(f"it sent bytes from {start} on where {offset} was asked for")
            total = self.total(r, start)
            self.check_disk_space(total, start)
            path = self.part if start == self.received() else self.anew
            try:
                self.receive(r, path, start, total)
            except BaseException:
                self.keep_longer()
                raise
            return path

    def total(self, response: requests.Response, start: int) -> int | None:
        """The size of the whole file: the known one, or what the response declares."""
        length = response.headers.get("Content-Length", "")
        if not length.isdecimal() or response.headers.get("Content-Encoding", "identity") != "identity":
            return self.file.size
        declared = start + int(length)
        if self.file.size not in (None, declared):
            kind = response.headers.get("Content-Type", "no stated type")
            raise _MirrorError(f"it offers {declared:,} bytes ({kind}), not {self.file.size:,}")
        return declared

    def check_disk_space(self, total: int | None, start: int) -> None:
        free = shutil.disk_usage(self.part.parent).free
        if total is not None and free < total - start:
            raise DataError(
                f"The disk is too full for {self.file.name}: {self.part.parent} needs "
                f"{decimal(total - start)} and has {decimal(free)} free; make room, or set RMEM_DATA."
            )

    def receive(self, response: requests.Response, path: Path, start: int, total: int | None) -> None:
        title = f"{self.file.name} from {urlsplit(response.url).netloc}"
        say(self.console, f"Downloading {title}" + (f", from byte {start:,} on" if start else ""))
        with (
            path.open("ab" if start else "wb") as handle,
            transfer(self.console, self.file.name, total) as show,
        ):
            done = start
            for chunk in self.chunks(response):
                handle.write(chunk)
                done += len(chunk)
                if total is not None and done > total:
                    handle.truncate(start)  # what stood there before may be right
                    raise _MirrorError(f"it sends more than {total:,} bytes")
                show(done)
            _flush(handle)
        if total is not None and done < total:
            raise _CutError(f"the connection was cut after {done:,} of {total:,} bytes")

    def chunks(self, response: requests.Response) -> Iterator[bytes]:
        """The body as it arrives; read1 returns what is there, so that a trickle is noticed."""
        window_start, window_bytes = time.monotonic(), 0
        while chunk := response.raw.read1(_CHUNK, decode_content=True):
            yield chunk
            window_bytes += len(chunk)
            seconds = time.monotonic() - window_start
            if seconds >= self.patience.read:
                if window_bytes < self.patience.slowest * seconds:
                    raise _MirrorError(f"it sent only {window_bytes:,} bytes in {seconds:.0f} s")
                window_start, window_bytes = time.monotonic(), 0


def _answer(url: str, headers: Mapping[str, str], patience: Patience) -> requests.Response:
    """The answer to a request, its body still to come."""
    limits = (patience.connect, patience.read)
    try:
        return requests.get(url, headers=headers, stream=True, timeout=limits)
    except requests.exceptions.RequestException:
        raise
    except OSError as error:  # as requests says that there is no file of certificates
        raise _MirrorError(_without_certificates(error)) from error


def _without_certificates(error: OSError) -> str:
    variable = next((name for name in _CERTIFICATES if os.environ.get(name)), None)
    if variable is None:
        return str(error)
    return (
        f"there are no certificates at {os.environ[variable]}, which {variable} names; let it name a file of "
        "them, or unset it"
    )


def _range_start(response: requests.Response) -> int:
    """The first byte of a partial answer, from `Content-Range: bytes 100-199/200`."""
    first = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("-")[0]
    if not first.isdecimal():
        raise _MirrorError("its partial answer does not say which part it is")
    return int(first)


def _refuse_status(status: int) -> None:
    if status in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT):
        return
    passing = status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in (
        HTTPStatus.REQUEST_TIMEOUT,
        HTTPStatus.TOO_MANY_REQUESTS,
    )
    raise (_CutError if passing else _MirrorError)(f"it answered {status}")


def _flush(handle: BinaryIO) -> None:
    handle.flush()
    os.fsync(handle.fileno())


@contextmanager
def _network_errors_named(patience: Patience) -> Iterator[None]:
    """Turn what requests and urllib3 raise into a few words; order matters, the classes are nested."""
    try:
        yield
    except (requests.exceptions.ConnectTimeout, urllib3.exceptions.ConnectTimeoutError) as error:
        raise _UnreachableError(f"no connection within {patience.connect:g} s") from error
    except (requests.exceptions.Timeout, urllib3.exceptions.TimeoutError) as error:
        raise _CutError(f"nothing came for {patience.read:g} s") from error
    except requests.exceptions.ProxyError as error:
        raise _NoConnectionError("the proxy refused or could not be reached") from error
    except requests.exceptions.SSLError as error:
        raise _MirrorError("its certificate was not accepted") from error
    except requests.exceptions.TooManyRedirects as error:
        raise _MirrorError("it redirects without end") from error
    except requests.exceptions.ConnectionError as error:
        raise _NoConnectionError("no connection") from error
    except (urllib3.exceptions.HTTPError, requests.exceptions.ChunkedEncodingError) as error:
        raise _CutError("the connection was cut") from error
    except requests.exceptions.RequestException as error:
        raise _MirrorError(str(error)) from error


@contextmanager
def _disk_errors_named(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(f"Cannot write {path}: {error.strerror or error}.") from error
