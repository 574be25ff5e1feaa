"""Encoders of features, heads with a hidden layer, heads for numbers, and dropout around the core."""

import pytest
import torch
from pydantic import ValidationError

from rmem_cli.errors import UsageError
from rmem_cli.models.batch import Batch
from rmem_cli.models.config import (
    EmbeddingSettings,
    FeaturesSettings,
    LinearEncoderSettings,
    LinearHeadSettings,
    OneHotSettings,
    RegressionSettings,
)
from rmem_cli.models.cores.recurrent_config import GRUSettings
from rmem_cli.models.cores.torch_rnn import GRU
from rmem_cli.models.encoders import Embedding, Features, LinearEncoder, OneHot, encoded
from rmem_cli.models.heads import LinearHead, Regression
from rmem_cli.models.sequence import SequenceModel, build_model
from rmem_cli.recipe.schema import ModelSettings


def batch_of_numbers(batch=3, time=4, features=2):
    source = torch.Generator().manual_seed(1)
    inputs = torch.rand(batch, time, features, generator=source)
    targets = inputs.sum(-1)
    return Batch(inputs, targets, torch.ones(batch, time), torch.ones(batch, dtype=torch.bool))


def test_the_defaults_of_a_task_hold_where_the_settings_name_nothing():
    model = build_model(ModelSettings(core=GRUSettings(hidden_size=5)), 2, 1, "features", "regression")
    assert isinstance(model.encoder, Features)
    assert isinstance(model.head, Regression)
    assert model.core.input_size == 2


def test_settings_choose_a_linear_map_of_the_features():
    settings = ModelSettings(encoder=LinearEncoderSettings(size=7), core=GRUSettings(hidden_size=5))
    model = build_model(settings, 2, 1, "features", "regression")
    assert model.core.input_size == 7
    batch = batch_of_numbers()
    weight, bias = model.encoder.linear.weight, model.encoder.linear.bias
    torch.testing.assert_close(model.encoder(batch.inputs), batch.inputs @ weight.T + bias)


@pytest.mark.parametrize(
    ("encoder", "reads"),
    [
        (OneHot(5, OneHotSettings()), "symbols"),
        (Embedding(5, EmbeddingSettings(size=3)), "symbols"),
        (Features(2, FeaturesSettings()), "features"),
        (LinearEncoder(2, LinearEncoderSettings(size=3)), "features"),
    ],
)
@pytest.mark.parametrize("steps", [(4,), (4, 2)])
def test_inputs_of_the_other_sort_are_refused_with_what_the_task_must_declare(encoder, reads, steps):
    sorts = {"symbols": torch.zeros(3, 4, dtype=torch.int64), "features": torch.zeros(3, 4, 2)}
    encoded(encoder, sorts.pop(reads))
    (other,) = sorts
    declared = {"symbols": "one_hot", "features": "features"}[other]
    with pytest.raises(UsageError, match=f'the encoder reads {reads}; .* encoder = "{declared}"'):
        encoded(encoder, torch.zeros(3, *steps, dtype=sorts[other].dtype))


def test_the_loss_of_a_number_is_its_squared_error():
    model = SequenceModel(
        Features(2, FeaturesSettings()),
        GRU(2, GRUSettings(hidden_size=5)),
        Regression(5, 1, RegressionSettings()),
    )
    batch = batch_of_numbers()
    weight = torch.zeros(3, 4)
    weight[:, -1] = 0.5
    result = model.step(Batch(batch.inputs, batch.targets, weight, batch.fresh), None)
    y, _ = model.outputs(batch, None)
    said = (y[:, -1] @ model.head.linear.weight[0]) + model.head.linear.bias
    torch.testing.assert_close(result.nll_sum, 0.5 * (said - batch.targets[:, -1]).square().sum())
    assert result.weights.sum() == 1.5


def test_a_hidden_layer_of_the_head_is_rectified():
    settings = ModelSettings(core=GRUSettings(hidden_size=5), head=LinearHeadSettings(hidden_size=6))
    head = build_model(settings, symbols=3, classes=4).head
    y = torch.randn(2, 5)
    hidden = (y @ head.hidden.weight.T + head.hidden.bias).clamp(min=0)
    torch.testing.assert_close(head.logits(y), hidden @ head.linear.weight.T + head.linear.bias)
    assert LinearHead(5, 4, LinearHeadSettings()).hidden is None


def test_dropout_of_the_hidden_layer_acts_in_training_alone():
    torch.manual_seed(0)
    settings = LinearHeadSettings(hidden_size=1000, dropout=0.25)
    head = build_model(ModelSettings(core=GRUSettings(hidden_size=5), head=settings), 3, 4).head
    with torch.no_grad():
        head.hidden.weight.zero_()
        head.hidden.bias.fill_(1.0)
        head.linear.weight.fill_(1 / 1000)
        head.linear.bias.zero_()
    kept = head.logits(torch.randn(1, 5))[0, 0] * 0.75  # what is kept is scaled up by 1 / 0.75
    assert 0.7 < kept < 0.8
    torch.testing.assert_close(head.eval().logits(torch.randn(1, 5)), torch.ones(1, 4))


def test_dropout_of_a_hidden_layer_that_is_not_there_is_refused():
    with pytest.raises(ValidationError, match="dropout needs hidden_size"):
        LinearHeadSettings(dropout=0.5)


@pytest.mark.parametrize(("input_dropout", "output_dropout"), [(0.5, 0.0), (0.0, 0.5)])
def test_dropout_around_the_core_acts_in_training_alone(input_dropout, output_dropout):
    torch.manual_seed(0)
    model = SequenceModel(
        LinearEncoder(2, LinearEncoderSettings(size=5)),
        GRU(5, GRUSettings(hidden_size=50)),
        Regression(50, 1, RegressionSettings()),
        input_dropout=input_dropout,
        output_dropout=output_dropout,
    )
    batch = batch_of_numbers()
    plain, _ = model.core(model.encoder(batch.inputs))
    trained, again = model.outputs(batch, None)[0], model.outputs(batch, None)[0]
    assert not torch.equal(trained, again)
    dropped = (trained == 0).float().mean()
    assert 0.4 < dropped < 0.6 if output_dropout else dropped == 0
    assert torch.equal(model.eval().outputs(batch, None)[0], plain)
