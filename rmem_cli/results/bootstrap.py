"""How sure a mean over examples is, whatever their distribution."""

from collections.abc import Sequence

_RESAMPLES = 1000


def bootstrap_interval(scores: Sequence[float]) -> tuple[float, float]:
    """The 95 % interval of a mean: the percentiles of the means of examples drawn again with replacement.

    It depends on the scores and their order alone.

    Args:
        scores: Of the examples, at least one.

    Source: Efron 1979; ROUGE-1.5.5 draws 1,000 times as well.
    """
    import numpy as np

    values, source = np.asarray(scores, np.float64), np.random.default_rng(0)
    means = [values[source.integers(len(values), size=len(values))].mean() for _ in range(_RESAMPLES)]
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)
