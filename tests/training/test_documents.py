"""A state that starts afresh with each document: no loss and no gradient goes beyond one."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from rmem_cli.data.documents import document_starts
from rmem_cli.evaluation.evaluate import evaluate
from rmem_cli.evaluation.walk import walk
from rmem_cli.models.batch import Batch
from rmem_cli.models.config import EmbeddingSettings, LinearHeadSettings
from rmem_cli.models.cores.gated_lstm import GatedLSTM
from rmem_cli.models.cores.prenorm_rmt import PreNormRMT
from rmem_cli.models.cores.recurrent_config import GatedLSTMSettings, GRUSettings
from rmem_cli.models.cores.rmt import RMT
from rmem_cli.models.cores.torch_rnn import GRU
from rmem_cli.models.cores.transformer_config import PreNormRMTSettings, RMTSettings, TransformerXLSettings
from rmem_cli.models.cores.transformer_xl import TransformerXL
from rmem_cli.models.encoders import Embedding
from rmem_cli.models.heads import LinearHead
from rmem_cli.models.sequence import SequenceModel
from rmem_cli.modules.rum import RUM
from rmem_cli.tasks.language_model import LanguageModel
from rmem_cli.tasks.text_config import LanguageModelSettings
from rmem_cli.training.backprop import Full, Replay, Sliding, TrainingStep, Truncated
from rmem_cli.training.config import FullSettings, ReplaySettings, SlidingSettings, TruncatedSettings

AT = TrainingStep(seed=3, step=5)
WORDS = ["<eos>", "=", "a", "b", "c"]
SYMBOLS, SIZE, LENGTH, SEGMENTS = len(WORDS), 6, 4, 5
ATTENTION = {"layers": 2, "heads": 2, "head_size": 4}
CORES = {
    "gru": lambda dropout, **_: GRU(SIZE, GRUSettings(hidden_size=SIZE, layers=2, dropout=dropout)),
    "rum": lambda dropout, **_: RUM(SIZE, SIZE, layers=2, dropout=dropout, lambda_=1, eta=1.0),
    "gated_lstm": lambda dropout, **_: GatedLSTM(
        SIZE, GatedLSTMSettings(hidden_size=SIZE, layers=2, dropout=dropout)
    ),
    "transformer_xl": lambda dropout, **length: TransformerXL(
        SIZE, TransformerXLSettings(hidden_size=SIZE, cache_length=3, dropout=dropout, **ATTENTION, **length)
    ),
    "absolute": lambda dropout, **_: TransformerXL(
        SIZE,
        TransformerXLSettings(
            hidden_size=SIZE,
            cache_length=3,
            dropout=dropout,
            segment_length=LENGTH,
            position_encoding="absolute_learned",
            **ATTENTION,
        ),
    ),
    "rmt": lambda dropout, **length: RMT(
        SIZE,
        RMTSettings(
            hidden_size=SIZE, memory_tokens=2, cache_length=3, dropout=dropout, **ATTENTION, **length
        ),
    ),
    "associative_rmt": lambda dropout, **length: RMT(
        SIZE,
        RMTSettings(
            hidden_size=SIZE,
            memory_tokens=2,
            dropout=dropout,
            memory_kind="associative",
            associative_size=3,
            **ATTENTION,
            **length,
        ),
    ),
    "prenorm_rmt": lambda dropout, **_: PreNormRMT(
        SIZE,
        PreNormRMTSettings(
            hidden_size=SIZE,
            memory_tokens=2,
            cache_length=3,
            dropout=dropout,
            segment_length=LENGTH,
            **ATTENTION,
        ),
    ),
}
EVERY_CORE = pytest.mark.parametrize("name", CORES)
# Of cores whose segments may have any length, so that a whole text can be one.
EVERY_LENGTH = pytest.mark.parametrize("name", ["gru", "rum", "gated_lstm", "transformer_xl", "rmt"])


def make_model(name, dropout=0.0, segment_length=LENGTH):
    torch.manual_seed(0)
    core = CORES[name](dropout, segment_length=segment_length)
    core.segment_length = segment_length
    model = SequenceModel(
        Embedding(SYMBOLS, EmbeddingSettings(size=SIZE)),
        core,
        LinearHead(SIZE, SYMBOLS, LinearHeadSettings()),
    ).double()
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.4)
    return model


def make_batch(*resets, rows=4, segments=SEGMENTS, fresh=True, seed=1):
    """A batch in which rows start afresh before steps, given as (row, step)."""
    source = torch.Generator().manual_seed(seed)
    time = segments * LENGTH
    symbols = torch.randint(SYMBOLS, (2, rows, time), generator=source)
    weight = torch.rand(rows, time, generator=source, dtype=torch.float64)
    reset = torch.zeros(rows, time, dtype=torch.bool)
    for row, step in resets:
        reset[row, step] = True
    return Batch(symbols[0], symbols[1], weight, torch.full((rows,), fresh), reset=reset)


# First and last step of the batch and of segments, twice in a segment, two rows at once; row 3 never.
RESETS = [(0, 0), (0, 6), (0, 19), (1, 6), (1, 8), (1, 11), (1, 17), (2, 17), (2, 18), (2, 19)]


def gradients(form, model, batch, state=None):
    model.zero_grad()
    gradient = form.gradient(model, batch, state, "sum_over_time", AT)
    return gradient, grads(model)


def grads(model):
    return [torch.zeros_like(each) if each.grad is None else each.grad.clone() for each in model.parameters()]


def assert_equal(found, expected):
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-9)


def state_before(model):
    *_, (_, result) = walk(model, replace(make_batch(segments=2, seed=9), reset=None), None)
    return result.state


def read_apart(model, batch, state):
    """The sum of losses where each row is read by itself, and each of its documents from no state.

    Returns:
        The sum, and the last state of each row.
    """
    total, ends = torch.zeros(()), []
    for row in range(len(batch.inputs)):
        own = None if state is None else {name: value[row : row + 1] for name, value in state.items()}
        resets = batch.reset[row].nonzero()[:, 0].tolist()
        cuts = {*resets, *range(0, SEGMENTS * LENGTH + 1, LENGTH)}
        for start, stop in pairwise(sorted(cuts)):
            part = slice(row, row + 1), slice(start, stop)
            segment = Batch(
                batch.inputs[part], batch.targets[part], batch.weight[part], torch.tensor([False])
            )
            result = model.step(segment, None if start in resets else own)
            own, total = result.state, total + result.nll_sum
        ends.append(own)
    return total, ends


@EVERY_CORE
@pytest.mark.parametrize("carried", [False, True], ids=["from the start", "state carried in"])
def test_rows_whose_documents_begin_anywhere_learn_from_each_document_apart(name, carried):
    model = make_model(name)
    state = state_before(model) if carried else None
    batch = make_batch(*RESETS, fresh=not carried)
    model.zero_grad()
    total, ends = read_apart(model, batch, state)
    (total / len(batch.inputs)).backward()
    expected = grads(model)
    gradient, found = gradients(Full(FullSettings()), model, batch, state)
    assert gradient.nll_sum == pytest.approx(float(total.detach()), rel=1e-12)
    assert_equal(found, expected)
    for key, value in gradient.state.items():
        torch.testing.assert_close(value, torch.cat([end[key] for end in ends]).detach())


@EVERY_CORE
def test_every_form_of_back_propagation_learns_from_two_documents_as_from_each_alone(name):
    model, middle = make_model(name), 2 * LENGTH
    both = make_batch((0, middle), rows=1)
    first, second = (
        Batch(both.inputs[:, part], both.targets[:, part], both.weight[:, part], both.fresh)
        for part in (slice(middle), slice(middle, None))
    )
    forms = [
        lambda: Full(FullSettings()),
        lambda: Replay(ReplaySettings()),
        lambda: Truncated(TruncatedSettings(segment_length=LENGTH, segments=1)),
        lambda: Truncated(TruncatedSettings(segment_length=LENGTH, segments=2)),
        lambda: Replay(ReplaySettings(segments=2)),
        lambda: Sliding(SlidingSettings(depth=1)),
    ]
    for form in forms:
        (one, of_one), (other, of_other) = (gradients(form(), model, each) for each in (first, second))
        together, found = gradients(form(), model, both)
        assert together.nll_sum == pytest.approx(one.nll_sum + other.nll_sum, rel=1e-12)
        assert_equal(found, [a + b for a, b in zip(of_one, of_other, strict=True)])


@EVERY_CORE
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_replay_and_deep_sliding_equal_full_where_documents_begin_anywhere(name, dropout):
    model = make_model(name, dropout).train()
    batch = make_batch(*RESETS)
    _, expected = gradients(Full(FullSettings()), model, batch)
    assert_equal(gradients(Replay(ReplaySettings()), model, batch)[1], expected)
    if not dropout:
        assert_equal(gradients(Sliding(SlidingSettings(depth=SEGMENTS)), model, batch)[1], expected)
    _, expected = gradients(Truncated(TruncatedSettings(segment_length=LENGTH, segments=2)), model, batch)
    assert_equal(gradients(Replay(ReplaySettings(segments=2)), model, batch)[1], expected)


@EVERY_CORE
def test_the_gradient_stops_where_the_document_of_a_loss_begins(name):
    model = make_model(name)
    batch = make_batch((0, 9), (1, 19), rows=3)
    weight = torch.zeros_like(batch.weight)
    weight[:, -1] = 1
    for row, begin in ((0, 9), (1, 19)):
        inputs = torch.where(torch.arange(SEGMENTS * LENGTH) < begin, 2, 3).expand(3, -1)
        only = torch.zeros_like(weight)
        only[row, -1] = 1
        gradients(Full(FullSettings()), model, replace(batch, inputs=inputs, weight=only))
        assert model.encoder.table.weight.grad[3].abs().sum() > 0
        assert model.encoder.table.weight.grad[2].abs().sum() == 0


@EVERY_CORE
def test_where_no_document_begins_everything_is_the_same_to_the_bit(name):
    model = make_model(name, 0.3).train()
    batch = make_batch()
    without, expected = gradients(Full(FullSettings()), model, replace(batch, reset=None))
    gradient, found = gradients(Full(FullSettings()), model, batch)
    assert gradient.nll_sum == without.nll_sum
    assert all(map(torch.equal, found, expected))
    assert all(torch.equal(gradient.state[key], value) for key, value in without.state.items())


# An empty line and three documents, the second with a section and with a line that has a mark inside.
TEXT = (
    "<eos> = a = <eos> <eos> b c a b <eos> <eos> "
    "= b c = <eos> <eos> a = b <eos> <eos> = = c = = <eos> <eos> b <eos> <eos> "
    "= a = <eos> <eos> c"
)
READ = [WORDS.index(word) for word in TEXT.split()]
STARTS = [1, 12, 33]


@pytest.fixture
def text(write_text):
    return write_text(READ, READ, READ, name="wikitext2", form="word", vocabulary=WORDS)


def apart(model, text):
    """The sum of losses of the documents, and of what is before the first, each read by itself."""
    symbols = torch.from_numpy(text.tokens("test").astype(np.int64))[None]
    total = 0.0
    for start, stop in pairwise([0, *document_starts(text, "test"), len(READ)]):
        document = symbols[:, start:stop]
        inputs = torch.cat([torch.zeros(1, 1, dtype=torch.long), document[:, :-1]], dim=1)
        y, _ = model.core(model.encoder(inputs))
        total += float(model.head.nll(y, document).sum().detach())
    return total


@EVERY_LENGTH
def test_the_loss_of_a_text_is_that_of_its_documents_read_apart(name, text):
    model = make_model(name, segment_length=None)
    assert document_starts(text, "test").tolist() == STARTS
    expected = apart(model, text)
    lengths = [99, *([1, 5, 15] if model.core.stepwise else [])]
    for length in lengths:
        task = LanguageModel(
            LanguageModelSettings(
                dataset="wikitext2", form="word", segment_length=length, reset_at_documents=True
            )
        )
        totals = evaluate(model, task, "test", None, 1, seed=1)
        assert totals.nll == pytest.approx(expected, rel=1e-12)
        assert totals.weight == totals.examples == len(READ)
    carried = evaluate(
        model,
        LanguageModel(LanguageModelSettings(dataset="wikitext2", form="word", segment_length=99)),
        "test",
        None,
        1,
        seed=1,
    )
    assert abs(carried.nll - expected) > 1e-3


@pytest.mark.parametrize("batch_size", [1, 2, 3])
def test_a_batch_says_where_documents_begin_and_nothing_where_none_does(text, batch_size):
    task, plain = (
        LanguageModel(
            LanguageModelSettings(dataset="wikitext2", form="word", segment_length=6, reset_at_documents=True)
        ),
        LanguageModel(LanguageModelSettings(dataset="wikitext2", form="word", segment_length=6)),
    )
    steps = range(task.steps_per_epoch(batch_size))
    batches = [task.training_batch(step, batch_size, seed=1) for step in steps]
    batches += task.evaluation_batches("test", None, batch_size, seed=1)
    without = [plain.training_batch(step, batch_size, seed=1) for step in steps]
    without += plain.evaluation_batches("test", None, batch_size, seed=1)
    for batch, other in zip(batches, without, strict=True):
        assert torch.equal(batch.inputs, other.inputs)
        assert torch.equal(batch.fresh, other.fresh)
        assert other.reset is None
        assert batch.reset is None or batch.reset.any()
    evaluated = batches[len(steps) :]
    column = -(-len(READ) // batch_size)
    found = [
        row * column + 6 * index + step
        for index, batch in enumerate(evaluated)
        if batch.reset is not None
        for row, step in batch.reset.nonzero().tolist()
    ]
    assert sorted(found) == STARTS
