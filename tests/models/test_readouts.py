"""What a read-out gives at a step, written out row by row."""

import pytest
import torch
from small_cores import ALL, small_core

from rmem_cli.errors import UsageError
from rmem_cli.models.batch import Batch
from rmem_cli.models.config import AttentionSettings, EmbeddingSettings, OneHotSettings
from rmem_cli.models.encoders import Embedding, OneHot, encoded
from rmem_cli.models.readouts import Attention
from rmem_cli.models.sequence import build_model
from rmem_cli.ops.rotation.reference import rotate
from rmem_cli.recipe.registry import CORES
from rmem_cli.recipe.schema import MemoryLossSettings, ModelSettings

TIME, SIZE, SYMBOLS = 7, 5, 6


def batch_of(question=None, asked=None, *, rows=3, reset=None):
    """Random symbols; `asked` are the steps with a weight, all by default."""
    symbols = torch.randint(SYMBOLS, (rows, TIME))
    weight = torch.ones(rows, TIME).double()
    if asked is not None:
        weight = torch.zeros(rows, TIME).double().scatter_(1, torch.tensor(asked)[:, None], 1)
    question = None if question is None else torch.tensor(question)
    fresh = torch.ones(rows, dtype=torch.bool)
    return Batch(symbols, symbols, weight, fresh, reset=reset, question=question)


def attention(rotation="none"):
    encoder = Embedding(SYMBOLS, EmbeddingSettings(size=4)).double()
    return Attention(SIZE, encoder, AttentionSettings(rotation=rotation)).double()


def attended(y, about):
    """The mean of the steps `about` of one row by how well they fit the output `y[-1]`."""
    if not len(about):
        return torch.zeros(SIZE).double()
    return torch.softmax(about @ y, 0) @ about


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.mark.parametrize("rotation", ["none", "published"])
def test_a_question_attends_to_all_that_stands_before_it_and_to_no_padding(rotation):
    y, question, asked = torch.randn(3, TIME, SIZE).double(), [4, 2, 0], [5, 6, 1]
    given = attention(rotation)(y, batch_of(question, asked), slice(None))
    for row, (begin, step) in enumerate(zip(question, asked, strict=True)):
        expected = torch.cat([attended(y[row, step], y[row, :begin]), y[row, step]])
        torch.testing.assert_close(given[row, step], expected)


def test_the_question_is_turned_by_the_rotation_that_takes_it_to_its_context():
    y, question, asked = torch.randn(3, TIME, SIZE).double(), [4, 2, 3], [5, 2, 6]
    batch, readout = batch_of(question, asked), attention("question")
    given = readout(y, batch, slice(None))
    vectors = readout._encoder[0](batch.inputs)
    for row, (begin, step) in enumerate(zip(question, asked, strict=True)):
        context = attended(y[row, step], y[row, :begin])
        asked_for = vectors[row, begin : step + 1].sum(0) @ readout.question_kernel
        expected = torch.cat([context, rotate(asked_for, context, y[row, step])])
        torch.testing.assert_close(given[row, step], expected)


def test_without_questions_each_step_attends_to_those_before_it_in_its_text():
    reset = torch.zeros(3, TIME, dtype=torch.bool)
    reset[1, 3] = True
    y = torch.randn(3, TIME, SIZE).double()
    given = attention()(y, batch_of(reset=reset), slice(None))
    for row in range(3):
        for step in range(TIME):
            begin = 3 if row == 1 and step >= 3 else 0
            expected = torch.cat([attended(y[row, step], y[row, begin:step]), y[row, step]])
            torch.testing.assert_close(given[row, step], expected)


def test_the_steps_that_are_trained_are_those_that_are_measured():
    y, batch, readout = (
        torch.randn(3, TIME, SIZE).double(),
        batch_of([4, 2, 0], [5, 6, 3]),
        attention("question"),
    )
    steps = batch.counted_steps()
    assert steps == slice(3, 7)
    whole, some = readout(y, batch, slice(None)), readout(y, batch, steps)
    assert whole.shape == (3, TIME, 2 * SIZE)
    torch.testing.assert_close(whole[:, steps], some)
    assert not whole[:, :3, :SIZE].any()


def test_a_segment_knows_where_its_part_of_a_question_begins():
    first, second = batch_of([4, 2, 6], [5, 2, 6]).split(4)
    assert first.question.tolist() == [4, 2, 4]
    assert second.question.tolist() == [0, 0, 2]


def test_gradients_are_finite_where_there_is_nothing_to_attend_to():
    y = torch.zeros(3, TIME, SIZE).double().requires_grad_()
    readout = attention("question")
    readout(y, batch_of([0, 0, 0], [0, 1, 2]), slice(None)).square().sum().backward()
    assert y.grad.isfinite().all()
    assert readout.question_kernel.grad.isfinite().all()


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("rotation", ["none", "question"])
def test_any_core_is_read_by_attention(kind, rotation):
    core = small_core(kind, segment_length=TIME)
    model = build_model(
        ModelSettings(core=core, readout=AttentionSettings(rotation=rotation)), SYMBOLS, SYMBOLS
    )
    batch = batch_of([4, 2, 3], [5, 4, 6]).to(torch.device("cpu"), torch.float32)
    model.step(batch, None).nll_sum.backward()
    assert all(each.grad.isfinite().all() for each in model.parameters() if each.grad is not None)
    assert all(each.grad.abs().sum() > 0 for each in model.readout.parameters())
    assert not model.stepwise
    meta = model.to(torch.device("meta")).step(batch.to(torch.device("meta"), torch.float32), None)
    assert meta.outputs.shape == (3, TIME, 2 * model.core.output_size)


def test_a_step_of_several_symbols_is_the_sum_of_their_vectors():
    encoder = Embedding(SYMBOLS, EmbeddingSettings(size=4))
    symbols = torch.tensor([[[1, 3, -1], [-1, -1, -1]]])
    expected = torch.stack([encoder.table.weight[1] + encoder.table.weight[3], torch.zeros(4)])[None]
    torch.testing.assert_close(encoded(encoder, symbols), expected)
    one_hot = OneHot(SYMBOLS, OneHotSettings())
    assert encoded(one_hot, torch.tensor([[[2, 2, 5]]]))[0, 0].tolist() == [0, 0, 2, 0, 0, 1]


def test_memory_tokens_cannot_predict_by_a_head_that_reads_twice_their_width():
    core = CORES.settings("rmt")(kind="rmt", hidden_size=8, memory_tokens=2)
    settings = ModelSettings(core=core, readout=AttentionSettings(), memory_loss=MemoryLossSettings())
    with pytest.raises(UsageError, match="memory_loss needs a read-out that gives the core's outputs"):
        build_model(settings, SYMBOLS, SYMBOLS)
