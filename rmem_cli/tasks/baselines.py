"""What a model reaches on a task without the ability that the task asks for."""

import csv
import math
from functools import cache
from importlib.resources import files
from statistics import NormalDist

_MOST_COUNTED = 5_000
_NEGLIGIBLE = 1e-10
_MOST_TOLD = 20
OCCURRED = "knowing which answers occurred, not where"


def expected_largest_count(draws: int, values: int) -> float:
    """How often the most frequent of some equally likely values occurs among independent draws, on average.

    Exact to rounding; of more than 5,000 draws, counts are taken to be normal, which is right to 0.1 %.

    Args:
        draws: How many draws, at least one.
        values: How many values, at least two.
    """
    import numpy as np

    mean = draws / values
    if draws > _MOST_COUNTED:
        return mean + math.sqrt(mean) * _expected_largest_normal(values)
    # Counts are Poisson numbers whose sum is known: the share of draws without a larger one than `limit` is
    # that of Poisson numbers up to `limit` whose sum is `draws`, over that of all whose sum is.
    numbers = np.arange(draws + 1)
    factorials = np.array([math.lgamma(number + 1) for number in numbers])
    poisson = np.exp(numbers * math.log(mean) - mean - factorials)
    all_sums = math.exp(draws * math.log(draws) - draws - factorials[-1])
    least = -(-draws // values)
    expected = float(least)
    for limit in range(least, draws):
        size = 1 << (values * limit).bit_length()
        spectrum = np.fft.rfft(poisson[: limit + 1], size)
        sums = np.fft.irfft(np.multiply.reduce([spectrum] * values), size)
        missing = 1 - float(sums[draws]) / all_sums
        if missing < _NEGLIGIBLE:
            break
        expected += missing
    return expected


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
