"""What only a GPU can show; `make check-gpu` runs it, and everywhere else it is skipped."""

from itertools import chain, repeat

import pytest
import torch

from rmem_cli.errors import InterruptedRunError
from rmem_cli.recipe import load_recipe
from rmem_cli.runs.machine import Machine
from rmem_cli.runs.opened import open_run
from rmem_cli.training.loop import Training

pytestmark = pytest.mark.cuda
RUNS = [
    ("rum_recall", "rum_lambda1"),
    ("ur_adding", "ur_lstm"),
    ("rmt_copy", "rmt_6seg"),
    ("rmt_copy", "txl_6seg"),
]
FORMS = ("full", "truncated, segment_length: 4", "sliding, depth: 1", "replay")
SETS = ("train.steps=6", "train.log_every=2", "train.eval_every=3")


@pytest.fixture
def gpu(lab):
    lab.machine = Machine("cuda:0", 1)
    return lab


def spec_of(name, row, *sets):
    return load_recipe(name).runs("smoke", [row], None, [*SETS, *sets])[0]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("name", "row"), RUNS)
def test_no_step_after_the_first_waits_for_the_gpu(gpu, monkeypatch, name, row, form):
    gradient = Training._gradient

    def watched(training, *given):
        torch.cuda.set_sync_debug_mode("error" if training.counters.step else "default")
        try:
            return gradient(training, *given)
        finally:
            torch.cuda.set_sync_debug_mode("default")

    monkeypatch.setattr(Training, "_gradient", watched)
    assert gpu.train(spec_of(name, row, f"train.backprop={{kind: {form}}}")).status == "ok"


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("name", "row"), RUNS)
def test_a_gpu_finds_the_loss_and_gradient_of_the_cpu(name, row, form):
    sets = (f"train.backprop={{kind: {form}}}", "train.dtype=float64")
    run = open_run(spec_of(name, row, *sets, *(["model.core.dropout=0"] if name == "rmt_copy" else [])))
    found = []
    for device in ("cpu", "cuda:0"):
        training = Training(run.settings, 1, run.stages, run.seeded_model(torch.device(device)), None)
        batch = run.task.training_batch(0, run.settings.train.batch_size, 1).of_type(torch.float64)
        gradients = training._gradient(batch, 0)
        grads = [each.grad.cpu() for each in training.model.parameters() if each.grad is not None]
        loss = sum(gradient.loss for gradient in gradients)
        found.append((loss, torch.cat([each.flatten() for each in grads])))
    (loss, grads), (near, others) = found
    assert near == pytest.approx(loss, rel=1e-9)
    torch.testing.assert_close(grads, others, rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize("precision", ["float32", "bf16", "tf32"])
def test_each_precision_trains_to_the_end(gpu, precision):
    for name, row in RUNS:
        assert gpu.train(spec_of(name, row, f"train.precision={precision}")).status == "ok"


def test_a_run_that_was_stopped_on_a_gpu_goes_on_to_the_same_curve(gpu, monkeypatch, tmp_path):
    spec = spec_of(*RUNS[0])
    gpu.train(spec)
    whole = gpu.curve(spec)
    monkeypatch.setenv("RMEM_RUNS", str(tmp_path / "again"))
    with pytest.raises(InterruptedRunError):
        gpu.train(spec, stop=chain(repeat(False, 3), repeat(True)).__next__)
    gpu.train(spec)
    assert gpu.curve(spec) == whole
