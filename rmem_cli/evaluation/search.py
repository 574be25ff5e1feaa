"""Looking for the likeliest that a model can say: greedy search and beam search."""

import math
from collections.abc import Collection, Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from rmem_cli.errors import DivergedError
from rmem_cli.recipe.schema import BeamSearchSettings


class Predictor(Protocol):
    """Reads texts side by side, and tells after each symbol what may come next; such as a `Reader`."""

    def read(self, symbols: Tensor, /) -> Tensor:
        """Logits `[texts, classes]` of what follows symbols `[texts, time]`, read from where each text is."""
        ...

    def select(self, rows: Tensor, /) -> None:
        """Go on with some of the texts, by their numbers `[n]`, in any order and as often as wanted."""
        ...


class Hypothesis(NamedTuple):
    """Something that may be said.

    Attributes:
        symbols: What is said, without the symbol that stops it.
        log_probability: Of all of it, in nats, that of stopping included.
        stopped: Whether it has come to its end.
    """

    symbols: tuple[int, ...] = ()
    log_probability: float = 0.0
    stopped: bool = False

    def score(self, normalization: float) -> float:
        """The log-probability over a power of the length, which counts the symbols that begin and stop it."""
        return float(self.log_probability / (1 + len(self.symbols) + self.stopped) ** normalization)


class _Offer(NamedTuple):
    """A symbol that may follow, and its log-probability."""

    symbol: int
    log_probability: float


@torch.no_grad()
def search(
    predictor: Predictor,
    beginnings: Tensor,
    settings: BeamSearchSettings,
    stop: int | None = None,
    never: Collection[int] = (),
) -> list[Hypothesis]:
    """The best that is found to be said after each of some beginnings.

    At each step, all hypotheses about a beginning are continued by every symbol, and the `beam` likeliest
    that do not stop go on. Those that stop and are likelier than the last of these are put aside. When as
    many have been put aside as the beam is wide, or after `longest` symbols, the one with the best score wins
    (see `Hypothesis.score`); what has not stopped by then counts only where nothing has. So a hypothesis that
    stops early competes by its own length with longer ones that stop later. Of equal ones, the one wins that
    was ahead a step before, and then the symbol of the smaller number.

    Symbols that would repeat three in a row, that may never be said, or that would stop too early have no
    probability; what is left is not scaled up. Where nothing is left, what has been said so far is it.

    Args:
        predictor: Has read nothing.
        beginnings: `[texts, time]`, what is read before anything is said, such as the symbol that starts.
        settings: Size of the beam, lengths, and what scores.
        stop: The symbol that stops a hypothesis; None: all are as long as may be.
        never: Symbols that are never said.

    Returns:
        The best hypothesis about each beginning, which depends on no other beginning.

    Raises:
        DivergedError: The model predicts what is no number.

    Source: See et al. 2017 and the published code of Dangovski et al. 2019, which search in this way, with
    `length_normalization` 1.
    """
    beams = [_Beam(settings.beam, stop) for _ in range(len(beginnings))]
    going, symbols = beams, beginnings
    for said in range(settings.longest):
        excluded = [*never, *([stop] if stop is not None and said < settings.shortest else [])]
        chances = _log_probabilities(predictor.read(symbols), excluded)
        if not settings.repeat_trigrams:
            _exclude_repeated(chances, [hypothesis for beam in going for hypothesis in beam.going])
        rows = _go_on(going, _likeliest(chances, settings.beam + 1))
        going = [beam for beam in going if beam.going]
        if not going:
            break
        if rows != list(range(len(chances))):
            predictor.select(torch.tensor(rows))
        last = [hypothesis.symbols[-1] for beam in going for hypothesis in beam.going]
        symbols = torch.tensor(last)[:, None]
    return [beam.best(settings.length_normalization) for beam in beams]


def no_number() -> DivergedError:
    """What is raised where a model does not say what may come next."""
    return DivergedError("the model predicts what is no number; a smaller optimizer.lr may help")


