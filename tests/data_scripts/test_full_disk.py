"""A disk that is full: the system's limit on the size of a file stands for it."""

import os
import subprocess
import sys

import pytest

from rmem_cli.data.prepared import open_prepared
from rmem_cli.errors import DataError

SCRIPT = """
import resource, sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from rich.console import Console
from rmem_cli.data_scripts.dataset import Source, SourceFile
from rmem_cli.data_scripts.fetch import fetch
from rmem_cli.data_scripts.text8 import TEXT8, prepare_characters
from rmem_cli.errors import DataError

what, size, sha256 = sys.argv[1], int(sys.argv[2]), sys.argv[3]
file = SourceFile("text8", size, "sha256:" + sha256)
url, path = (what, None) if what.startswith("http") else ("", Path(what))
form = replace(TEXT8.forms[0], expected=None, prepare=partial(prepare_characters, held_out=1000))
small = replace(TEXT8, files=(file,), sources=(Source(file, (url,)),), forms=(form,))
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
try:
    fetch(small, Console(stderr=True), path=path)
except DataError as error:
    print(error)
else:
    sys.exit("the limit was not noticed")
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
fetch(small, Console(stderr=True), path=path)
"""
TEXT = b"the quick brown fox jumps over the lazy dog " * 10_000


@pytest.mark.parametrize("way", ["download", "import", "unpack"])
def test_a_full_disk_is_one_sentence_and_the_next_fetch_succeeds(
    mirror, tmp_path, file_of, way, archive, process_timeout
):
    mirror.answers["/text8"] = TEXT
    (tmp_path / "text8").write_bytes(TEXT)
    what = {"download": f"{mirror.url}/text8", "import": tmp_path / "text8", "unpack": archive}[way]
    checksum = file_of("text8", TEXT).checksum.removeprefix("sha256:")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(what), str(len(TEXT)), checksum],
        env=os.environ,
        timeout=process_timeout,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Cannot ")
    assert "File too large." in done.stdout
    assert done.stdout.count("\n") == 1
    assert len(open_prepared("text8", "char").tokens("train")) == len(TEXT) - 2000


@pytest.fixture
def archive(tmp_path):
    import zipfile

    path = tmp_path / "text8.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("text8", TEXT)
    return path


def test_nothing_is_left_of_what_did_not_fit(tmp_path):
    with pytest.raises(DataError, match="is not in"):
        open_prepared("text8", "char")
