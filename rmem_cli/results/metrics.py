"""The metrics a result row may carry: what each is made of, and how it is read and printed."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from itertools import chain

from rmem_cli.errors import UsageError, closest
from rmem_cli.results.bootstrap import bootstrap_interval

_LARGEST_EXPONENT = 700.0  # a perplexity beyond says nothing more, and would overflow


@dataclass
class Sums:
    """Over all positions of an evaluation; every metric is a function of them.

    Attributes:
        nll: Weighted negative log-likelihood in nats, or squared error.
        weight: Sum of the weights.
        correct: Answers that were right.
        answers: Answers that were due; 0 if numbers are predicted, or no metric asked for answers.
        exact: Examples all of whose answers were right, of tasks that ask for it.
        found: Right answers that are class 1; F1 is that of this class, where there are two.
        examples: Examples seen.
        scores: What each summary was worth, by the name of the metric, in the order of the articles.
        told: What they told altogether, where each is asked for one of the things that it told.
        parts: The same over each part of the task that was seen, by its number in `TaskSettings.parts`.
    """

    nll: float = 0.0
    weight: float = 0.0
    correct: int = 0
    answers: int = 0
    exact: int = 0
    found: int = 0
    examples: int = 0
    scores: dict[str, list[float]] = field(default_factory=dict)
    told: int = 0
    parts: dict[int, "Sums"] = field(default_factory=dict)

    def metric(self, name: str) -> float:
        """The value of a metric.

        Raises:
            UsageError: There is none of this name.
        """
        return metric(name).of(self)


def sum_of(several: Sequence[Sums]) -> Sums:
    """The sums over all that several are over, of parts as well; scores follow one another."""
    if len(several) == 1:
        return several[0]
    counts = {each.name for each in fields(Sums)} - {"scores", "parts"}
    total = Sums(**{name: sum(getattr(each, name) for each in several) for name in counts})
    for name in dict.fromkeys(chain.from_iterable(each.scores for each in several)):
        total.scores[name] = [score for each in several for score in each.scores.get(name, [])]
    for part in sorted({*chain.from_iterable(each.parts for each in several)}):
        total.parts[part] = sum_of([each.parts[part] for each in several if part in each.parts])
    return total


@dataclass(frozen=True)
class Metric:
    """A measured quantity.

    Attributes:
        name: Name in recipes, result rows and tables.
        unit: Unit of the stored values.
        higher_is_better: Whether a larger value is the better one.
        digits: Digits after the decimal point when printed.
        of: Its value, from the sums of an evaluation.
        asks_for_answers: Whether the most probable answers have to be looked for, which costs a language
            model as much as its loss.
        asks_for_summaries: Whether it is a mean of scores of what a model says about articles.
    """

    name: str
    unit: str
    higher_is_better: bool
    digits: int
    of: Callable[[Sums], float]
    asks_for_answers: bool = False
    asks_for_summaries: bool = False

    @property
    def is_share(self) -> bool:
        """Whether its values are from 0 to 1."""
        return self.unit in ("fraction", "F1")

    def interval(self, sums: Sums) -> tuple[float, float] | None:
        """The 95 % interval of its value over articles, by bootstrap; None: it is no mean over articles."""
        return bootstrap_interval(sums.scores[self.name]) if self.asks_for_summaries else None


def _loss(sums: Sums) -> float:
    return sums.nll / sums.weight


def _bits(sums: Sums) -> float:
    return _loss(sums) / math.log(2)


def _perplexity(sums: Sums) -> float:
    return math.exp(min(_loss(sums), _LARGEST_EXPONENT))


def _accuracy(sums: Sums) -> float:
    return sums.correct / sums.answers


def _exact_match(sums: Sums) -> float:
    return sums.exact / sums.examples


def _pairs_kept(sums: Sums) -> float:
    """What one answer in so many says of all that could have been asked for."""
    return _exact_match(sums) * sums.told / sums.examples


def _f1(sums: Sums) -> float:
    wrong = sums.answers - sums.correct
    return 2 * sums.found / max(1, 2 * sums.found + wrong)


def _mean_score(name: str) -> Metric:
    """The mean over articles of a score of their summaries."""
    return Metric(
        name,
        "fraction",
        higher_is_better=name != REPEATED_TRIGRAMS,
        digits=4,
        of=lambda sums: sum(sums.scores[name]) / len(sums.scores[name]),
        asks_for_summaries=True,
    )


REPEATED_TRIGRAMS = "repeated_trigrams"
ROUGE = tuple(f"rouge_{kind}{of}" for of in ("", "_precision", "_recall") for kind in ("1", "2", "l"))
"""F1, then precision and recall, of single words, pairs of words, and longest common subsequences."""
METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("accuracy", "fraction", True, 3, _accuracy, asks_for_answers=True),
        Metric("exact_match", "fraction", True, 3, _exact_match, asks_for_answers=True),
        Metric("pairs_kept", "pairs", True, 2, _pairs_kept, asks_for_answers=True),
        Metric("f1", "F1", True, 3, _f1, asks_for_answers=True),
        Metric("loss", "nats per symbol", False, 4, _loss),
        Metric("bpc", "bits per character", False, 3, _bits),
        Metric("perplexity", "perplexity", False, 2, _perplexity),
        Metric("mse", "squared error", False, 4, _loss),
        *map(_mean_score, (*ROUGE, REPEATED_TRIGRAMS)),
    )
}


def metric(name: str) -> Metric:
    """The metric of a name.

    Raises:
        UsageError: There is no such metric; the message names the closest one.
    """
    if name not in METRICS:
        raise UsageError(f"unknown metric {name!r}; {closest(name, METRICS)}")
    return METRICS[name]
