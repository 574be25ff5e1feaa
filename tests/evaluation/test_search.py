"""Greedy and beam search find what they say, beside searches written out here a second time."""

import math
from itertools import product

import pytest
import torch
from torch import nn

from rmem_cli.errors import DivergedError
from rmem_cli.evaluation.reader import Reader
from rmem_cli.evaluation.search import Hypothesis, search
from rmem_cli.models.batch import SourceBatch
from rmem_cli.models.sequence import build_model
from rmem_cli.recipe.schema import BeamSearchSettings, ModelSettings

SYMBOLS, STOP = 4, 1
INF = math.inf


def settings(**options):
    return BeamSearchSettings(**{"beam": 3, "shortest": 0, "longest": 5} | options)


class Told:
    """Says after each beginning of a text what it was told, whatever stands beside it."""

    def __init__(self, logits):
        self.logits = logits  # of the beginning, a tuple
        self.texts = None
        self.calls = []

    def read(self, symbols):
        self.calls.append(len(symbols))
        self.texts = [()] * len(symbols) if self.texts is None else self.texts
        self.texts = [(*text, *row) for text, row in zip(self.texts, symbols.tolist(), strict=True)]
        return torch.stack([self.logits(text) for text in self.texts])

    def select(self, rows):
        self.texts = [self.texts[row] for row in rows.tolist()]


def by_chance(seed, symbols=SYMBOLS, spread=2.0):
    """Other logits after each beginning, the same ones always."""
    known = {}

    def logits(text):
        if text not in known:
            number = seed
            for symbol in text:
                number = number * 31 + symbol + 7
            source = torch.Generator().manual_seed(number)
            known[text] = spread * torch.randn(symbols, generator=source, dtype=torch.float64)
        return known[text]

    return logits


def always(*values):
    return lambda text: torch.tensor(values, dtype=torch.float64)


def beginning(*symbols):
    return torch.tensor([[symbol] for symbol in symbols])


def repeats(symbols):
    triples = list(zip(symbols, symbols[1:], symbols[2:], strict=False))
    return len(set(triples)) < len(triples)


def all_hypotheses(logits, begin, options, stop=STOP):
    """Everything that may be said, with its log-probability."""
    for length in range(options.longest + 1):
        for said in product([each for each in range(SYMBOLS) if each != stop], repeat=length):
            if repeats(said) and not options.repeat_trigrams:
                continue
            total, text = 0.0, (begin,)
            for symbol in said:
                total += logits(text).log_softmax(-1)[symbol].item()
                text = (*text, symbol)
            if options.shortest <= length < options.longest:
                yield Hypothesis(said, total + logits(text).log_softmax(-1)[stop].item(), stopped=True)


def score(found, normalization):
    length = 1 + len(found.symbols) + 1
    return found.log_probability / length**normalization


@pytest.mark.parametrize("repeat", [True, False])
@pytest.mark.parametrize("normalization", [0.0, 0.6, 1.0, 2.5])
@pytest.mark.parametrize(("shortest", "longest"), [(0, 1), (0, 4), (2, 4), (3, 4), (0, 5)])
def test_a_beam_of_full_width_finds_what_looking_at_everything_finds(
    shortest, longest, normalization, repeat
):
    options = settings(
        beam=SYMBOLS**longest,
        shortest=shortest,
        longest=longest,
        length_normalization=normalization,
        repeat_trigrams=repeat,
    )
    for seed in range(3):
        logits = by_chance(seed)
        (found,) = search(Told(logits), beginning(2), options, STOP)
        best = max(all_hypotheses(logits, 2, options), key=lambda each: score(each, normalization))
        assert found.symbols == best.symbols
        assert found.stopped
        assert found.log_probability == pytest.approx(best.log_probability, abs=1e-12)
        assert found.score(normalization) == pytest.approx(score(best, normalization), abs=1e-12)


