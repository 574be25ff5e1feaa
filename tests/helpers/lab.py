"""Small experiments, run in this process or in processes of their own."""

import gc
import io
import json
import os
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from rich.console import Console

from rmem_cli.errors import RmemError
from rmem_cli.recipe import load_recipe
from rmem_cli.results.store import ResultStore
from rmem_cli.runs.identity import identity_of
from rmem_cli.runs.machine import Machine
from rmem_cli.runs.run import evaluate_run, train_run
from rmem_cli.runs.together import follow, together
from rmem_cli.training.loop import Training
from rmem_cli.training.progress import Progress

COPYING = """\
name: copying
title: Copying memory
paper: rum2019
task: {kind: copying_memory, length: 3, symbols: 2, alphabet: 3}
model: {core: {kind: gru, hidden_size: 8}}
optimizer: {kind: adam, lr: 0.01}
train:
  steps: 12
  batch_size: 4
  eval_every: 4
  log_every: 1
  validation: {metric: loss, examples: 16}
eval:
  - {name: test, split: test, examples: 24, metrics: [loss, accuracy]}
seeds: [1]
rows:
  - {id: gru, title: GRU}
  - {id: rum, title: RUM, model.core: {kind: rum, hidden_size: 8, lambda: 1, zoneout: 0.2}}
scales: {smoke: {train.steps: 2}}
"""
# All that a checkpoint has to hold: dropout, state carried through the text, a schedule and early stopping
# that remember the validations, averages of the learning curve that span checkpoints.
TEXT = """\
name: text
title: A text
paper: rum2019
task: {kind: language_model, dataset: ptb, form: char, segment_length: 6}
model:
  encoder: {kind: embedding, size: 4}
  core: {kind: rum, hidden_size: 8, layers: 2, dropout: 0.2, zoneout: 0.2, eta: 1.0}
optimizer: {kind: adam, lr: 0.2}
schedule: {kind: plateau, factor: 0.5, patience: 0}
train:
  steps: 400
  batch_size: 4
  eval_every: 5
  log_every: 2
  checkpoint_every: 7
  validation: {metric: bpc, batch_size: 3}
  loss: sum_over_time
  clip_norm: 1.0
  backprop: {kind: truncated, segment_length: 4}
  early_stopping: {patience: 2}
eval:
  - {name: best, split: test, batch_size: 1, checkpoint: best, metrics: [bpc, accuracy]}
  - {name: last, split: test, batch_size: 5, metrics: [loss]}
seeds: [1]
rows: [{id: rum, title: RUM}]
scales: {smoke: {train.steps: 2}}
"""


@pytest.fixture
def _no_git(monkeypatch, tmp_path):
    """Rows are compared with those of a moment before, and someone may commit or edit in between."""
    monkeypatch.setenv("PATH", str(tmp_path))


@pytest.fixture
def recipes(tmp_path):
    """The paths of the recipes, by name."""
    texts = {"copying": COPYING, "text": TEXT}
    for name, text in texts.items():
        (tmp_path / f"{name}.yaml").write_text(text)
    return {name: str(tmp_path / f"{name}.yaml") for name in texts}


@pytest.fixture
def make_spec(recipes):
    """Makes the run of a row, with fields changed as by --set."""

    def make(*sets, name="copying", row=None, seed=1):
        rows = None if row is None else [row]
        return load_recipe(recipes[name]).runs(rows=rows, seeds=[seed], overrides=sets)[0]

    return make


def _progress(total, done, noun="step"):
    return Progress(total, "test", Console(file=io.StringIO()), first_step=done, noun=noun)


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def _fork(rank):
    pid = os.fork()
    if pid == 0:
        gc.freeze()  # the parent's garbage: a group that it left would wait for threads that are not here
        os.environ["RANK"] = str(rank)
        code = 1
        try:
            follow("cpu", compile=False)
            code = 0
        except RmemError as error:
            code = error.exit_code
        finally:
            os._exit(code)
    return pid


