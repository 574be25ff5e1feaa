"""The programs in `examples/` run, at a small size, and print what they are for."""

import re
import runpy
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
TEXT = """\
name: texts
title: A made-up text
paper: null
task: {kind: language_model, dataset: ptb, form: char, segment_length: 12}
model: {core: {kind: rmt, hidden_size: 8, layers: 1, heads: 2, memory_tokens: 2, segment_length: 6}}
optimizer: {kind: adam, lr: 0.03}
train: {steps: 30, batch_size: 4}
eval: [{name: test, split: test, batch_size: 1, metrics: [bpc]}]
seeds: [1]
rows: [{id: rmt, title: RMT}]
"""


@pytest.fixture
def run(monkeypatch, capfd):
    """Runs an example in this process, and gives the lines that it prints."""

    def run(name, *arguments):
        capfd.readouterr()
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        return capfd.readouterr().out.splitlines()

    return run


def test_rum_is_a_layer_that_learns(run):
    first, last = run("rum_layer.py", "--steps", 60, "--length", 4, "--hidden", 16)
    assert re.fullmatch(r"step 50: loss \d\.\d{3}, right \d\.\d\d", first)
    assert last.startswith("step 60: ")
    assert float(last.split()[3].rstrip(",")) < 1.9  # of ln 8 = 2.08 nats without knowing anything


def test_two_cores_are_compared_on_a_task_of_ones_own(run):
    rum, ur_lstm = run("two_cores.py", "--steps", 2, "--delay", 2, "--seeds", 2)
    assert re.fullmatch(r"RUM, lambda 1: 0\.\d{3} ± 0\.\d{3} right \(2 seeds, 5,904 parameters\)", rum)
    assert re.fullmatch(r"UR-LSTM: 0\.\d{3} ± 0\.\d{3} right \(2 seeds, 5,882 parameters\)", ur_lstm)


def test_an_exported_model_reads_a_long_text_in_pieces(run, tmp_path, monkeypatch, write_text):
    from rmem_cli.app import main

    monkeypatch.chdir(tmp_path)
    write_text()
    Path("texts.yaml").write_text(TEXT)
    for command in ("train texts.yaml", "export texts/rmt --out model"):
        monkeypatch.setattr(sys, "argv", ["rmem", *command.split()])
        with pytest.raises(SystemExit) as ended:
            main()
        assert not ended.value.code
    Path("book.txt").write_text("_abcdefg" * 10)
    pieces = run("long_text.py", "model", "book.txt", "--piece", 27)
    assert [int(line.split()[0]) for line in pieces] == [24, 48, 72, 79]
    whole = run("long_text.py", "model", "book.txt", "--piece", 600)
    bits = [float(line.split()[3]) for line in pieces]
    mean = (24 * sum(bits[:3]) + 7 * bits[3]) / 79
    assert float(whole[0].split()[3]) == pytest.approx(mean, abs=2e-3)


def test_every_example_is_run_here():
    source = Path(__file__).read_text(encoding="utf-8")
    assert all(f'run("{path.name}"' in source for path in EXAMPLES.glob("*.py"))
