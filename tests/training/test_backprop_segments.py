"""Sliding and replayed gradients are those of what they claim."""

from contextlib import nullcontext
from dataclasses import replace
from typing import get_args

import pytest
import torch

from rmem_cli.errors import UsageError
from rmem_cli.evaluation.walk import walk
from rmem_cli.models.batch import Batch
from rmem_cli.models.config import EmbeddingSettings, LinearHeadSettings
from rmem_cli.models.cores.gated_lstm import GatedLSTM
from rmem_cli.models.cores.position_encodings import Extent
from rmem_cli.models.cores.prenorm_rmt import PreNormRMT
from rmem_cli.models.cores.recurrent_config import GatedLSTMSettings, GRUSettings
from rmem_cli.models.cores.rmt import RMT
from rmem_cli.models.cores.torch_rnn import GRU
from rmem_cli.models.cores.transformer_config import PositionEncoding, PreNormRMTSettings, RMTSettings
from rmem_cli.models.encoders import Embedding
from rmem_cli.models.heads import LinearHead
from rmem_cli.models.sequence import SequenceModel
from rmem_cli.models.state import MEMORY, detach
from rmem_cli.modules.rum import RUM
from rmem_cli.seeding import seed_dropout
from rmem_cli.training.backprop import Full, Replay, Sliding, TrainingStep, Truncated, build_backprop
from rmem_cli.training.config import FullSettings, ReplaySettings, SlidingSettings, TruncatedSettings

AT = TrainingStep(seed=3, step=5)
SYMBOLS, SIZE, LENGTH = 5, 6, 4
CORES = {
    "rmt": lambda dropout: RMT(
        SIZE,
        RMTSettings(
            hidden_size=SIZE,
            memory_tokens=2,
            layers=2,
            heads=2,
            cache_length=6,
            dropout=dropout,
            segment_length=LENGTH,
        ),
    ),
    "associative_rmt": lambda dropout: RMT(
        SIZE,
        RMTSettings(
            hidden_size=SIZE,
            memory_tokens=2,
            layers=2,
            heads=2,
            cache_length=3,
            dropout=dropout,
            segment_length=LENGTH,
            memory_kind="associative",
            associative_size=3,
        ),
    ),
    "prenorm_rmt": lambda dropout: PreNormRMT(
        SIZE,
        PreNormRMTSettings(
            hidden_size=SIZE,
            memory_tokens=2,
            layers=2,
            heads=2,
            head_size=4,
            cache_length=3,
            dropout=dropout,
            attention_dropout=dropout,
            segment_length=LENGTH,
            read_first_memory=False,
        ),
    ),
    "rum": lambda dropout: RUM(SIZE, SIZE, layers=2, dropout=dropout, lambda_=1),
    "gated_lstm": lambda dropout: GatedLSTM(
        SIZE, GatedLSTMSettings(hidden_size=SIZE, layers=2, dropout=dropout)
    ),
    "gru": lambda dropout: GRU(SIZE, GRUSettings(hidden_size=SIZE, layers=2, dropout=dropout)),
}
EVERY_CORE = pytest.mark.parametrize("name", CORES)
DROPOUTS = pytest.mark.parametrize("dropout", [0.0, 0.3])


def make_model(name, dropout=0.0):
    torch.manual_seed(0)
    core = CORES[name](dropout)
    core.segment_length = LENGTH
    model = SequenceModel(
        Embedding(SYMBOLS, EmbeddingSettings(size=SIZE)),
        core,
        LinearHead(SIZE, SYMBOLS, LinearHeadSettings()),
    ).double()
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.4)
    return model


def make_batch(segments=5, fresh=True, seed=1, rows=3):
    source = torch.Generator().manual_seed(seed)
    time = segments * LENGTH
    symbols = torch.randint(SYMBOLS, (2, rows, time), generator=source)
    weight = torch.rand(rows, time, generator=source, dtype=torch.float64)
    return Batch(symbols[0], symbols[1], weight, torch.full((rows,), fresh))


def gradients(form, model, batch, state=None, reduction="mean"):
    model.zero_grad()
    gradient = form.gradient(model, batch, state, reduction, AT)
    found = [
        torch.zeros_like(each) if each.grad is None else each.grad.clone() for each in model.parameters()
    ]
    return gradient, found


def assert_equal(found, expected):
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-9)


def state_before(model):
    model.eval()
    *_, (_, result) = walk(model, make_batch(2, seed=9), None)
    model.train()
    return result.state