def greedy(logits, begin, options, stop=STOP):
    """Always the likeliest symbol that may follow."""
    said, text, total = (), (begin,), 0.0
    while len(said) < options.longest:
        chances = logits(text).log_softmax(-1).tolist()
        for symbol in range(len(chances)):
            early = symbol == stop and len(said) < options.shortest
            if early or (not options.repeat_trigrams and repeats((*said, symbol))):
                chances[symbol] = -INF
        symbol = chances.index(max(chances))
        total += chances[symbol]
        if symbol == stop:
            return Hypothesis(said, total, stopped=True)
        said, text = (*said, symbol), (*text, symbol)
    return Hypothesis(said, total)


@pytest.mark.parametrize("repeat", [True, False])
@pytest.mark.parametrize(("shortest", "longest"), [(0, 12), (5, 12), (0, 3)])
def test_a_beam_of_one_is_greedy(shortest, longest, repeat):
    options = settings(beam=1, shortest=shortest, longest=longest, repeat_trigrams=repeat)
    for seed in range(20):
        (found,) = search(Told(by_chance(seed)), beginning(3), options, STOP)
        expected = greedy(by_chance(seed), 3, options)
        assert found[::2] == expected[::2]
        assert found.log_probability == pytest.approx(expected.log_probability, abs=1e-12)


def published(logits, begin, options, stop=STOP):
    """The published search, with lists of hypotheses: symbols said, and their log-probabilities, 0 first."""
    going, results = [((), [0.0])], []
    for step in range(options.longest):
        if len(results) >= options.beam:
            break
        candidates = []
        for said, costs in going:
            chances = logits((begin, *said)).log_softmax(-1)
            for symbol in chances.argsort(descending=True)[: 2 * options.beam].tolist():
                candidates.append(((*said, symbol), [*costs, chances[symbol].item()]))
        candidates.sort(key=lambda each: sum(each[1]) / len(each[1]), reverse=True)
        going = []
        for said, costs in candidates:
            if said[-1] == stop:
                if step >= options.shortest:
                    results.append((said, costs))
            else:
                going.append((said, costs))
            if options.beam in (len(going), len(results)):
                break
    said, costs = max(results or going, key=lambda each: sum(each[1]) / len(each[1]))
    return tuple(symbol for symbol in said if symbol != stop), sum(costs) / len(costs)


@pytest.mark.parametrize("beam", [1, 2, 4])
@pytest.mark.parametrize(("shortest", "longest"), [(0, 8), (3, 8), (7, 8), (0, 2)])
def test_it_is_the_published_search(shortest, longest, beam):
    options = settings(beam=beam, shortest=shortest, longest=longest)
    for seed in range(25):
        (found,) = search(Told(by_chance(seed)), beginning(3), options, STOP)
        symbols, mean = published(by_chance(seed), 3, options)
        assert found.symbols == symbols
        assert found.score(1.0) == pytest.approx(mean, abs=1e-12)


def test_texts_are_searched_alike_alone_beside_others_and_in_any_order():
    for seed in range(5):
        options = settings(beam=3, longest=9, repeat_trigrams=bool(seed % 2))
        begin = torch.tensor([[3, 0], [2, 2], [0, 3], [2, 0], [3, 0]])
        found = search(Told(by_chance(seed)), begin, options, STOP)
        assert found[0] == found[4]
        for row, expected in zip(begin, found, strict=True):
            assert search(Told(by_chance(seed)), row[None], options, STOP) == [expected]
        order = torch.tensor([4, 2, 0, 1, 3])
        again = search(Told(by_chance(seed)), begin[order], options, STOP)
        assert again == [found[row] for row in order.tolist()]


def test_a_text_whose_search_has_ended_is_not_read_any_more():
    def logits(text):
        return torch.tensor([9.0, 0.0, 0.0, 0.0] if text[0] == 3 else [0.0, 99.0, 0.0, 0.0])

    told = Told(logits)
    long, short = search(told, beginning(3, 2), settings(beam=1, longest=4), STOP)
    assert (long.symbols, short.symbols) == ((0, 0, 0, 0), ())
    assert told.calls == [2, 1, 1, 1]


