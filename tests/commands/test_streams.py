"""Wherever the streams of a command lead, it ends as it should: in processes of their own."""

import contextlib
import os
import signal
import subprocess
import sys

import pytest

from rmem_cli.streams import _guarded

RECIPE = """\
name: small
title: Text → text
paper: rum2019
task: {kind: language_model, dataset: ptb, form: char, segment_length: 5}
model: {core: {kind: gru, hidden_size: 4}}
optimizer: {kind: adam, lr: 0.01}
train: {steps: 4, batch_size: 4}
eval: [{name: test, split: test, metrics: [loss, bpc]}]
seeds: [1]
rows: [{id: gru, title: "GRU → ↑"}]
scales: {smoke: {train.steps: 2}}
"""
# Each subcommand, with what makes it print; those that load torch take seconds.
QUICK = [
    "--help",
    "--version",
    "list",
    "show small.yaml",
    "show small.yaml --json",
    "validate small.yaml",
    "report small.yaml",
    "report small.yaml --grid --format json",
    "published rum2017",
    "fetch --list",
    "fetch --list --json",
]
SLOW = [
    "bench --list",
    "doctor",
    "train small.yaml --rerun all",
    "eval small.yaml",
    "sample small.yaml --tokens 5",
]
COMMANDS = [*QUICK, *SLOW]
CLOSED = {"stdout": (1,), "stderr": (2,), "both": (1, 2), "all": (0, 1, 2)}


@pytest.fixture(scope="module")
def home(tmp_path_factory, write_text, process_timeout):
    """A folder where a small language model has been trained, and the environment of its commands."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "small.yaml").write_text(RECIPE, encoding="utf-8")
    environment = {
        f"RMEM_{name}": str(folder / name.lower()) for name in ("DATA", "RUNS", "RESULTS", "CACHE")
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        write_text()
    environment = {**os.environ, **environment}
    subprocess.run(
        [sys.executable, "-m", "rmem_cli", "train", "small.yaml"],
        cwd=folder, env=environment, check=True, capture_output=True, timeout=process_timeout,
    )  # fmt: skip
    return folder, environment


@pytest.fixture
def ended(home, process_timeout):
    """Runs a command to its end."""
    folder, environment = home

    def run(command, before=None, encoding=None, **streams):
        return subprocess.run(
            [sys.executable, "-m", "rmem_cli", *command.split()],
            cwd=folder,
            env=environment | ({"PYTHONIOENCODING": encoding} if encoding else {}),
            preexec_fn=before,
            timeout=process_timeout,
            **({"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | streams),
        )

    return run


@contextlib.contextmanager
def without_reader():
    """The writing end of a pipe whose reader is gone, as behind `| head -1`."""
    reader, writer = os.pipe()
    os.close(reader)
    yield writer
    os.close(writer)


@pytest.mark.parametrize(
    ("command", "closed"),
    [
        (command, closed)
        for command in COMMANDS
        for closed in CLOSED
        if closed == "all" or command in ("--help", "report small.yaml", "fetch --list")
    ],
)
@pytest.mark.slow
def test_a_closed_stream_swallows_what_it_is_given(ended, command, closed):
    done = ended(command, before=lambda: [os.close(descriptor) for descriptor in CLOSED[closed]])
    assert done.returncode == 0
    assert b"Traceback" not in done.stdout + done.stderr
    assert b"Errno" not in done.stdout + done.stderr


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.slow
def test_output_that_nobody_reads_any_more_ends_a_command_with_0_and_no_message(ended, command):
    with without_reader() as writer:
        done = ended(command, stdout=writer)
    assert done.returncode == 0
    assert all(word not in done.stderr for word in (b"Traceback", b"rmem: ", b"Broken pipe", b"Exception"))


@pytest.mark.parametrize(
    "command",
    ["validate small.yaml", "train small.yaml --rerun all --jobs 2"],
)
@pytest.mark.slow
def test_a_command_goes_on_whose_progress_nobody_reads(ended, command):
    expected = ended(command)
    with without_reader() as writer:
        done = ended(command, stderr=writer)
    assert (done.returncode, done.stdout.count(b"\n")) == (0, expected.stdout.count(b"\n"))


@pytest.mark.parametrize("command", [*COMMANDS, "train small.yaml --rerun all --dry-run"])
@pytest.mark.slow
def test_what_an_encoding_lacks_is_no_error_in_any_command(ended, command):
    done = ended(command, encoding="ascii")
    assert done.returncode == 0
    assert b"Traceback" not in done.stderr
    assert all(byte < 128 for byte in done.stdout + done.stderr)


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize(
    "module", ["typer", "yaml", "pydantic", "torch", "torch.autograd", "rmem_cli.runs.run"]
)
def test_ctrl_c_while_modules_are_imported_is_one_line(home, process_timeout, module, times):
    folder, environment = home
    program = f"""
import os, signal, sys
from rmem_cli.__main__ import main

class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            for _ in range({times}):
                os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupting())
sys.argv = ["rmem", "train", "small.yaml"]
main()
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=folder,
        env=environment,
        capture_output=True,
        timeout=process_timeout,
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"rmem: interrupted\n")


@pytest.mark.parametrize(("jobs", "times"), [("1", 1), ("1", 2), ("2", 2)])
@pytest.mark.slow
def test_ctrl_c_in_training_is_one_line_however_often_it_comes(home, process_timeout, jobs, times):
    folder, environment = home
    command = ["train", "small.yaml", "--set", "train.steps=20000", "--set", "seeds=[1,2]", "--jobs", jobs]
    process = subprocess.Popen(
        [sys.executable, "-m", "rmem_cli", *command],
        cwd=folder, env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    assert any(b"step " in line for line in process.stderr)
    for _ in range(times):
        os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=process_timeout)
    told = [line for line in errors.splitlines() if not line.startswith(b"small ")]
    assert (process.returncode, len(told)) == (130, 1)
    assert told[0].startswith(b"rmem: ")


def test_a_stream_leads_nowhere_after_its_first_error():
    errors = []
    with without_reader() as writer, os.fdopen(os.dup(writer), "w") as pipe:
        stream = _guarded(pipe, errors.append)
        for _ in range(3):
            stream.write("lost\n")
            stream.flush()
    assert [type(error) for error in errors] == [BrokenPipeError]
