"""Learning curves for TensorBoard, read back by its own reader."""

import sys
from dataclasses import replace
from itertools import chain, repeat

import pytest

from rmem_cli.errors import InterruptedRunError, UsageError


def events(folder):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    read = accumulator.EventAccumulator(str(folder / "tensorboard"))
    read.Reload()
    return {name: [(each.step, each.value) for each in read.Scalars(name)] for name in read.Tags()["scalars"]}


def test_events_are_the_curve_also_of_a_run_that_was_stopped(lab, make_spec):
    pytest.importorskip("tensorboard")
    lab.machine = replace(lab.machine, tensorboard=True)
    spec = make_spec("train.checkpoint_every=4", row="gru")
    with pytest.raises(InterruptedRunError):
        lab.train(spec, stop=chain(repeat(False, 6), repeat(True)).__next__)
    lab.train(spec)
    expected = {}
    for step, split, name, value in lab.curve(spec):
        expected.setdefault(f"{split}/{name}", []).append((step, pytest.approx(value)))
    assert events(lab.folder(spec)) == expected


def test_without_tensorboard_the_run_is_refused_before_it_starts(lab, make_spec, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    lab.machine = replace(lab.machine, tensorboard=True)
    with pytest.raises(UsageError, match="needs TensorBoard, which is not installed"):
        lab.train(make_spec(row="gru"))


def test_nothing_is_kept_for_it_unless_asked(lab, make_spec):
    spec = make_spec("train.steps=2", row="gru")
    lab.train(spec)
    assert not (lab.folder(spec) / "tensorboard").exists()