def test_of_equal_symbols_the_first_is_said():
    options = settings(beam=2, longest=3)
    (found,) = search(Told(always(0.0, 0.0, 0.0, 0.0)), beginning(2), options, stop=None)
    assert found.symbols == (0, 0, 0)
    many = torch.zeros(1000, dtype=torch.float64)
    many[700:] = 1
    (found,) = search(Told(lambda text: many), beginning(2), settings(beam=5, longest=2), stop=None)
    assert found.symbols == (700, 700)


def test_what_has_no_probability_is_never_said():
    options = settings(beam=4, longest=6)
    (found,) = search(Told(always(-INF, -INF, 0.0, -INF)), beginning(2), options, STOP)
    assert found == Hypothesis((2,) * 6, 0.0)
    for seed in range(10):
        (found,) = search(Told(by_chance(seed)), beginning(2), options, STOP, never=(0, 3))
        assert {*found.symbols} <= {2}


def test_where_nothing_can_follow_the_search_ends_with_what_was_said():
    def until_three(text):
        return torch.full((SYMBOLS,), -INF) if len(text) == 4 else torch.tensor([0.0, -INF, 0.0, 1.0])

    (found,) = search(Told(until_three), beginning(2), settings(beam=2, longest=9), STOP)
    assert found.symbols == (3, 3, 3)
    assert not found.stopped
    options = settings(beam=3, shortest=5, longest=6, repeat_trigrams=False)
    (found,) = search(Told(always(-INF, 0.0, 0.0, -INF)), beginning(2), options, STOP)
    assert found.symbols == (2, 2, 2)


@pytest.mark.parametrize("wrong", [math.nan, INF])
def test_a_model_that_predicts_no_numbers_has_diverged(wrong):
    with pytest.raises(DivergedError, match="a smaller optimizer"):
        search(Told(always(0.0, wrong, 0.0, 0.0)), beginning(2), settings(), STOP)


def test_no_three_symbols_are_said_twice_where_that_is_forbidden():
    loop = {2: 3, 3: 0, 0: 2}

    def logits(text):
        values = torch.zeros(SYMBOLS).double()
        values[loop[text[-1]]] = 5
        return values

    (free,) = search(Told(logits), beginning(2), settings(beam=2, shortest=11, longest=12), STOP)
    assert repeats(free.symbols)
    for beam in (1, 2, 5):
        options = settings(beam=beam, shortest=11, longest=12, repeat_trigrams=False)
        (found,) = search(Told(logits), beginning(2), options, STOP)
        assert len(found.symbols) == 11
        assert not repeats(found.symbols)


def test_what_is_said_is_neither_too_short_nor_too_long():
    for shortest, longest in ((0, 1), (3, 4), (4, 9)):
        for seed in range(10):
            options = settings(shortest=shortest, longest=longest)
            (found,) = search(Told(by_chance(seed)), beginning(2), options, STOP)
            assert shortest <= len(found.symbols) <= longest - found.stopped
    keen = always(0.0, 50.0, 0.0, 0.0)
    (found,) = search(Told(keen), beginning(2), settings(shortest=4, longest=9), STOP)
    assert len(found.symbols) == 4
    (found,) = search(Told(always(0.0, -50.0, 0.0, 0.0)), beginning(2), settings(longest=9), STOP)
    assert (len(found.symbols), found.stopped) == (9, False)


@pytest.mark.parametrize(("normalization", "length"), [(0.0, 0), (0.3, 0), (1.0, 3), (2.0, 3)])
def test_what_stops_early_competes_by_its_own_length(normalization, length):
    """Stopping at once: log-probability ln 0.35, length 2. After three symbols: ln 0.2145, length 5."""

    def logits(text):
        chances = {1: [0.0, 0.35, 0.65, 0.0], 4: [0.0, 0.33, 0.0, 0.67]}
        return torch.tensor(chances.get(len(text), [0.0, 0.0, 1.0, 0.0])).double().log()

    options = settings(beam=2, longest=4, length_normalization=normalization)
    (found,) = search(Told(logits), beginning(2), options, STOP)
    assert len(found.symbols) == length
    assert found.stopped