@dataclass
class Lab:
    """Trains and evaluates runs in this process."""

    machine: Machine

    def train(self, spec, stop=lambda: False, *, repeat=False):
        return train_run(spec, self.machine, _progress, stop, repeat=repeat)

    def evaluate(self, spec, stop=lambda: False):
        return evaluate_run(spec, self.machine, _progress, stop)

    @contextmanager
    def together(self, count):
        """Meanwhile, runs are trained by so many processes, as torchrun starts them: forks of this one."""
        here = {"WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": _free_port()}
        alone = self.machine
        with pytest.MonkeyPatch.context() as patch:
            for name, value in here.items():
                patch.setenv(name, value)
            others = [_fork(rank) for rank in range(1, count)]
            patch.setenv("RANK", "0")
            try:
                with together(alone, 1) as self.machine:
                    yield
                    self.machine.world.told(None)
            finally:
                self.machine = alone
                self.ended = [os.waitstatus_to_exitcode(os.waitpid(other, 0)[1]) for other in others]

    def folder(self, spec):
        return identity_of(spec).folder

    def curve(self, spec):
        """The learning curve as (step, split, metric, value)."""
        lines = (self.folder(spec) / "metrics.csv").read_text().splitlines()[1:]
        cells = (line.split(",") for line in lines)
        return [(int(step), split, name, float(value)) for step, split, name, value in cells]

    def curves(self):
        """The learning curves among the results, byte for byte."""
        folder = Path(os.environ["RMEM_RESULTS"]) / "curves"
        return {path.name: path.read_bytes() for path in folder.iterdir()}

    def rows(self, experiment="copying"):
        return ResultStore(Path(os.environ["RMEM_RESULTS"])).read(experiment)


@pytest.fixture
def lab(_no_git):
    return Lab(Machine("cpu", 1))


@pytest.fixture
def same():
    """What of a result row does not depend on when and how fast it was computed."""
    varying = {"wall_seconds", "peak_memory_mb", "time"}

    def comparable(rows):
        columns = [name for name in type(rows[0]).__dataclass_fields__ if name not in varying]
        return [
            dict(zip(columns, (repr(getattr(row, name)) for name in columns), strict=True)) for row in rows
        ]

    return comparable


@pytest.fixture
def steps_done(monkeypatch):
    """The steps that are trained, as they are."""
    steps = []
    original = Training._step

    def step(training, *rest):
        steps.append(training.counters.step)
        original(training, *rest)

    monkeypatch.setattr(Training, "_step", step)
    return steps


# Importing torch takes longer than the small experiments: one process does it, each command is a fork of it.
_SERVER = """
import json, os, sys, time
import torch._dynamo  # every optimizer imports it
import rmem_cli.commands.train, rmem_cli.report.build, rmem_cli.report.formats, rmem_cli.runs.experiment
from rmem_cli.__main__ import main

def answer(value):
    sys.stdout.write(json.dumps(value) + "\\n")
    sys.stdout.flush()

def exit_code(pid, seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    os.kill(pid, 9)
    os.waitpid(pid, 0)

for line in sys.stdin:
    order = json.loads(line)
    if "wait" in order:
        answer(exit_code(order["wait"], order["seconds"]))
        continue
    pid = os.fork()
    if pid:
        answer(pid)
        continue
    os.environ.update(order["environment"])
    output = os.open(order["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    sys.argv = ["rmem", *order["arguments"]]
    main()
"""


class _Server:
    def __init__(self):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.process = subprocess.Popen([sys.executable, "-c", _SERVER], **pipes)

    def ask(self, **order):
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


class Command:
    """`rmem` with arguments, in a process of its own."""

    def __init__(self, server, arguments, output, environment, timeout):
        self.output = output
        self._server = server
        self._timeout = timeout
        self.pid = server.ask(arguments=arguments, output=str(output), environment=environment)

    def kill(self, number):
        os.kill(self.pid, number)

    def wait(self):
        """The exit code; minus the signal's number if one ended it."""
        code = self._server.ask(wait=self.pid, seconds=self._timeout)
        assert code is not None, f"it did not end: {self.text()}"
        return code

    def text(self):
        return self.output.read_text()


@pytest.fixture(scope="session")
def _server():
    server = _Server()
    yield server
    server.process.stdin.close()
    server.process.wait()


@pytest.fixture
def start_rmem(_server, _no_git, tmp_path, process_timeout):
    """Starts `rmem` in a process of its own."""
    started = []

    def start(*arguments, **environment):
        here = {
            name: value for name, value in os.environ.items() if name == "PATH" or name.startswith("RMEM_")
        }
        output = tmp_path / f"output-{len(started)}"
        started.append(Command(_server, arguments, output, here | environment, process_timeout))
        return started[-1]

    return start


@pytest.fixture
def wait_until(process_timeout):
    def wait(condition, command):
        end = time.monotonic() + process_timeout
        while not condition():
            assert time.monotonic() < end, command.text()
            time.sleep(0.001)

    return wait
