"""Encoder, core and head as one model, and the batches it reads."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rmem_cli.models.batch import Batch
from rmem_cli.models.config import (
    AdaptiveSoftmaxSettings,
    EmbeddingSettings,
    LinearHeadSettings,
    OneHotSettings,
)
from rmem_cli.models.cores.recurrent_config import GRUSettings
from rmem_cli.models.cores.torch_rnn import GRU
from rmem_cli.models.encoders import Embedding, OneHot
from rmem_cli.models.heads import LinearHead
from rmem_cli.models.sequence import SequenceModel, build_model
from rmem_cli.recipe.schema import ModelSettings


def make_batch(batch=2, time=5, symbols=4):
    source = torch.Generator().manual_seed(1)
    inputs, targets = torch.randint(symbols, (2, batch, time), generator=source)
    return Batch(inputs, targets, torch.ones(batch, time), torch.ones(batch, dtype=torch.bool))


def test_without_other_words_symbols_are_one_hot_and_the_head_is_linear():
    model = build_model(ModelSettings(core=GRUSettings(hidden_size=6)), symbols=4, classes=3)
    assert isinstance(model.encoder, OneHot)
    assert model.core.input_size == 4
    assert model.head.linear.weight.shape == (3, 6)


def test_settings_choose_encoder_and_head():
    settings = ModelSettings(
        encoder=EmbeddingSettings(size=5, initializer="orthogonal"),
        core=GRUSettings(hidden_size=6),
        head=LinearHeadSettings(initializer="orthogonal", bias_initial=0.5),
    )
    model = build_model(settings, symbols=5, classes=6)
    table, kernel = model.encoder.table.weight, model.head.linear.weight
    torch.testing.assert_close(table @ table.T, torch.eye(5))
    torch.testing.assert_close(kernel @ kernel.T, torch.eye(6))
    assert (model.head.linear.bias == 0.5).all()


def test_a_step_sums_the_weighted_losses():
    model = build_model(ModelSettings(core=GRUSettings(hidden_size=6)), symbols=4, classes=4)
    batch = make_batch()
    weight = torch.tensor([[0.0, 1, 0.5, 0, 0], [1, 1, 1, 1, 0]])
    result = model.step(Batch(batch.inputs, batch.targets, weight, batch.fresh), None)
    y, _ = model.outputs(batch, None)
    losses = -torch.log_softmax(model.head.logits(y), -1).gather(2, batch.targets[..., None])[..., 0]
    torch.testing.assert_close(result.nll_sum, (losses * weight).sum())
    assert torch.equal(result.weights.sum(), weight.sum())
    assert result.auxiliary == {}


@pytest.mark.parametrize("head", [LinearHeadSettings(), AdaptiveSoftmaxSettings(tied=False, cutoffs=[2])])
@pytest.mark.parametrize("weighted", [[], [0], [4], [1, 3], [0, 1, 2, 3, 4]])
def test_steps_without_weight_in_front_and_behind_cost_no_logits_and_change_no_gradient(head, weighted):
    settings = ModelSettings(core=GRUSettings(hidden_size=6), head=head)
    model = build_model(settings, symbols=4, classes=4).double()
    batch = make_batch().to(torch.device("cpu"), torch.float64)
    weight = torch.zeros(2, 5, dtype=torch.float64)
    weight[1, weighted] = 0.5
    batch = Batch(batch.inputs, batch.targets, weight, batch.fresh)
    y, _ = model.outputs(batch, None)
    whole = torch.autograd.grad((model.head.nll(y, batch.targets) * weight).sum(), [*model.parameters()])
    asked = []
    original = model.head.nll
    model.head.nll = lambda y, targets: (asked.append(targets.shape[1]), original(y, targets))[1]
    found = torch.autograd.grad(model.step(batch, None).nll_sum, [*model.parameters()])
    torch.testing.assert_close(found, whole, rtol=0, atol=1e-14)
    assert asked == [weighted[-1] - weighted[0] + 1 if weighted else 1]


def test_parameters_are_counted_frozen_ones_included():
    model = SequenceModel(
        Embedding(4, EmbeddingSettings(size=3)),
        GRU(3, GRUSettings(hidden_size=6)),
        LinearHead(6, 4, LinearHeadSettings()),
    )
    expected = 4 * 3 + (3 * 6 * (3 + 6) + 6 * 6) + (6 * 4 + 4)
    assert model.parameter_count() == expected
    model.encoder.table.weight.requires_grad_(False)
    assert model.parameter_count() == expected


def test_one_hot_vectors_have_the_type_of_the_model():
    assert OneHot(3, OneHotSettings()).double()(torch.tensor([[2]])).tolist() == [[[0.0, 0.0, 1.0]]]
    assert OneHot(3, OneHotSettings()).double()(torch.tensor([[2]])).dtype == torch.float64
    assert not list(OneHot(3, OneHotSettings()).state_dict())


def test_logits_of_zero_give_a_uniform_loss():
    head = LinearHead(6, 5, LinearHeadSettings())
    torch.nn.init.zeros_(head.linear.weight)
    torch.nn.init.zeros_(head.linear.bias)
    nll = head.nll(torch.randn(2, 3, 6), torch.zeros(2, 3, dtype=torch.long))
    assert nll.shape == (2, 3)
    assert nll.flatten().tolist() == pytest.approx([math.log(5)] * 6)


@given(time=st.integers(1, 12), length=st.integers(1, 15), data=st.data())
def test_segments_are_the_batch_cut_along_time(time, length, data):
    lengths = torch.tensor(data.draw(st.lists(st.integers(0, time), min_size=2, max_size=2)))
    whole = make_batch(time=time)
    answer = whole.targets > 1
    fresh = torch.tensor([True, False])
    batch = Batch(whole.inputs, whole.targets, whole.weight, fresh, answer, lengths)
    parts = batch.split(length)
    for name in ("inputs", "targets", "weight", "answer"):
        pieces = [getattr(part, name) for part in parts]
        assert torch.equal(torch.cat(pieces, 1), getattr(batch, name))
    assert all(part.inputs.shape[1] == length for part in parts[:-1])
    assert [part.fresh.tolist() for part in parts] == [[True, False]] + [[False, False]] * (len(parts) - 1)
    counted = torch.stack([part.lengths for part in parts])
    assert torch.equal(counted.sum(0), lengths)
    assert (counted >= 0).all()


def test_every_row_keeps_its_part_on_whatever_way_to_the_model():
    part, reset = torch.tensor([4, 2]), torch.zeros(2, 6, dtype=torch.bool)
    reset[1, 3] = True
    batch = replace(make_batch(time=6), part=part, reset=reset)
    moved = batch.to(torch.device("cpu"), torch.float64)
    assert torch.equal(moved.part, part)
    for each in (moved, *batch.split(4), *batch.pieces(), batch.begun()):
        assert torch.equal(each.part, part)
    assert [rest.part.tolist() for _, _, rest in batch.rests()] == [[2]]
    assert batch.rows(torch.tensor([1])).part.tolist() == [2]
    assert torch.equal(batch.rows(slice(None)).inputs, batch.inputs)


def test_without_a_segment_length_a_batch_is_one_segment():
    batch = make_batch()
    assert batch.split(None) == [batch]
    assert batch.split(5) == [batch]