def network(core="lstm", **options):
    torch.manual_seed(0)
    cores = {
        "lstm": {"kind": "lstm", "hidden_size": 5},
        "rum": {"kind": "rum", "hidden_size": 5, "lambda": 1},
    }
    own = {"size": 4, "initial_std": 1.5, "coverage": True} | options
    model = ModelSettings.model_validate(
        {"architecture": "pointer_generator", "core": cores[core], "pointer_generator": own}
    )
    network = build_model(model, SYMBOLS, SYMBOLS).double().eval()
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.9)
    return network


# The highest are no symbols.
SOURCES = [[3, 4, 2, 4, 5], [2], [4, 0, 2], [4, 5, 6, 7, 4, 5, 3]]
BEGIN = 0


def about(sources, said=None):
    """A batch of sources; what is said starts with `BEGIN`."""
    width = max(map(len, sources))
    words = torch.tensor([[*row, *[0] * (width - len(row))] for row in sources])
    targets = torch.tensor([[0]] * len(sources) if said is None else said)
    inputs = torch.cat([torch.full_like(targets[:, :1], BEGIN), targets[:, :-1]], 1)
    return SourceBatch(
        inputs,
        targets,
        torch.ones(targets.shape).double(),
        torch.ones(len(sources), dtype=torch.bool),
        source=words.where(words < SYMBOLS, 0),
        source_words=words,
        source_lengths=torch.tensor([len(row) for row in sources]),
    )


def summaries(model, sources, options, never=()):
    batch = about(sources)
    return search(Reader(model, options.longest, about=batch), batch.inputs, options, STOP, never)


@pytest.mark.parametrize("core", ["lstm", "rum"])
@pytest.mark.parametrize("pointer", [True, False])
def test_summaries_have_the_probability_that_training_would_give_them(core, pointer):
    model, options = network(core, pointer=pointer), settings(beam=3, shortest=2, longest=6)
    found = summaries(model, SOURCES, options)
    for source, summary in zip(SOURCES, found, strict=True):
        said = [*summary.symbols, *([STOP] if summary.stopped else [])]
        nll = model.step(about([source], [said]), None).nll_sum.item()
        assert summary.log_probability == pytest.approx(-nll, abs=1e-9)
        assert all(symbol < SYMBOLS or (pointer and symbol in source) for symbol in said)


@pytest.mark.parametrize("core", ["lstm", "rum"])
def test_a_full_beam_finds_the_likeliest_summary_words_of_the_source_included(core):
    model, source = network(core), [4, 3, 5]
    options = settings(beam=6**3, shortest=1, longest=3, length_normalization=0.5)
    (found,) = summaries(model, [source], options)
    best = -INF
    for length in (1, 2):
        said = [[*words, STOP] for words in product([0, 2, 3, 4, 5], repeat=length)]
        losses = model.step(about([source] * len(said), said), None).losses.sum(1)
        best = max(best, (-losses / (length + 2) ** 0.5).max().item())
    assert found.score(0.5) == pytest.approx(best, abs=1e-9)


@pytest.mark.parametrize("options", [{"beam": 1}, {"beam": 4, "repeat_trigrams": False}], ids=str)
def test_summaries_do_not_depend_on_what_is_summarised_beside(options):
    model, options = network(), settings(shortest=3, longest=12, **options)
    together = summaries(model, SOURCES, options)
    for rows in ([0], [1], [2], [3], [3, 1], [2, 1, 0]):
        found = summaries(model, [SOURCES[row] for row in rows], options)
        for row, summary in zip(rows, found, strict=True):
            assert summary.symbols == together[row].symbols
            assert summary.log_probability == pytest.approx(together[row].log_probability, abs=1e-9)


def test_each_symbol_of_a_summary_is_read_once():
    model, read, steps = network(), [], []
    model.reader.register_forward_hook(lambda *_: read.append(1))
    model.decoder.register_forward_hook(lambda module, given, _: steps.append(given[0].shape[1]))
    summaries(model, SOURCES, settings(beam=2, shortest=7, longest=8))
    assert len(read) == 1
    assert steps == [1] * 8


def test_settings_that_leave_no_room_to_stop_are_refused_with_a_cure():
    with pytest.raises(ValueError, match="leaves no room to stop; make longest larger than shortest"):
        BeamSearchSettings(shortest=100, longest=100)
