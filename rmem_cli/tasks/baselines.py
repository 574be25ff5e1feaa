"""What a model reaches on a task without the ability that the task asks for."""

import csv
import math
from functools import cache
from importlib.resources import files

OCCURRED = "knowing which answers occurred, not where"


def expected_largest_count(draws: int, values: int) -> float:
    """How often the most frequent of some equally likely values occurs among independent draws, on average.

    Args:
        draws: How many draws.
        values: How many values.
    """
    # P(no value more than c times) = draws! [z^draws] (sum of z^k / k! for k <= c)^values / values^draws
    below = [_share_of_sequences(draws, values, limit) for limit in range(draws)]
    return math.fsum(1 - share for share in below)


def _share_of_sequences(draws: int, values: int, limit: int) -> float:
    """The share of all sequences of draws in which no value occurs more often than `limit` times."""
    counts = [1] + [0] * draws  # sequences of so many draws that the values so far can make
    for _ in range(values):
        counts = [
            sum(math.comb(n, k) * counts[n - k] for k in range(min(n, limit) + 1)) for n in range(draws + 1)
        ]
    return float(counts[draws] / values**draws)


def plateaus(loss: float, symbols: int) -> str:
    """Where the loss of repeating symbols rests while some of them are not kept, in words.

    Args:
        loss: The loss where none is kept.
        symbols: How many there are; each has an equal part in it.
    """
    rests = ", ".join(f"{loss * (symbols - kept) / symbols:.4f}" for kept in range(1, symbols))
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
