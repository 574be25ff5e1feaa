"""A server on 127.0.0.1 that can misbehave, and a data set like Penn Treebank in miniature."""

import hashlib
import io
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from rich.console import Console
from rmem_cli.data_scripts.dataset import Dataset, Form, Source, SourceFile
from rmem_cli.data_scripts.download import Patience
from rmem_cli.data_scripts.ptb import PTB

from rmem_cli.data.writer import Expected

Answer = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    """Answers a GET by what the server has for its path, and keeps a record of it."""

    def do_GET(self) -> None:
        mirror: Mirror = self.server.mirror  # type: ignore[attr-defined]
        mirror.requests.append((self.path, self.headers.get("Range", ""), self.headers["User-Agent"]))
        answer = mirror.answers.get(self.path)
        if answer is None:
            self.send_error(404)
        elif isinstance(answer, bytes):
            self.send_ranges(answer)
        else:
            answer(self)

    def send_ranges(self, body: bytes, cut_after: int | None = None) -> None:
        """Send the body, or the asked end of it; `cut_after` bytes of it, then hang up."""
        wanted = self.headers.get("Range", "")
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        self.send_response(206 if wanted else 200)
        if wanted:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        self.wfile.write(body[start:][:cut_after])

    def log_message(self, *args: object) -> None:
        """Keep the test output clean."""


@dataclass
class Mirror:
    """What a test sees of the server.

    Args:
        url: Its address, without a slash at the end.
        answers: Path to the bytes, or to what handles the request.
        requests: Path, Range and User-Agent of every request so far.
        released: Set at the end of the test, so that hanging answers end.
    """

    url: str
    answers: dict[str, bytes | Answer] = field(default_factory=dict)
    requests: list[tuple[str, str, str]] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)

    def paths(self) -> list[str]:
        return [path for path, _, _ in self.requests]


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirror]:
    for variable in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(variable, "127.0.0.1")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    running = Mirror(f"http://127.0.0.1:{server.server_address[1]}")
    server.mirror = running  # type: ignore[attr-defined]
    thread = threading.Thread(target=lambda: server.serve_forever(poll_interval=0.01), daemon=True)
    thread.start()
    yield running
    running.released.set()
    server.shutdown()
    server.server_close()


@pytest.fixture
def console() -> Console:
    """A console whose text a test can read: `console.file.getvalue()`."""
    return Console(file=io.StringIO(), force_terminal=False)


@pytest.fixture
def patience() -> Patience:
    """Time limits short enough for a test."""
    return Patience(attempts=2, backoff=0.01, connect=2.0, read=0.3)


@pytest.fixture(autouse=True)
def data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "rmem-data"
    monkeypatch.setenv("RMEM_DATA", str(folder))
    return folder


@pytest.fixture
def no_lock_in(data_folder: Path) -> Callable[[str], None]:
    """Makes the folder of a data set refuse its lock, to root as well, as a folder does that is read-only."""

    def refuse(name: str) -> None:
        lock = data_folder / name / ".lock"
        lock.unlink()
        lock.mkdir()

    return refuse


TEXTS = {
    "ptb.train.txt": " a cat sat on <unk> N mats \n the cat is a cat \n",
    "ptb.valid.txt": " the cat is on N mats \n",
    "ptb.test.txt": " a cat is a cat \n the <unk> sat \n",
}


def _file_of(name: str, content: bytes) -> SourceFile:
    return SourceFile(name, len(content), "sha256:" + hashlib.sha256(content).hexdigest())


def _miniature(texts: Mapping[str, str], url: str) -> Dataset:
    lines = {name.split(".")[1]: text.splitlines() for name, text in texts.items()}
    words = {split: [word for line in of for word in (*line.split(), "<eos>")] for split, of in lines.items()}
    characters = {
        split: [c for line in of for c in (*line.strip().replace(" ", "_"), "\n")]
        for split, of in lines.items()
    }
    expected = {
        form: Expected({split: len(of) for split, of in symbols.items()}, len(set(symbols["train"])))
        for form, symbols in (("char", characters), ("word", words))
    }
    files = tuple(_file_of(name, text.encode()) for name, text in texts.items())
    return replace(
        PTB,
        files=files,
        sources=tuple(Source(file, (f"{url}/{file.name}",)) for file in files),
        forms=tuple(Form(form.name, form.prepare, expected[form.name]) for form in PTB.forms),
    )


@pytest.fixture
def file_of() -> Callable[[str, bytes], SourceFile]:
    """Describes a file of given name and content."""
    return _file_of


@pytest.fixture
def small_ptb(mirror: Mirror) -> Dataset:
    """A data set prepared like Penn Treebank, its counts found the plain way, served by the mirror."""
    for name, text in TEXTS.items():
        mirror.answers[f"/{name}"] = text.encode()
    return _miniature(TEXTS, mirror.url)


@pytest.fixture
def copy_folder(tmp_path: Path) -> Path:
    """A local copy of the miniature's files."""
    folder = tmp_path / "copy"
    folder.mkdir()
    for name, text in TEXTS.items():
        (folder / name).write_bytes(text.encode())
    return folder


@pytest.fixture
def loosened() -> Callable[[Dataset], Dataset]:
    """A data set that takes files of any content, so that small made-up ones can stand for the real ones."""

    def loosen(dataset: Dataset) -> Dataset:
        def any_content(files: tuple[SourceFile, ...]) -> tuple[SourceFile, ...]:
            return tuple(replace(file, size=None, checksum="") for file in files)

        return replace(
            dataset,
            files=any_content(dataset.files),
            alternatives=tuple(map(any_content, dataset.alternatives)),
            forms=tuple(replace(form, expected=None) for form in dataset.forms),
        )

    return loosen
