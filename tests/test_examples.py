"""What is in `examples/` runs, at a small size, and shows what it is for."""

import json
import re
import runpy
import shutil
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import pytest
import torch
import yaml

from rmem_cli.app import main
from rmem_cli.errors import UsageError
from rmem_cli.recipe import load_recipe

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


@pytest.fixture
def rmem(monkeypatch, tmp_path):
    """Runs `rmem` in an empty folder, and gives the rows of an experiment's results, if it has any."""
    monkeypatch.chdir(tmp_path)

    def rmem(command, experiment):
        monkeypatch.setattr(sys, "argv", ["rmem", *command.split()])
        with pytest.raises(SystemExit) as ended:
            main()
        assert not ended.value.code
        return pd.read_csv(tmp_path / "rmem-results" / f"{experiment}.csv")

    return rmem


@pytest.fixture
def notebook(monkeypatch):
    """Runs the cells of a notebook in their order, and gives the names that they leave."""
    monkeypatch.setattr(plt, "show", lambda: None)  # figures stay open to be looked at
    plt.switch_backend("Agg")

    def notebook(name, **changes):
        names = {}
        for cell in json.loads((EXAMPLES / name).read_text(encoding="utf-8"))["cells"]:
            if cell["cell_type"] == "code":
                exec("".join(cell["source"]), names)
                names |= changes  # as if the cell that gives them values had been edited
        return names

    yield notebook
    plt.close("all")


def test_the_smallest_recipe_runs(rmem):
    ran = rmem(f"train {EXAMPLES / 'smallest.yaml'} --set train.steps=2 --set train.batch_size=4", "smallest")
    assert list(ran["metric"]) == ["accuracy"]


def test_nothing_can_be_left_out_of_the_smallest_recipe(tmp_path):
    whole = yaml.safe_load((EXAMPLES / "smallest.yaml").read_text(encoding="utf-8"))
    for key in whole:
        less = {name: value for name, value in whole.items() if name != key}
        (tmp_path / "smallest.yaml").write_text(yaml.safe_dump(less))
        with pytest.raises(UsageError, match=f"{key}: is missing"):
            load_recipe(tmp_path / "smallest.yaml")


def test_a_sweep_trains_each_row_in_each_cell(rmem):
    ran = rmem(f"train {EXAMPLES / 'sweep.yaml'} --scale smoke", "sweep")
    cells = {(row, f"lr={rate},length=4") for row in ("lstm", "ur_lstm") for rate in (0.001, 0.01)}
    assert set(zip(ran["row"], ran["cell"], strict=True)) == cells


def test_a_core_of_ones_own_learns_to_recall(rmem, tmp_path):
    for suffix in ("py", "yaml"):
        shutil.copy(EXAMPLES / f"fast_weights.{suffix}", tmp_path)
    small = (
        "--set task.length=4 --set train.steps=120 --set train.batch_size=32 --set model.core.hidden_size=16"
    )
    command = f"train fast_weights.yaml --allow-module fast_weights --row fast_weights {small}"
    assert rmem(command, "fast_weights")["value"].item() > 0.9  # 0.55 by knowing which digits occurred


def test_a_core_of_ones_own_goes_on_from_its_state():
    cls = runpy.run_path(str(EXAMPLES / "fast_weights.py"))["FastWeights"]
    torch.manual_seed(1)
    core = cls(3, cls.Settings(kind="x:FastWeights", hidden_size=5))
    x = torch.randn(2, 7, 3)
    whole, after = core(x)
    first, state = core(x[:, :4])
    rest, state = core(torch.cat([x[:, 4:], torch.randn(2, 2, 3)], 1), state, torch.tensor([3, 3]))
    torch.testing.assert_close(torch.cat([first, rest[:, :3]], 1), whole)
    torch.testing.assert_close(state, after)


def test_a_notebook_draws_a_point_and_a_curve_for_each_seed(notebook, monkeypatch):
    monkeypatch.delenv("RMEM_RESULTS")
    monkeypatch.chdir(EXAMPLES)
    names = notebook("results.ipynb")
    assert set(names["runs"]["row"]) >= {"lstm", "rum_lambda1"}
    check_pictures(names)


def test_a_notebook_draws_the_results_of_a_sweep_of_ones_own(notebook, rmem):
    rmem(f"train {EXAMPLES / 'sweep.yaml'} --scale smoke", "sweep")
    check_pictures(notebook("results.ipynb", EXPERIMENT="sweep", SCALE="smoke", METRIC="mse"))


def check_pictures(names):
    """The values of all runs are in the first figure, and the ends of their curves in the second."""
    points, curves = (plt.figure(number).axes for number in plt.get_fignums())
    for cell, scattered, drawn in zip(names["cells"], points, curves, strict=True):
        runs = names["runs"][names["runs"]["cell"] == cell]
        values = [x for group in scattered.collections for x in group.get_offsets()[:, 0]]
        assert sorted(values) == sorted(runs["value"])
        assert [line.get_xdata()[-1] for line in drawn.lines] == list(runs["step"])


def test_a_notebook_is_kept_without_what_it_printed():
    for path in EXAMPLES.glob("*.ipynb"):
        code = [cell for cell in json.loads(path.read_text(encoding="utf-8"))["cells"] if "outputs" in cell]
        assert code
        assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)


def test_rum_is_a_layer_that_learns(run):
    first, last = run("rum_layer.py", "--steps", 60, "--length", 4, "--hidden", 16)
    assert re.fullmatch(r"step 50: loss \d\.\d{3}, right \d\.\d\d", first)
    assert last.startswith("step 60: ")
    assert float(last.split()[3].rstrip(",")) < 1.9  # of ln 8 = 2.08 nats without knowing anything


def test_two_cores_are_compared_on_a_task_of_ones_own(run):
    rum, ur_lstm = run("two_cores.py", "--steps", 2, "--delay", 2, "--seeds", 2)
    assert re.fullmatch(r"RUM, lambda 1: 0\.\d{3} ± 0\.\d{3} right \(2 seeds, 5,904 parameters\)", rum)
    assert re.fullmatch(r"UR-LSTM: 0\.\d{3} ± 0\.\d{3} right \(2 seeds, 5,882 parameters\)", ur_lstm)


def test_an_exported_model_reads_a_long_text_in_pieces(run, rmem, write_text):
    write_text()
    Path("texts.yaml").write_text(TEXT)
    for command in ("train texts.yaml", "export texts/rmt --out model"):
        rmem(command, "texts")
    Path("book.txt").write_text("_abcdefg" * 10)
    pieces = run("long_text.py", "model", "book.txt", "--piece", 27)
    assert [int(line.split()[0]) for line in pieces] == [24, 48, 72, 79]
    whole = run("long_text.py", "model", "book.txt", "--piece", 600)
    bits = [float(line.split()[3]) for line in pieces]
    mean = (24 * sum(bits[:3]) + 7 * bits[3]) / 79
    assert float(whole[0].split()[3]) == pytest.approx(mean, abs=2e-3)


def test_every_example_is_run_here():
    source = Path(__file__).read_text(encoding="utf-8")
    named = {path.name for path in EXAMPLES.iterdir() if path.suffix in {".py", ".yaml", ".ipynb"}}
    assert all(name in source for name in named)
    table = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in table for name in named)