@EVERY_CORE
@DROPOUTS
@pytest.mark.parametrize("carried", [False, True], ids=["from the start", "state carried in"])
def test_replay_equals_full(name, dropout, carried):
    model = make_model(name, dropout).train()
    state = state_before(model) if carried else None
    batch = make_batch(fresh=not carried)
    full, expected = gradients(Full(FullSettings()), model, batch, state)
    replayed, found = gradients(Replay(ReplaySettings()), model, batch, state)
    assert_equal(found, expected)
    assert replayed.loss == pytest.approx(full.loss, rel=1e-12)
    assert replayed.weight_sum == full.weight_sum
    for key, value in full.state.items():
        torch.testing.assert_close(replayed.state[key], value)
    assert not any(value.requires_grad for value in replayed.state.values())


@EVERY_CORE
@pytest.mark.parametrize("segments", [1, 2, 3])
def test_replay_of_pieces_equals_truncated(name, segments):
    model, batch = make_model(name, 0.3).train(), make_batch()
    _, expected = gradients(
        Truncated(TruncatedSettings(segment_length=LENGTH, segments=segments)), model, batch
    )
    assert_equal(gradients(Replay(ReplaySettings(segments=segments)), model, batch)[1], expected)


def test_replay_with_a_row_that_ends_early_equals_full():
    model, batch = make_model("rmt").train(), make_batch()
    batch = Batch(batch.inputs, batch.targets, batch.weight, batch.fresh, None, torch.tensor([20, 9, 3]))
    assert_equal(
        gradients(Replay(ReplaySettings()), model, batch)[1], gradients(Full(FullSettings()), model, batch)[1]
    )


def test_replay_runs_each_segment_twice_and_the_last_once():
    model = make_model("rmt")
    runs = []
    model.core.register_forward_pre_hook(lambda *_: runs.append(torch.is_grad_enabled()))
    gradients(Replay(ReplaySettings()), model, make_batch(5))
    assert runs == [False] * 4 + [True] * 5


@pytest.mark.parametrize("encoding", get_args(PositionEncoding))
@pytest.mark.parametrize(
    "form",
    [
        Full(FullSettings()),
        Truncated(TruncatedSettings(segment_length=LENGTH, segments=2)),
        Replay(ReplaySettings()),
        Replay(ReplaySettings(segments=2)),
        Sliding(SlidingSettings(depth=1)),
    ],
    ids=lambda form: str(vars(form)),
)
def test_what_segments_share_changes_no_gradient(encoding, form, monkeypatch):
    torch.manual_seed(0)
    core = RMT(
        SIZE,
        RMTSettings(
            hidden_size=SIZE,
            memory_tokens=2,
            heads=2,
            layers=2,
            cache_length=6,
            segment_length=LENGTH,
            position_encoding=encoding,
        ),
    )
    model = SequenceModel(
        Embedding(SYMBOLS, EmbeddingSettings(size=SIZE)),
        core,
        LinearHead(SIZE, SYMBOLS, LinearHeadSettings()),
    ).double()
    computed = []
    of_layers = core.stack.positions.of_layers
    monkeypatch.setattr(
        core.stack.positions, "of_layers", lambda *given: computed.append(given[0]) or of_layers(*given)
    )
    _, found = gradients(form, model, make_batch())
    assert len(computed) == len(set(computed))
    monkeypatch.setattr(core, "constant_weights", nullcontext)
    _, expected = gradients(form, model, make_batch())
    assert len(computed) > 2 * len(set(computed))
    assert_equal(found, expected)


def test_segments_that_drop_position_features_share_none():
    model = make_model("rmt", 0.3).train()
    with model.core.constant_weights():
        positions = model.core.stack.positions
        one, other = (
            positions(Extent(0, 4, 1), torch.zeros(1).double())[0].relative.distances for _ in range(2)
        )
    assert not torch.equal(one, other)


def sliding_by_hand(model, batches, depth, all_losses=False):
    """The gradient of the last batch, one segment each, by plain autograd, the weights never changing."""
    states, state = [], None
    for batch in batches:
        states.append(None if state is None else detach(state))
        state = model.outputs(batch, state)[1]
    model.zero_grad()
    first = max(0, len(batches) - 1 - depth)
    state = states[first]
    losses = []
    for run, batch in enumerate(batches[first:]):
        seed_dropout(AT.seed, AT.step, run)
        result = model.step(batch, state)
        state = result.state
        losses.append(result.nll_sum / batches[-1].weight.sum())
    sum(losses if all_losses else losses[-1:]).backward()
    return [torch.zeros_like(each) if each.grad is None else each.grad.clone() for each in model.parameters()]


