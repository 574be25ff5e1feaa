"""`kill -9` at twenty random moments of a download and of a preparation.

One process that has everything imported forks a fetch, kills it after a random time and looks at what is
there, until twenty were killed before they were done; the last one is let be. It prints a line of JSON.
"""

import json
import random
import subprocess
import sys
import time

import pytest

MOMENTS = 20
MEGABYTES = 4
SCRIPT = """
import hashlib, json, os, random, signal, sys, time
from dataclasses import replace
from functools import partial
from pathlib import Path
from rich.console import Console
from rmem_cli.data.prepared import check_prepared, open_prepared
from rmem_cli.data_scripts.dataset import Source, SourceFile
from rmem_cli.data_scripts.fetch import fetch
from rmem_cli.data_scripts.text8 import TEXT8, prepare_characters
from rmem_cli.errors import DataError

import requests, urllib3  # so that no child has to

what, size, sha256, moments = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
file = SourceFile("text8", size, "sha256:" + sha256)
url, path = (what, None) if what.startswith("http") else ("", Path(what))
form = replace(TEXT8.forms[0], expected=None, prepare=partial(prepare_characters, held_out=1000))
small = replace(TEXT8, files=(file,), sources=(Source(file, (url,)),), forms=(form,))
console = Console(file=open(os.devnull, "w"))

def start():
    child = os.fork()
    if child == 0:
        fetch(small, console, path=path)
        os._exit(0)
    return child

def is_whole():
    try:
        check_prepared("text8", "char")
    except DataError as error:
        assert "is not in" in str(error), error
        return False
    return True

started = time.monotonic()
os.waitpid(start(), 0)
whole_run = time.monotonic() - started
assert is_whole()
data_hash = open_prepared("text8", "char").data_hash

home = Path(os.environ["RMEM_DATA"]) / "text8"
def remove():
    for path in (home / "char").iterdir():
        path.unlink()
    (home / "char").rmdir()

remove()
moment, killed, states = random.Random(1), 0, set()
while killed < moments:
    child = start()
    time.sleep(moment.uniform(0, whole_run))
    os.kill(child, signal.SIGKILL)
    killed += os.waitpid(child, 0)[1] == signal.SIGKILL
    states.add(tuple(sorted(path.name.split("-")[0] for path in home.rglob("*"))))
    if is_whole():
        assert open_prepared("text8", "char").data_hash == data_hash
        remove()
fetch(small, console, path=path)
print(json.dumps({
    "killed": killed,
    "states": len(states),
    "same": check_prepared("text8", "char").data_hash == data_hash,
    "left": sorted(path.name for path in home.iterdir()),
}))
"""


@pytest.fixture(scope="module")
def text():
    return bytes(random.Random(3).choices(b" abcdefghijklmnopqrstuvwxyz", k=MEGABYTES << 20))


def run(what, text, checksum, timeout):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, what, str(len(text)), checksum.removeprefix("sha256:"), str(MOMENTS)],
        timeout=timeout,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    outcome = json.loads(done.stdout)
    assert outcome["killed"] == MOMENTS
    assert outcome["states"] > 2, "they were all killed at the same point"
    assert outcome["same"]
    assert outcome["left"] == [".lock", "char"]


@pytest.mark.slow
def test_a_download_killed_at_twenty_random_moments_ends_complete(mirror, text, file_of, process_timeout):
    def slowly(handler):
        """The wanted range, a quarter of a megabyte every few milliseconds."""
        wanted = handler.headers.get("Range", "bytes=0-")
        start = int(wanted.removeprefix("bytes=").rstrip("-"))
        handler.send_response(206 if start else 200)
        if start:
            handler.send_header("Content-Range", f"bytes {start}-{len(text) - 1}/{len(text)}")
        handler.send_header("Content-Length", str(len(text) - start))
        handler.end_headers()
        try:
            for offset in range(start, len(text), 1 << 18):
                handler.wfile.write(text[offset : offset + (1 << 18)])
                time.sleep(0.01)
        except OSError:
            return  # the client was killed

    mirror.answers["/text8"] = slowly
    run(f"{mirror.url}/text8", text, file_of("text8", text).checksum, process_timeout)
    assert any(range_ for _, range_, _ in mirror.requests), "no download was continued"


def test_a_preparation_killed_at_twenty_random_moments_ends_complete(
    tmp_path, text, file_of, process_timeout
):
    (tmp_path / "text8").write_bytes(text)
    run(str(tmp_path / "text8"), text, file_of("text8", text).checksum, process_timeout)
