"""Text from a model is what evaluation would expect."""

import pytest
import torch

from rmem_cli.errors import DivergedError
from rmem_cli.evaluation.reader import Reader
from rmem_cli.evaluation.sampling import draw, generate
from rmem_cli.evaluation.walk import walk
from rmem_cli.models.batch import Batch
from rmem_cli.models.config import EmbeddingSettings, LinearHeadSettings
from rmem_cli.models.cores.gated_lstm import GatedLSTM
from rmem_cli.models.cores.prenorm_rmt import PreNormRMT
from rmem_cli.models.cores.recurrent_config import GatedLSTMSettings, LSTMSettings
from rmem_cli.models.cores.rmt import RMT
from rmem_cli.models.cores.torch_rnn import LSTM
from rmem_cli.models.cores.transformer_config import PreNormRMTSettings, RMTSettings, TransformerXLSettings
from rmem_cli.models.cores.transformer_xl import TransformerXL
from rmem_cli.models.encoders import Embedding
from rmem_cli.models.heads import LinearHead
from rmem_cli.models.sequence import SequenceModel
from rmem_cli.modules.rum import RUM

SYMBOLS, SIZE, LENGTH, WINDOW = 7, 6, 4, 10
FORM = {"layers": 2, "heads": 2, "segment_length": LENGTH}
CORES = {
    "rmt": lambda: RMT(SIZE, RMTSettings(hidden_size=SIZE, memory_tokens=2, cache_length=3, **FORM)),
    "published rmt": lambda: RMT(
        SIZE,
        RMTSettings(
            hidden_size=SIZE, memory_tokens=4, cache_length=3, cache_memory=True, published_shift=True, **FORM
        ),
    ),
    "associative rmt": lambda: RMT(
        SIZE,
        RMTSettings(hidden_size=SIZE, memory_tokens=2, memory_kind="associative", associative_size=3, **FORM),
    ),
    "prenorm_rmt": lambda: PreNormRMT(
        SIZE, PreNormRMTSettings(hidden_size=SIZE, memory_tokens=2, cache_length=5, head_size=4, **FORM)
    ),
    "transformer_xl without segments": lambda: TransformerXL(
        SIZE, TransformerXLSettings(hidden_size=SIZE, layers=2, heads=2, cache_length=6)
    ),
    "rum": lambda: RUM(SIZE, SIZE, lambda_=1),
    "gated_lstm": lambda: GatedLSTM(SIZE, GatedLSTMSettings(hidden_size=SIZE, layers=2)),
    "lstm": lambda: LSTM(SIZE, LSTMSettings(hidden_size=SIZE)),
    **{
        kind: lambda kind=kind: RMT(
            SIZE, RMTSettings(hidden_size=SIZE, memory_tokens=2, position_encoding=kind, **FORM)
        )
        for kind in ("absolute_sinusoid", "relative_learned")
    },
}
EVERY_CORE = pytest.mark.parametrize("name", CORES)


def make_model(name="rmt"):
    torch.manual_seed(0)
    model = SequenceModel(
        Embedding(SYMBOLS, EmbeddingSettings(size=SIZE)),
        CORES[name](),
        LinearHead(SIZE, SYMBOLS, LinearHeadSettings()),
    ).double()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.7)
    return model.eval()


def logits_of_evaluation(model, symbols, carried=True):
    """Logits after each symbol, all symbols given: window by window, segment by segment."""
    symbols, state, logits = torch.tensor([symbols]), None, []
    for window in symbols.split(WINDOW, 1):
        fresh = torch.tensor([state is None or not carried])
        batch = Batch(window, window, torch.ones(window.shape).double(), fresh)
        parts = list(walk(model, batch, state))
        logits += [model.logits(result.outputs) for _, result in parts]
        state = parts[-1][1].state
    return torch.cat(logits, 1)[0]


@EVERY_CORE
@pytest.mark.parametrize(("carried", "temperature"), [(True, 0), (True, 2.0), (False, 2.0)])
def test_a_text_is_one_drawn_from_what_evaluation_expects_at_every_symbol(name, carried, temperature):
    model = make_model(name)
    beginning = [3, 1, 4, 1, 5]
    count = WINDOW + 7

    def choose():
        return draw(temperature, None, torch.Generator().manual_seed(1))

    added = list(generate(Reader(model, WINDOW, carried=carried), beginning, count, choose()))
    text = [*beginning, *added]
    logits = logits_of_evaluation(model, text + [0] * (-len(text) % WINDOW), carried)
    expected = map(choose(), logits[len(beginning) - 1 : len(text) - 1])
    assert added == list(expected)
    assert temperature == 0 or len(set(added)) > 2