@pytest.mark.parametrize("name", ["rmt", "prenorm_rmt", "gru"])
@pytest.mark.parametrize("depth", [0, 1, 2, 7])
@pytest.mark.parametrize("options", [{}, {"all_losses": True}], ids=str)
def test_sliding_is_the_gradient_through_the_last_segments(name, depth, options):
    model = make_model(name).train()
    form, state = Sliding(SlidingSettings(depth=depth, **options)), None
    batches = [make_batch(1, fresh=number == 0, seed=number) for number in range(5)]
    for batch in batches:
        gradient, found = gradients(form, model, batch, state)
        state = gradient.state
    assert_equal(found, sliding_by_hand(model, batches, depth, **options))


def published_passes(model, passes, depth, all_losses, rate):
    """The gradient of every step of the published loop for language models, one segment for each step.

    Its memory and its cache are variables that go from step to step; what it keeps of the last steps are
    their segments and the cache that each of them found. It detaches the memory before a step, and means to
    set it back to the oldest one, but does not.
    """

    def read(segment, memory, cache):
        state = None
        if memory is not None:
            empty = model.core.initial_state(len(memory))
            state = {**(empty if cache is None else cache), MEMORY: memory}
        y, state = model.core(model.encoder(segment.inputs), state)
        loss = (model.head.nll(y, segment.targets) * segment.weight).sum()
        return state[MEMORY], {name: value.detach() for name, value in state.items() if name != MEMORY}, loss

    found = []
    for segments in passes:
        memory, cache, kept, kept_caches = None, None, [], []
        for segment in segments:
            model.zero_grad()
            memory = None if memory is None else memory.detach()
            kept, kept_caches = [*kept[-depth:], segment], [*kept_caches[-depth:], cache]
            losses = []
            for run, (past, its_cache) in enumerate(zip(kept[:-1], kept_caches[:-1], strict=True)):
                seed_dropout(AT.seed, AT.step, run)
                memory, cache, loss = read(past, memory, its_cache)
                losses.append(loss)
            seed_dropout(AT.seed, AT.step, len(kept) - 1)
            memory, cache, loss = read(segment, memory, cache)
            wanted = sum([*losses, loss]) if all_losses else loss
            (wanted / segment.weight.sum()).backward()
            found.append((float(wanted.detach()), step_down(model, rate)))
    return found


def step_down(model, rate):
    """The gradients of a model, which then takes a step against them."""
    given = [
        torch.zeros_like(each) if each.grad is None else each.grad.clone() for each in model.parameters()
    ]
    with torch.no_grad():
        for parameter, gradient in zip(model.parameters(), given, strict=True):
            parameter -= rate * gradient
    return given


FORMS_OF_RMT = {
    "no cache": {},
    "a cache": {"cache_length": 6},
    "a short cache with memory": {"cache_length": 3, "cache_memory": True},
    "one memory at the beginning": {"cache_length": 6, "memory_at_end": False},
    "as published": {"cache_length": 4, "memory_initializer": "shared", "published_shift": True},
}
LOOPED = {
    **{
        name: lambda dropout, options=options: RMT(
            SIZE,
            RMTSettings(
                hidden_size=SIZE,
                memory_tokens=3,
                layers=2,
                heads=2,
                dropout=dropout,
                segment_length=LENGTH,
                **options,
            ),
        )
        for name, options in FORMS_OF_RMT.items()
    },
    "prenorm_rmt": CORES["prenorm_rmt"],
}


@pytest.mark.parametrize("name", LOOPED)
@pytest.mark.parametrize("depth", [1, 2, 3, 7])
@pytest.mark.parametrize("all_losses", [False, True])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_the_published_restart_is_the_published_loop_step_by_step(
    name, depth, all_losses, dropout, monkeypatch
):
    monkeypatch.setitem(CORES, name, LOOPED[name])
    passes = [[make_batch(1, fresh=at == 0, seed=10 * one + at) for at in range(5)] for one in range(2)]
    model = make_model(name, dropout).train()
    expected = published_passes(model, passes, depth, all_losses, rate=0.5)
    model = make_model(name, dropout).train()
    form, found = Sliding(SlidingSettings(depth=depth, all_losses=all_losses, published_restart=True)), []
    for segments in passes:
        state = None
        for segment in segments:
            gradient, _ = gradients(form, model, segment, state)
            state = gradient.state
            found.append((gradient.loss * gradient.weight_sum, step_down(model, 0.5)))
    for (loss, one), (wanted, other) in zip(found, expected, strict=True):
        assert loss == pytest.approx(wanted, rel=1e-9)
        assert_equal(one, other)


