"""Lower precision, and operations whose bits vary."""

import pytest
import torch

from rmem_cli.errors import UsageError
from rmem_cli.recipe import load_recipe
from rmem_cli.runs.identity import identity_of
from rmem_cli.runs.machine import Machine
from rmem_cli.runs.opened import open_run
from rmem_cli.training.backprop import TrainingStep, build_backprop

FORMS = ("full", "truncated, segment_length: 4", "sliding, depth: 1", "replay")


def test_the_default_moves_no_hash_and_another_precision_is_another_run(make_spec):
    plain, named, lower = make_spec(), make_spec("train.precision=float32"), make_spec("train.precision=bf16")
    assert identity_of(plain).train_hash == identity_of(named).train_hash != identity_of(lower).train_hash
    assert identity_of(plain).folder != identity_of(lower).folder


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("name", "row"), [("rum_recall", "rum_lambda1"), ("ur_adding", "ur_lstm"), ("rmt_copy", "rmt_6seg")]
)
def test_bf16_is_near_float32_with_states_and_gradients_of_float32(name, row, form):
    sets = (
        "model.core.dropout=0" if name == "rmt_copy" else "train.steps=3",
        f"train.backprop={{kind: {form}}}",
    )
    run = open_run(load_recipe(name).runs("smoke", [row], None, sets)[0])
    batch = run.task.training_batch(0, 4, 1)
    found = {}
    for lower in (None, torch.bfloat16):
        model = run.seeded_model(torch.device("cpu"))
        gradient = build_backprop(run.settings.train.backprop).gradient(
            model, batch, None, "mean", TrainingStep(1, 0), lower=lower
        )
        assert all(value.dtype != torch.bfloat16 for value in gradient.state.values())
        grads = [each.grad for each in model.parameters() if each.grad is not None]
        assert all(each.dtype == torch.float32 for each in grads)
        found[lower] = gradient.loss, torch.cat([each.flatten() for each in grads])
    (loss, grads), (near, others) = found.values()
    assert near != loss
    assert near == pytest.approx(loss, rel=0.02)
    assert torch.cosine_similarity(grads, others, dim=0) > 0.99


@pytest.mark.parametrize("row", ["gru", "rum"])
def test_a_run_in_bf16_comes_to_its_end_on_a_curve_of_its_own(lab, make_spec, row):
    single, lower = make_spec(row=row), make_spec("train.precision=bf16", row=row)
    assert [lab.train(spec).status for spec in (single, lower)] == ["ok", "ok"]
    assert lab.curve(lower) != lab.curve(single)


def test_a_run_in_bf16_names_the_form_of_attention_that_has_it(lab, make_spec):
    core = "model.core={kind: transformer_xl, hidden_size: 8, heads: 2, layers: 1, segment_length: 4}"
    assert lab.train(spec := make_spec("train.precision=bf16", core)).status == "ok"
    assert {row.op_paths for row in lab.rows(spec.experiment)} == {"attention=fast"}


def test_a_run_in_bf16_reads_its_answers_out_by_attention(lab, make_spec):
    spec = make_spec("train.precision=bf16", "model.readout={kind: attention}", row="gru")
    assert lab.train(spec).status == "ok"


def test_tf32_is_refused_where_there_is_none_and_lower_precision_of_double(lab, make_spec):
    with pytest.raises(UsageError, match="tf32, which NVIDIA's GPUs have, and --device is cpu"):
        lab.train(make_spec("train.precision=tf32"))
    with pytest.raises(UsageError, match="precision bf16 is of numbers of dtype float32"):
        make_spec("train.precision=bf16", "train.dtype=float64")


@pytest.mark.parametrize("mode", ["off", "warn", "error"])
def test_operations_whose_bits_vary_are_an_error_where_asked(lab, make_spec, mode):
    lab.machine = Machine("cpu", 1, deterministic=mode)
    try:
        lab.train(make_spec("train.steps=1"))
        assert torch.are_deterministic_algorithms_enabled() == (mode == "error")
    finally:
        torch.use_deterministic_algorithms(mode=False)
