"""The auxiliary loss on memory tokens."""

import pytest
import torch

from rmem_cli.errors import UsageError
from rmem_cli.models.batch import Batch
from rmem_cli.models.cores.recurrent_config import GRUSettings
from rmem_cli.models.cores.transformer_config import PreNormRMTSettings, RMTSettings
from rmem_cli.models.memory_loss import MemoryLoss
from rmem_cli.models.sequence import build_model
from rmem_cli.recipe.schema import MemoryLossSettings, ModelSettings
from rmem_cli.training.backprop import Full, Replay, Sliding, TrainingStep, Truncated
from rmem_cli.training.config import FullSettings, ReplaySettings, SlidingSettings, TruncatedSettings

SYMBOLS, SIZE, LENGTH = 5, 6, 4
RMT = RMTSettings(hidden_size=SIZE, heads=2, memory_tokens=2, segment_length=LENGTH)
PRENORM = PreNormRMTSettings(hidden_size=SIZE, heads=2, memory_tokens=2, segment_length=LENGTH)


def build(core=RMT, loss=None, encoder="one_hot", head="linear", classes=SYMBOLS):
    torch.manual_seed(0)
    settings = ModelSettings(core=core, memory_loss=loss)
    return build_model(settings, SYMBOLS, classes, encoder, head).double()


def make_batch(segments=3):
    source = torch.Generator().manual_seed(1)
    symbols = torch.randint(SYMBOLS, (2, 2, segments * LENGTH), generator=source)
    weight = torch.rand(2, segments * LENGTH, generator=source, dtype=torch.float64)
    return Batch(symbols[0], symbols[1], weight, torch.ones(2, dtype=torch.bool))


def gradients(form, model, batch):
    model.zero_grad()
    gradient = form.gradient(model, batch, None, "mean", TrainingStep(0, 0))
    return gradient, gradients_of(model)


def gradients_of(model):
    return [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in model.parameters()]


def by_hand(model, batch, weight, symbol, cut=None):
    """The gradient of the definition, by plain autograd; the memory is cut before segment number `cut`."""
    model.zero_grad()
    state, total = None, 0.0
    for number, segment in enumerate(batch.split(LENGTH)):
        if number == cut:
            state = {name: value.detach() for name, value in state.items()}
        y, state = model.outputs(segment, state)
        losses = -model.head.logits(y).log_softmax(-1).gather(2, segment.targets[..., None])[..., 0]
        of_memory = -model.head.logits(state["memory"]).log_softmax(-1)[..., symbol].mean(1)
        total = total + ((losses + weight * of_memory[:, None]) * segment.weight).sum()
    loss = total / batch.weight.sum()
    loss.backward()
    return float(loss.detach()), gradients_of(model)


@pytest.mark.parametrize("core", [RMT, PRENORM], ids=lambda core: core.kind)
@pytest.mark.parametrize(
    ("form", "cut"),
    [
        (Full(FullSettings()), None),
        (Replay(ReplaySettings()), None),
        (Truncated(TruncatedSettings(segment_length=LENGTH, segments=2)), 2),
        (Replay(ReplaySettings(segments=2)), 2),
    ],
    ids=["full", "replay", "truncated", "replay of pieces"],
)
def test_its_gradient_is_exact_in_every_form(core, form, cut):
    model, batch = build(core, MemoryLossSettings(weight=0.3, symbol=2)), make_batch()
    gradient, found = gradients(form, model, batch)
    loss, expected = by_hand(model, batch, 0.3, 2, cut)
    assert gradient.loss == pytest.approx(loss, rel=1e-12)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-10)


def test_sliding_counts_it_with_the_losses_that_count():
    model, batch = build(loss=MemoryLossSettings(weight=0.3, symbol=2)), make_batch(1)
    gradient, found = gradients(Sliding(SlidingSettings(depth=1)), model, batch)
    loss, expected = by_hand(model, batch, 0.3, 2)
    assert gradient.loss == pytest.approx(loss, rel=1e-12)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-10)


def test_it_stays_out_of_the_likelihood_of_the_text():
    with_it, without = build(loss=MemoryLossSettings(weight=1.0)), build()
    batch = make_batch(1)
    one, other = with_it.step(batch, None), without.step(batch, None)
    assert torch.equal(one.nll_sum, other.nll_sum)
    assert set(one.auxiliary) == {"memory"}
    assert not other.auxiliary


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"core": GRUSettings(hidden_size=SIZE)}, "GRU has none"),
        ({"core": RMT.model_copy(update={"memory_tokens": 0})}, "RMT has none"),
        ({"core": RMT.model_copy(update={"memory_kind": "associative"})}, "RMT has none"),
        ({"head": "regression", "classes": 1}, "predicts classes"),
        ({"loss": MemoryLossSettings(symbol=SYMBOLS)}, "symbols 0 to 4"),
    ],
    ids=["no transformer", "no memory", "no tokens that go on", "numbers", "no such symbol"],
)
def test_what_cannot_predict_a_symbol_is_refused(options, message):
    with pytest.raises(UsageError, match=message):
        build(**{"loss": MemoryLossSettings(), **options})


def test_recipes_name_it():
    model = build(loss=MemoryLossSettings(weight=0.01, symbol=3))
    assert model.memory_loss == MemoryLoss(0.01, 3)
