"""A training step asks nothing of its device: on one without values, whatever did would fail."""

from unittest.mock import Mock

import pytest
import torch
from small_cores import KINDS, small_core
from torch.fx.experimental import _config as meta_config

from rmem_cli.models.sequence import build_model
from rmem_cli.recipe import load_recipe
from rmem_cli.recipe.schema import ModelSettings
from rmem_cli.runs.opened import open_run
from rmem_cli.training.loop import Training
from rmem_cli.training.progress import Progress

META = torch.device("meta")
FORMS = ("full", "truncated, segment_length: 4", "sliding, depth: 1", "replay")
OPTIMIZERS = ("sgd", "rmsprop", "tf_rmsprop", "adagrad")  # Adam's fused kernels need a device with values
SETS = "train.steps=9", "train.log_every=100", "optimizer={kind: sgd, lr: 0.1}"


def steps_on_meta(spec, core=None):
    """Steps of a run whose weights and batches have no values, before a line of the curve."""
    run = open_run(spec)
    model = run.new_model()
    if core is not None:
        model = build_model(ModelSettings(core=core), run.task.symbols, run.task.classes)
    training = Training(spec.settings, 1, run.stages, model.to(META), Mock())
    training.step_seconds.append(0.0)
    for _ in range(3):
        training._step(Progress(9, "", None))
    assert len(training._unread) == training.counters.step == 3
    states = [share.state or {} for share in training.shares]
    assert all(value.device == META for state in states for value in state.values())


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", KINDS)
def test_no_core_reads_a_value_back(make_spec, kind, form):
    steps_on_meta(
        make_spec(*SETS, f"train.backprop={{kind: {form}}}"),
        small_core(kind, segment_length=4),
    )


@pytest.mark.parametrize(
    ("name", "row"), [("rum_recall", "rum_lambda1"), ("ur_adding", "ur_lstm"), ("rmt_copy", "rmt_6seg")]
)
def test_no_papers_model_reads_a_value_back_on_its_task(name, row):
    steps_on_meta(load_recipe(name).runs("smoke", [row], None, SETS)[0])


def test_no_text_with_a_carried_state_reads_a_value_back(make_spec, write_text):
    write_text()
    steps_on_meta(make_spec(*SETS, name="text"))


def test_shares_of_a_batch_read_no_value_back(make_spec, write_text):
    write_text()
    steps_on_meta(make_spec(*SETS, "train.accumulate=2", name="text"))


def test_adaptive_input_and_softmax_ask_how_many_symbols_a_cluster_has_and_nothing_else(
    make_spec, write_text
):
    write_text()
    clusters = "cutoffs: [2, 4], divisor: 2"
    spec = make_spec(
        *SETS,
        f"model.encoder={{kind: adaptive, size: 8, {clusters}}}",
        f"model.head={{kind: adaptive, tied: false, {clusters}}}",
        name="text",
    )
    with pytest.raises(NotImplementedError, match="nonzero"):
        steps_on_meta(spec)
    with meta_config.patch(meta_nonzero_assume_all_nonzero=True):
        steps_on_meta(spec)


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_no_optimizer_reads_a_value_back(make_spec, kind):
    steps_on_meta(
        make_spec("train.log_every=100", "train.clip_norm=1", f"optimizer={{kind: {kind}, lr: 0.1}}")
    )