def test_a_core_without_memory_tokens_has_no_published_restart():
    model = make_model("gru").train()
    form = Sliding(SlidingSettings(depth=1, published_restart=True))
    state = gradients(form, model, make_batch(1), None)[0].state
    with pytest.raises(UsageError, match="the core has none"):
        gradients(form, model, make_batch(1, fresh=False), state)


def test_sliding_over_the_segments_of_one_batch_equals_one_batch_for_each():
    model = make_model("rmt").train()
    whole = make_batch(4)
    segments = whole.split(LENGTH)
    together, found = gradients(Sliding(SlidingSettings(depth=1)), model, whole, reduction="sum_over_time")
    form, state, expected, loss = Sliding(SlidingSettings(depth=1)), None, 0.0, 0.0
    for segment in segments:
        gradient, one = gradients(form, model, segment, state, "sum_over_time")
        state, loss = gradient.state, loss + gradient.loss
        expected = [a + b for a, b in zip(expected, one, strict=True)] if expected else one
    assert_equal(found, expected)
    assert together.loss == pytest.approx(loss)


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_sliding_reaches_exactly_as_many_segments_back_as_asked(depth):
    torch.manual_seed(0)
    count = 5
    core = RMT(SIZE, RMTSettings(hidden_size=SIZE, memory_tokens=2, layers=2, heads=2, segment_length=LENGTH))
    model = SequenceModel(
        Embedding(count * LENGTH, EmbeddingSettings(size=SIZE)),
        core,
        LinearHead(SIZE, SYMBOLS, LinearHeadSettings()),
    ).double()
    form, state = Sliding(SlidingSettings(depth=depth)), None
    for segment in range(count):
        symbols = torch.arange(segment * LENGTH, (segment + 1) * LENGTH)[None]
        targets, weight = torch.zeros(1, LENGTH, dtype=torch.long), torch.ones(1, LENGTH).double()
        batch = Batch(symbols, targets, weight, torch.tensor([segment == 0]))
        gradient, _ = gradients(form, model, batch, state)
        state = gradient.state
    reached = model.encoder.table.weight.grad.abs().sum(1) > 0
    assert reached.nonzero()[:, 0].tolist() == list(range((count - 1 - depth) * LENGTH, count * LENGTH))


@pytest.mark.parametrize("options", [{}, {"published_restart": True}], ids=str)
def test_sliding_goes_on_from_a_saved_state_and_forgets_it_at_a_new_start(options):
    model = make_model("rmt", 0.3).train()
    batches = [make_batch(1, fresh=number == 0, seed=number) for number in range(4)]
    form, state = Sliding(SlidingSettings(depth=2, **options)), None
    for batch in batches[:3]:
        state = gradients(form, model, batch, state)[0].state
    resumed = Sliding(SlidingSettings(depth=2, **options))
    resumed.load_state_dict(form.state_dict())
    assert_equal(
        gradients(resumed, model, batches[3], state)[1], gradients(form, model, batches[3], state)[1]
    )
    _, expected = gradients(Sliding(SlidingSettings(depth=2, **options)), model, batches[0], None)
    assert_equal(gradients(form, model, batches[0], None)[1], expected)


def test_what_sliding_keeps_is_the_same_whether_a_task_has_parts_or_not():
    model = make_model("rmt", 0.0).train()
    batch, saved = make_batch(1, fresh=True, seed=0), []
    for each in (batch, replace(batch, part=torch.arange(len(batch.inputs)))):
        form = Sliding(SlidingSettings(depth=2))
        gradients(form, model, each, None)
        saved.append([past["segment"] for past in form.state_dict()["past"]])
    of_all = {"inputs", "targets", "weight", "fresh", "answer", "lengths", "present", "reset", "question"}
    assert saved[0][0].keys() == of_all
    for one, other in zip(*saved, strict=True):
        assert one.keys() == other.keys()
        assert all(torch.equal(one[name], other[name]) for name in ("inputs", "targets", "weight", "fresh"))


def test_recipes_name_the_forms():
    sliding = build_backprop(SlidingSettings(depth=3, all_losses=True))
    assert (type(sliding), sliding.depth, sliding.all_losses) == (Sliding, 3, True)
    replay = build_backprop(ReplaySettings(segments=2))
    assert (type(replay), replay.segment_length, replay.piece) == (Replay, None, 2)