class _Beam:
    """The hypotheses about one beginning.

    Args:
        size: How many go on at each step.
        stop: The symbol that stops one; None: none does.

    Attributes:
        going: Those that go on; none when the search has ended.
    """

    def __init__(self, size: int, stop: int | None) -> None:
        self.going = [Hypothesis()]
        self._size = size
        self._stop = stop
        self._stopped: list[Hypothesis] = []
        self._last = self.going  # those that went on last

    def go_on(self, offers: Sequence[Sequence[_Offer]]) -> list[int]:
        """Continue the hypotheses by a symbol.

        Args:
            offers: Of each hypothesis, the symbols that may follow, the likeliest first.

        Returns:
            Of each hypothesis that goes on now, the place of the one that it continues.
        """
        steps = [
            (hypothesis.log_probability + offer.log_probability, place, offer.symbol)
            for place, (hypothesis, offered) in enumerate(zip(self.going, offers, strict=True))
            for offer in offered
            if offer.log_probability > -math.inf
        ]
        steps.sort(key=lambda step: -step[0])  # equal ones stay in their order
        going: list[Hypothesis] = []
        places: list[int] = []
        for log_probability, place, symbol in steps:
            if self._size in (len(going), len(self._stopped)):
                break
            said = self.going[place].symbols
            if symbol == self._stop:
                self._stopped.append(Hypothesis(said, log_probability, stopped=True))
            else:
                going.append(Hypothesis((*said, symbol), log_probability))
                places.append(place)
        if len(self._stopped) == self._size:
            going, places = [], []
        self.going, self._last = going, going or self._last
        return places

    def best(self, normalization: float) -> Hypothesis:
        """The one of the best score: of those that have stopped, or of those that went on last."""
        return max(self._stopped or self._last, key=lambda hypothesis: hypothesis.score(normalization))


def _go_on(beams: Sequence[_Beam], offers: Sequence[Sequence[_Offer]]) -> list[int]:
    """Continue all hypotheses, whose offers stand one after the other; the old rows of those that go on."""
    rows, first = [], 0
    for beam in beams:
        behind = first + len(beam.going)
        rows += [first + place for place in beam.go_on(offers[first:behind])]
        first = behind
    return rows


def _log_probabilities(logits: Tensor, excluded: Sequence[int]) -> Tensor:
    """`[texts, classes]`, minus infinity for what is excluded."""
    if not bool((logits < torch.inf).all()):
        raise no_number()
    impossible = logits.isneginf()  # if all are, none has a probability
    impossible[:, excluded] = True
    return logits.log_softmax(-1).masked_fill(impossible, -torch.inf)


def _exclude_repeated(chances: Tensor, hypotheses: Sequence[Hypothesis]) -> None:
    """Take what would say three symbols again in the same order from the chances `[hypotheses, classes]`."""
    for row, (symbols, *_) in enumerate(hypotheses):
        triples = zip(symbols, symbols[1:], symbols[2:], strict=False)
        repeated = [third for *two, third in triples if tuple(two) == symbols[-2:]]
        chances[row, repeated] = -torch.inf


def _likeliest(chances: Tensor, count: int) -> list[list[_Offer]]:
    """The likeliest symbols of each row, the first of equal ones first: `topk` takes any of equal ones."""
    count = min(count, chances.shape[-1])
    least = chances.topk(count).values[:, -1:]
    above, equal = chances > least, chances == least
    taken = above | (equal & (equal.cumsum(-1) <= count - above.sum(-1, keepdim=True)))
    symbols = taken.nonzero()[:, 1].view(-1, count)
    ordered = chances.gather(-1, symbols).sort(dim=-1, descending=True, stable=True)
    pairs = zip(symbols.gather(-1, ordered.indices).tolist(), ordered.values.tolist(), strict=True)
    return [[_Offer(*each) for each in zip(*row, strict=True)] for row in pairs]
