import os
import signal
import subprocess
import sys
import time
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


RECIPE = """\
name: made_up
title: Copying memory
paper: rum2019
task: {kind: copying_memory, length: 3}
model: {core: {kind: gru, hidden_size: 4}}
optimizer: {kind: adam, lr: 0.01}
train: {steps: 1000000, batch_size: 4}
eval: [{name: test, split: test, examples: 8, metrics: [loss]}]
seeds: [1]
rows: [{id: gru, title: GRU}]
scales: {smoke: {train.steps: 2}}
"""


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


@pytest.mark.parametrize("interrupts", [1, 3])
@pytest.mark.parametrize("seconds", [0.1, 0.3, 0.6, 1.0, 1.5])
@pytest.mark.slow
def test_ctrl_c_during_imports_is_one_line_however_often(interrupts, seconds, tmp_path):
    copying = tmp_path / "made_up.yaml"
    copying.write_text(RECIPE)
    ready, started = os.pipe()
    code = f"import os; os.write({started}, b'x'); from rmem_cli.__main__ import main; main()"
    run = subprocess.Popen(
        [sys.executable, "-c", code, "train", str(copying)],
        pass_fds=[started],
        stderr=subprocess.PIPE,
        text=True,
    )
    os.read(ready, 1)
    time.sleep(seconds)
    for _ in range(interrupts):
        run.send_signal(signal.SIGINT)
    said = run.communicate()[1]
    assert run.returncode == 130, said
    assert "Traceback" not in said
    lines = [line for line in said.splitlines() if line.startswith("rmem: ")]
    assert len(lines) == 1


def test_help_leaves_the_folding_of_paragraphs_to_the_terminal():
    from rmem_cli.app import app

    commands = [
        each
        for group in (app, *(one.typer_instance for one in app.registered_groups))
        for each in group.registered_commands
    ]
    assert len(commands) > 15
    for each in commands:
        assert each.help
        assert "\n" not in each.help.replace("\n\n", "")
