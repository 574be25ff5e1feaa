"""Means, spreads and 95 % intervals of a handful of runs."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

CONFIDENCE = 0.95
_UPPER = (1 + CONFIDENCE) / 2  # the quantile at the upper end of an interval


@dataclass(frozen=True)
class Interval:
    """All values from `low` to `high`."""

    low: float
    high: float


def mean(values: Sequence[float]) -> float:
    """Arithmetic mean, rounded once: that of equal numbers is the number.

    Args:
        values: At least one number.
    """
    return float(statistics.mean(map(float, values)))


def sample_sd(values: Sequence[float]) -> float | None:
    """Standard deviation of a sample (divisor n - 1), rounded once; None for fewer than two values."""
    return statistics.stdev(map(float, values)) if len(values) > 1 else None


def _scaled(values: Sequence[float]) -> tuple[list[float], int]:
    """Values by a power of two, so that neither their sum nor their squares overflow, and its exponent."""
    exponent = max(math.frexp(value)[1] for value in values)
    return [math.ldexp(value, -exponent) for value in values], exponent


def one_sample_interval(difference: float, sd: float, n: int) -> Interval:
    """95 % interval of a mean of n values minus a number that is taken as exact.

    Args:
        difference: The mean minus the number.
        sd: Sample standard deviation of the values.
        n: How many values, at least two.
    """
    half = half_width(sd, n)
    return Interval(difference - half, difference + half)


def single_run_interval(difference: float, sd: float, n: int) -> Interval:
    """95 % interval of the difference of two means, where all that is known of the other is one run.

    That run is taken to vary as much as ours do: the interval is that in which one more of them would lie.

    Args:
        difference: The mean of ours minus the other run.
        sd: Sample standard deviation of ours.
        n: How many there are, at least two.
    """
    half = t_quantile(_UPPER, n - 1) * sd * math.sqrt(1 + 1 / n)
    return Interval(difference - half, difference + half)


def half_width(sd: float, n: int) -> float:
    """Half of the 95 % interval of a mean of n values, at least two, of this sample standard deviation."""
    return t_quantile(_UPPER, n - 1) * sd / math.sqrt(n)


def least_half_width(other_sd: float, other_n: int, n: int) -> float:
    """The least that `welch_interval` can have on each side, whatever the values of the first mean are.

    It is not that of values that do not vary: a little of their own variance adds degrees of freedom.

    Args:
        other_sd: Sample standard deviation of the other mean's values.
        other_n: How many there are, at least two.
        n: How many values the first mean has, at least two.
    """
    return other_sd * _least_half_width(other_n, n)


@lru_cache(maxsize=1000)
def _least_half_width(other_n: int, n: int) -> float:
    """`least_half_width` in standard deviations of the other mean's values."""
    ratios = [0.0, *(10 ** (exponent / 50) for exponent in range(-150, 51))]
    return min(welch_interval(0.0, ratio, n, 1.0, other_n).high for ratio in ratios)


def welch_interval(difference: float, sd: float, n: int, other_sd: float, other_n: int) -> Interval:
    """95 % interval of the difference of two means whose variances may differ (Welch, 1947).

    Args:
        difference: The first mean minus the other.
        sd: Sample standard deviation of the first.
        n: How many values it has, at least two.
        other_sd: Sample standard deviation of the other.
        other_n: How many values it has, at least two.
    """
    (sd, other_sd), exponent = _scaled([sd, other_sd])
    first, other = sd**2 / n, other_sd**2 / other_n
    variance = first + other
    if variance == 0:
        return Interval(difference, difference)
    # Shares of the variance, not variances, so that tiny ones do not vanish when squared.
    freedom = 1 / ((first / variance) ** 2 / (n - 1) + (other / variance) ** 2 / (other_n - 1))
    half = math.ldexp(t_quantile(_UPPER, freedom) * math.sqrt(variance), exponent)
    return Interval(difference - half, difference + half)


def wilson_interval(successes: float, trials: int) -> Interval:
    """95 % interval of a probability (Wilson, 1927), sensible for few trials and for 0 % and 100 %.

    Args:
        successes: Trials that succeeded; need not be whole, as a mean over several series is not.
        trials: All trials, at least one.
    """
    z = statistics.NormalDist().inv_cdf(_UPPER)
    share = successes / trials
    centre = (share + z**2 / (2 * trials)) / (1 + z**2 / trials)
    half = z * math.sqrt(share * (1 - share) / trials + z**2 / (4 * trials**2)) / (1 + z**2 / trials)
    # At the ends the bound is the end itself, which rounding would miss.
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == trials else min(1.0, centre + half)
    return Interval(low, high)


@lru_cache(maxsize=1000)
def t_quantile(probability: float, freedom: float) -> float:
    """Quantile of Student's t distribution, by bisection of its distribution function.

    Args:
        probability: Between 0.5 and 1, exclusive of 1.
        freedom: Degrees of freedom, above 0; need not be whole.
    """
    low, high = 0.0, 1.0
    while t_probability(high, freedom) < probability:
        low, high = high, 2 * high
    while low < (middle := (low + high) / 2) < high:
        if t_probability(middle, freedom) < probability:
            low = middle
        else:
            high = middle
    return high


def t_probability(t: float, freedom: float) -> float:
    """Distribution function of Student's t at t >= 0, by the incomplete beta function."""
    x = freedom / (freedom + t * t)
    return 1 - 0.5 * _incomplete_beta(freedom / 2, 0.5, x, t * t / (freedom + t * t))


def _incomplete_beta(a: float, b: float, x: float, y: float) -> float:
    """Regularised incomplete beta function I_x(a, b); y is 1 - x, without the loss of subtracting."""
    if x <= 0 or y <= 0:
        return float(x > 0)
    if x > (a + 1) / (a + b + 2):  # the fraction converges fast on the other side only
        return 1 - _incomplete_beta(b, a, y, x)
    log_front = a * math.log(x) + b * math.log(y) + math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    return math.exp(log_front) / (a * _continued_fraction(a, b, x))


def _continued_fraction(a: float, b: float, x: float) -> float:
    """The continued fraction 1 + d1/(1 + d2/(1 + ...)) of the incomplete beta function, by Lentz's method.

    Its coefficients are equation 8.17.23 of the NIST Digital Library of Mathematical Functions.
    """
    value, numerator, denominator = 1.0, 1.0, 0.0
    for k in range(1, 1000):
        m = k // 2
        if k % 2:
            coefficient = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        else:
            coefficient = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        denominator = 1 / (1 + coefficient * denominator)
        numerator = 1 + coefficient / numerator
        value *= numerator * denominator
        if abs(numerator * denominator - 1) < 1e-15:
            break
    return value
