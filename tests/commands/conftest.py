"""The whole application, run in this process."""

import sys
from dataclasses import dataclass

import pytest

from rmem_cli.app import main

RECIPE = """\
name: small
title: Copying memory
paper: rum2019
task: {kind: copying_memory, length: 3, symbols: 2, alphabet: 3}
model: {core: {kind: gru, hidden_size: 4}}
optimizer: {kind: adam, lr: 0.01}
train: {steps: 4, batch_size: 4, eval_every: 2, validation: {metric: loss, examples: 8}}
eval: [{name: test, split: test, examples: 8, metrics: [loss, accuracy]}]
seeds: [1]
rows: [{id: gru, title: GRU}, {id: lstm, title: LSTM, model.core.kind: lstm}]
scales: {smoke: {train.steps: 2, rows: [gru]}}
"""


@dataclass(frozen=True)
class Ended:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def message(self):
        """What stderr says beside the progress of runs."""
        progress = ("runs to do: ", "small ", "Runs changed by --set")
        return "\n".join(line for line in self.err.splitlines() if not line.startswith(progress))


@pytest.fixture
def rmem(monkeypatch, capfd):
    """Runs `rmem` with arguments, as its script does."""

    def run(*arguments):
        capfd.readouterr()
        monkeypatch.setattr(sys, "argv", ["rmem", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        return Ended(ended.value.code or 0, *capfd.readouterr())

    return run


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    """The path of a small recipe in the working folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.yaml").write_text(RECIPE)
    return tmp_path / "small.yaml"
