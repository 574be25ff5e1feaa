"""What a model reaches on a task without the ability that the task asks for."""

import csv
import math
from functools import cache
from importlib.resources import files
from statistics import NormalDist
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

_MOST_COUNTED = 5_000  # draws, whose exact shares are found soon
_MOST_LISTED = 10_000  # occurrences of a value on average, whose probabilities are listed one by one
_NEGLIGIBLE = 1e-10
_MOST_TOLD = 20
_ASKED = 400_000  # keys of all draws of pairs
_DRAWN_AT_ONCE = 500_000  # pairs
OCCURRED = "knowing which answers occurred, not where"
OCCURRED_WHEN = "knowing which answers occurred and when, not of which keys"


def expected_largest_count(draws: int, values: int) -> float:
    """How often the most frequent of some equally likely values occurs among independent draws, on average.

    Exact to rounding; of more than 5,000 draws, counts are taken to be independent, which is right to 0.1 %.

    Args:
        draws: How many draws, at least one.
        values: How many values, at least two.
    """
    import numpy as np

    mean = draws / values
    if mean > _MOST_LISTED:
        return mean + math.sqrt(mean) * _expected_largest_normal(values)
    if draws > _MOST_COUNTED:
        return _expected_largest_poisson(mean, values)
    # Counts are Poisson numbers whose sum is known: the share of draws without a larger one than `limit` is
    # that of Poisson numbers up to `limit` whose sum is `draws`, over that of all whose sum is.
    poisson = _poisson(mean, np.arange(draws + 1))
    all_sums = _poisson(draws, np.array([draws])).item()
    size = 1 << (2 * draws + 100).bit_length()  # a sum beyond it, which falls on a small one, never comes
    least = -(-draws // values)
    expected = float(least)
    for limit in range(least, draws):
        spectrum = np.fft.rfft(poisson[: limit + 1], size)
        sums = np.fft.irfft(spectrum**values, size)
        missing = 1 - float(sums[draws]) / all_sums
        if missing < _NEGLIGIBLE:
            break
        expected += missing
    return expected


@cache
def share_of_late_values(pairs: int, keys: int, values: int) -> float:
    """How often a value is named right by who knows the values of a series of pairs in order, and no key.

    Keys come again, and the last value of each counts, so that a late value is more likely to count than an
    early one: the value with the best sum of these chances is named. A key is asked for that occurred, each
    as likely. Found by draws that are always the same, of which there are so many that others give the same
    to some 0.001.

    Args:
        pairs: How many pairs there are, at least one.
        keys: How many keys they are drawn from, each as likely.
        values: Likewise.
    """
    import numpy as np

    random = np.random.default_rng(0)
    counts = (1 - 1 / keys) ** np.arange(pairs)  # the last first
    right = 0.0
    wanted, at_once = _ASKED // min(pairs, keys) + 1, _DRAWN_AT_ONCE // pairs + 1
    for first in range(0, wanted, at_once):
        draws = np.arange(min(at_once, wanted - first))[:, None]
        key, value = (random.integers(each, size=(len(draws), pairs)) for each in (keys, values))
        sums = np.bincount((draws * values + value).ravel(), np.tile(counts, len(draws)), len(draws) * values)
        is_named = value == sums.reshape(-1, values).argmax(1)[:, None]  # [draws, pairs]
        occurred, lasts = np.unique(draws * keys + key, return_index=True)
        drawn = occurred // keys
        right += (np.bincount(drawn, is_named.flat[lasts]) / np.bincount(drawn)).sum()
    return float(right) / wanted


def _poisson(mean: float, numbers: "np.ndarray") -> "np.ndarray":
    """Probabilities of numbers of occurrences."""
    import numpy as np

    factorials = np.array([math.lgamma(number + 1) for number in numbers.tolist()])
    found: np.ndarray = np.exp(numbers * math.log(mean) - mean - factorials)
    return found


def _expected_largest_poisson(mean: float, values: int) -> float:
    """The largest of some independent Poisson numbers, on average."""
    import numpy as np

    beyond = _poisson(mean, np.arange(round(mean + 15 * math.sqrt(mean) + 100)))
    at_least = beyond[::-1].cumsum()[::-1][1:]  # 1 or more, 2 or more, ...
    return float(-np.expm1(values * np.log1p(-np.minimum(at_least, 1 - 1e-16))).sum())


def _expected_largest_normal(values: int) -> float:
    """The largest of some independent standard normal numbers, on average."""
    import numpy as np

    # The integral over what is above zero of 1 - F^n - (1 - F)^n, where F is the normal distribution.
    points = np.linspace(0, 10, 10_001)
    below = np.array([NormalDist().cdf(point) for point in points])
    return float(np.trapezoid(1 - below**values - (1 - below) ** values, points))


def plateaus(loss: float, symbols: int) -> str:
    """Where the loss of repeating symbols rests while some of them are not kept, in words.

    Args:
        loss: The loss where none is kept.
        symbols: How many there are; each has an equal part in it.
    """
    told = [f"{loss * (symbols - kept) / symbols:.4f}" for kept in range(1, min(symbols, _MOST_TOLD + 1))]
    rests = ", ".join(told if symbols <= _MOST_TOLD + 1 else [*told, "and so on"])
    return f"a loss rests where some of the {symbols} symbols are kept: from one on, {rests}"


@cache
def unigrams() -> dict[tuple[str, str, str], tuple[float, float]]:
    """Loss in nats and accuracy of the unigram model on texts, by (data set, form, split).

    They were computed from the texts by `rmem_cli.data.unigram`, and stand in a table so that a report says
    the same wherever it is made.
    """
    text = files("rmem_cli.tasks").joinpath("unigrams.csv").read_text(encoding="utf-8")
    return {
        (row["dataset"], row["form"], row["split"]): (float(row["loss"]), float(row["accuracy"]))
        for row in csv.DictReader(text.splitlines())
    }