@EVERY_CORE
def test_what_may_come_next_is_what_evaluation_says(name):
    model = make_model(name)
    text = torch.randint(SYMBOLS, (2 * WINDOW,), generator=torch.Generator().manual_seed(1)).tolist()
    expected = logits_of_evaluation(model, text)
    reader = Reader(model, WINDOW)
    for place, symbol in enumerate(text):
        found = reader.read(torch.tensor([[symbol]]))[0]
        torch.testing.assert_close(found, expected[place], rtol=0, atol=1e-12)
    for count in (1, LENGTH, WINDOW, WINDOW + 3):
        found = Reader(model, WINDOW).read(torch.tensor([text[:count]]))[0]
        torch.testing.assert_close(found, expected[count - 1], rtol=0, atol=1e-12)


@EVERY_CORE
@pytest.mark.parametrize("carried", [True, False])
@pytest.mark.parametrize("known", [1, LENGTH, WINDOW - 1, WINDOW + 3])
def test_texts_read_side_by_side_go_on_in_any_order_as_if_each_were_alone(name, carried, known):
    model = make_model(name)
    texts = torch.randint(SYMBOLS, (3, 2 * WINDOW), generator=torch.Generator().manual_seed(1))
    expected = torch.stack([logits_of_evaluation(model, text, carried) for text in texts.tolist()])
    reader = Reader(model, WINDOW, carried=carried)
    reader.read(texts[:, :known])
    chosen = torch.tensor([2, 0, 2, 1])
    reader.select(chosen)
    for place in range(known, texts.shape[1]):
        found = reader.read(texts[chosen, place : place + 1])
        torch.testing.assert_close(found, expected[chosen, place], rtol=0, atol=1e-12)


def test_reading_nothing_after_a_whole_segment_is_refused():
    reader = Reader(make_model(), WINDOW)
    reader.read(torch.ones(1, LENGTH, dtype=torch.long))
    with pytest.raises(ValueError, match="no symbol"):
        reader.read(torch.ones(1, 0, dtype=torch.long))


def counts(temperature, top_k, logits, draws=800):
    choose = draw(temperature, top_k, torch.Generator().manual_seed(1))
    return torch.bincount(torch.tensor([choose(logits) for _ in range(draws)]), minlength=len(logits)) / draws


def test_draws_follow_the_temperature():
    logits = torch.tensor([0.3, -1.0, 2.0, 1.0])
    for temperature in (0.5, 1.0, 2.0):
        expected = (logits / temperature).softmax(-1)
        torch.testing.assert_close(counts(temperature, None, logits), expected, rtol=0, atol=0.08)
    assert counts(0, None, logits, 10).tolist() == [0, 0, 1, 0]
    for next_to_nothing in (1e-9, 1e-320):
        assert counts(next_to_nothing, None, logits, 10).tolist() == [0, 0, 1, 0]
        shared = counts(next_to_nothing, None, torch.tensor([2.0, -1.0, 2.0, -torch.inf]))
        torch.testing.assert_close(shared, torch.tensor([0.5, 0, 0.5, 0]), rtol=0, atol=0.08)


@pytest.mark.parametrize("temperature", [0, 1.0])
@pytest.mark.parametrize(
    "logits", [[0.3, torch.nan], [torch.inf, 0.3], [-torch.inf] * 2], ids=["nan", "inf", "all impossible"]
)
def test_nothing_is_drawn_from_what_is_no_number(logits, temperature):
    choose = draw(temperature, None, torch.Generator())
    with pytest.raises(DivergedError, match=r"predicts what is no number; a smaller optimizer.lr may help"):
        choose(torch.tensor(logits))


@pytest.mark.parametrize(
    ("temperature", "top_k", "sentence"),
    [
        (-1, None, "temperature is -1; it must be a number that is not below 0"),
        (torch.nan, None, "temperature is nan"),
        (torch.inf, None, "temperature is inf"),
        (1.0, 0, "top_k is 0; it must be a whole number above 0, or None for all symbols"),
        (1.0, -1, "top_k is -1"),
        (1.0, 2.5, "top_k is 2.5"),
    ],
)
def test_what_cannot_be_drawn_is_a_sentence(temperature, top_k, sentence):
    with pytest.raises(ValueError, match=sentence):
        draw(temperature, top_k, torch.Generator())


def test_draws_are_from_the_likeliest_alone():
    logits = torch.tensor([0.3, -1.0, 2.0, 1.0])
    share = torch.tensor([2.0, 1.0]).softmax(-1)
    found = counts(1.0, 2, logits)
    torch.testing.assert_close(found[[2, 3]], share, rtol=0, atol=0.08)
    assert found[[0, 1]].sum() == 0
    assert counts(1.0, 99, logits, 300)[1] > 0
