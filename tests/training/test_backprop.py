"""Gradients through time."""

import pytest
import torch

from rmem_cli.evaluation.walk import walk
from rmem_cli.models.batch import Batch
from rmem_cli.models.config import EmbeddingSettings, LinearHeadSettings, OneHotSettings
from rmem_cli.models.cores.recurrent_config import GRUSettings, LSTMSettings
from rmem_cli.models.cores.torch_rnn import GRU, LSTM
from rmem_cli.models.encoders import Embedding, OneHot
from rmem_cli.models.heads import LinearHead
from rmem_cli.models.sequence import SequenceModel
from rmem_cli.models.state import detach
from rmem_cli.modules.rum import RUM
from rmem_cli.training.backprop import Full, TrainingStep, Truncated, build_backprop
from rmem_cli.training.config import FullSettings, TruncatedSettings

AT = TrainingStep(seed=3, step=5)
SYMBOLS = 4


def make_model(core=None):
    torch.manual_seed(0)
    return SequenceModel(
        OneHot(SYMBOLS, OneHotSettings()),
        core or GRU(SYMBOLS, GRUSettings(hidden_size=6)),
        LinearHead(6, SYMBOLS, LinearHeadSettings()),
    ).double()


def make_batch(batch=3, time=12, fresh=True):
    source = torch.Generator().manual_seed(1)
    symbols = torch.randint(SYMBOLS, (2, batch, time), generator=source)
    weight = torch.rand(batch, time, generator=source, dtype=torch.float64)
    return Batch(symbols[0], symbols[1], weight, torch.full((batch,), fresh))


def gradients(form, model, batch, state=None, reduction="mean", at=AT):
    model.zero_grad()
    gradient = form.gradient(model, batch, state, reduction, at)
    return gradient, [parameter.grad.clone() for parameter in model.parameters()]


def assert_equal(found, expected):
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)


def test_full_over_segments_equals_full_over_one():
    model, batch = make_model(RUM(SYMBOLS, 6, lambda_=1)), make_batch()
    whole, expected = gradients(Full(FullSettings()), model, batch)
    for length in (1, 5, 12, 99):
        model.core.segment_length = length
        split, found = gradients(Full(FullSettings()), model, batch)
        assert_equal(found, expected)
        assert split.nll_sum == pytest.approx(whole.nll_sum, rel=1e-12)
        assert split.weight_sum == whole.weight_sum
        for name, value in whole.state.items():
            torch.testing.assert_close(split.state[name], value)


@pytest.mark.parametrize("segments", [1, 2, 3])
def test_truncated_equals_autograd_with_the_state_detached_between_pieces(segments):
    model, batch = make_model(LSTM(SYMBOLS, LSTMSettings(hidden_size=6))), make_batch()
    _, found = gradients(Truncated(TruncatedSettings(segment_length=2, segments=segments)), model, batch)

    model.zero_grad()
    state, loss, length = None, 0.0, 2 * segments
    for start in range(0, 12, length):
        part = slice(start, start + length)
        y, state = model.core(model.encoder(batch.inputs[:, part]), state)
        losses = -model.head.logits(y).log_softmax(-1).gather(2, batch.targets[:, part, None])[..., 0]
        loss = loss + (losses * batch.weight[:, part]).sum()
        state = detach(state)
    (loss / batch.weight.sum()).backward()
    assert_equal(found, [parameter.grad for parameter in model.parameters()])


def test_one_piece_as_long_as_the_batch_is_full():
    model, batch = make_model(), make_batch()
    assert_equal(
        gradients(Truncated(TruncatedSettings(segment_length=4, segments=3)), model, batch)[1],
        gradients(Full(FullSettings()), model, batch)[1],
    )
    differing = (
        gradients(Truncated(TruncatedSettings(segment_length=4, segments=2)), model, batch)[1][0]
        - gradients(Full(FullSettings()), model, batch)[1][0]
    )
    assert differing.abs().max() > 1e-6


@pytest.mark.parametrize("segments", [1, 2, 3, 4])
def test_the_gradient_reaches_exactly_as_many_segments_as_asked(segments):
    # The loss is on the last step only, and each symbol of the text has a vector of its own.
    torch.manual_seed(0)
    model = SequenceModel(
        Embedding(12, EmbeddingSettings(size=5)),
        GRU(5, GRUSettings(hidden_size=6)),
        LinearHead(6, 12, LinearHeadSettings()),
    ).double()
    weight = torch.zeros(1, 12, dtype=torch.float64)
    weight[0, -1] = 1
    batch = Batch(torch.arange(12)[None], torch.zeros(1, 12, dtype=torch.long), weight, torch.tensor([True]))
    gradients(Truncated(TruncatedSettings(segment_length=2, segments=segments)), model, batch)
    reached = model.encoder.table.weight.grad.abs().sum(1) > 0
    # Pieces are counted from the beginning, so the last one may be shorter.
    in_last_piece = (6 - 1) % segments + 1
    assert reached.nonzero()[:, 0].tolist() == list(range(12 - 2 * in_last_piece, 12))


