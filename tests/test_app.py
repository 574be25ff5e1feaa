import os
import subprocess
import sys
from pathlib import Path

import pytest

_RUN = """
import os, sys
from rmem_cli.app import main
sys.argv = ["rmem", "--version"]
try:
    main()
except SystemExit:
    pass
print(os.environ.get("GOMP_SPINCOUNT"), "torch" in sys.modules)
"""


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "2000"),
        ({"GOMP_SPINCOUNT": "7"}, "7"),
        ({"OMP_WAIT_POLICY": "active"}, "None"),
    ],
    ids=["by default", "as the user says", "by the policy that the user chose"],
)
def test_how_long_threads_spin_is_settled_before_torch_is_loaded(given, expected):
    inherited = {name: value for name, value in os.environ.items() if "OMP_" not in name}
    command = [sys.executable, "-c", _RUN]
    run = subprocess.run(command, env=inherited | given, capture_output=True, text=True, check=True)
    assert run.stdout.splitlines()[-1] == f"{expected} False"


def rmem(*arguments, **options):
    return subprocess.run([sys.executable, "-m", "rmem_cli", *arguments], **options)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a file that is always full is needed")
@pytest.mark.parametrize("command", [["list"], ["--help"], ["bench", "--list"]], ids=" ".join)
def test_what_cannot_be_printed_is_one_sentence(command):
    with Path("/dev/full").open("w") as full:
        ended = rmem(*command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert (ended.returncode, ended.stderr) == (
        2,
        "rmem: what is printed cannot be written: No space left on device\n",
    )


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_what_an_encoding_lacks_is_printed_as_a_question_mark(encoding):
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    Path(environment["RMEM_RESULTS"]).mkdir()
    ended = rmem("report", "quickstart", env=environment, capture_output=True, check=True)
    assert b"?" in ended.stdout
    assert ended.stderr == b""