def test_the_state_before_a_batch_is_used_but_gets_no_gradient():
    model = make_model()
    before = {"hidden": torch.ones(3, 1, 6, dtype=torch.float64, requires_grad=True)}
    with_state, _ = gradients(Full(FullSettings()), model, make_batch(fresh=False), detach(before))
    without, _ = gradients(Full(FullSettings()), model, make_batch(fresh=False), None)
    assert with_state.nll_sum != without.nll_sum
    assert before["hidden"].grad is None
    assert not any(value.requires_grad for value in with_state.state.values())


def test_rows_that_are_fresh_forget_the_state_and_the_others_keep_it():
    model = make_model()
    old = {"hidden": torch.ones(3, 1, 6, dtype=torch.float64)}
    batch = make_batch(fresh=False)
    mixed = Batch(batch.inputs, batch.targets, batch.weight, torch.tensor([True, False, False]))
    for length in (None, 5):
        model.core.segment_length = length
        fresh_state = list(walk(model, batch, None))[-1][1].state
        kept_state = list(walk(model, batch, old))[-1][1].state
        state = list(walk(model, mixed, old))[-1][1].state
        torch.testing.assert_close(state["hidden"][0], fresh_state["hidden"][0])
        torch.testing.assert_close(state["hidden"][1:], kept_state["hidden"][1:])


def test_sum_over_time_is_the_mean_over_rows_alone():
    model, batch = make_model(), make_batch()
    mean, of_mean = gradients(Full(FullSettings()), model, batch, reduction="mean")
    total, of_sum = gradients(Full(FullSettings()), model, batch, reduction="sum_over_time")
    ratio = float(batch.weight.sum()) / 3
    assert_equal(of_sum, [ratio * gradient for gradient in of_mean])
    assert total.loss == pytest.approx(ratio * mean.loss)
    assert (mean.loss, total.loss) == (
        pytest.approx(mean.nll_sum / mean.weight_sum),
        pytest.approx(total.nll_sum / 3),
    )
    assert mean.nll_sum == total.nll_sum


def test_pieces_together_make_the_loss_of_the_batch():
    model, batch = make_model(), make_batch()
    for reduction in ("mean", "sum_over_time"):
        whole, _ = gradients(Full(FullSettings()), model, batch, reduction=reduction)
        pieces, _ = gradients(
            Truncated(TruncatedSettings(segment_length=5, segments=1)), model, batch, reduction=reduction
        )
        assert pieces.loss == pytest.approx(whole.loss, rel=1e-12)


def test_what_is_dropped_depends_on_seed_step_and_segment_alone():
    model = make_model(RUM(SYMBOLS, 6, layers=2, dropout=0.4, zoneout=0.4)).train()
    batch = make_batch()

    def loss(at):
        torch.rand(torch.randint(100, ()))  # what was drawn before makes no difference
        return gradients(Truncated(TruncatedSettings(segment_length=4, segments=1)), model, batch, at=at)[
            0
        ].nll_sum

    first = loss(AT)
    assert loss(AT) == first
    assert loss(TrainingStep(seed=4, step=5)) != first
    assert loss(TrainingStep(seed=3, step=6)) != first


def test_segments_drop_different_units():
    model = make_model(RUM(SYMBOLS, 6, zoneout=0.5)).train()
    repeated = torch.ones(1, 8, dtype=torch.long)
    ones = torch.ones(1, 8, dtype=torch.float64)
    drawn = []
    model.core.register_forward_pre_hook(lambda *_: drawn.append(torch.random.initial_seed()))
    gradients(
        Truncated(TruncatedSettings(segment_length=2, segments=1)),
        model,
        Batch(repeated, repeated, ones, torch.tensor([True])),
    )
    assert len(set(drawn)) == 4


def test_recipes_name_the_forms():
    assert isinstance(build_backprop(FullSettings()), Full)
    truncated = build_backprop(TruncatedSettings(segment_length=7, segments=2))
    assert (truncated.segment_length, truncated.piece) == (7, 2)


def test_streaming_gives_the_outputs_of_one_pass_without_gradients():
    model, batch = make_model(), make_batch()
    whole, _ = model.outputs(batch, None)
    model.core.segment_length = 5
    parts = list(walk(model, batch, None))
    assert [part.inputs.shape[1] for part, _ in parts] == [5, 5, 2]
    outputs = torch.cat([result.outputs for _, result in parts], 1)
    torch.testing.assert_close(outputs, whole)
    assert not outputs.requires_grad
