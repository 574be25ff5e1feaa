import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmem_cli.report.statistics import (
    half_width,
    least_half_width,
    mean,
    one_sample_interval,
    sample_sd,
    t_probability,
    t_quantile,
    welch_interval,
    wilson_interval,
)

# The usual printed table of Student's t, to its three digits.
T_TABLE = {
    1: (3.078, 6.314, 12.706, 31.821, 63.657),
    2: (1.886, 2.920, 4.303, 6.965, 9.925),
    3: (1.638, 2.353, 3.182, 4.541, 5.841),
    4: (1.533, 2.132, 2.776, 3.747, 4.604),
    5: (1.476, 2.015, 2.571, 3.365, 4.032),
    10: (1.372, 1.812, 2.228, 2.764, 3.169),
    20: (1.325, 1.725, 2.086, 2.528, 2.845),
    30: (1.310, 1.697, 2.042, 2.457, 2.750),
    120: (1.289, 1.658, 1.980, 2.358, 2.617),
}
numbers = st.floats(-1e3, 1e3)
spreads = st.floats(0, 1e3)


@pytest.mark.parametrize("freedom", T_TABLE)
def test_t_quantiles_are_those_of_the_printed_table(freedom):
    found = [round(t_quantile(p, freedom), 3) for p in (0.9, 0.95, 0.975, 0.99, 0.995)]
    assert found == list(T_TABLE[freedom])


@pytest.mark.parametrize("probability", [0.5, 0.6, 0.9, 0.975, 0.9999])
def test_t_quantiles_agree_with_the_closed_forms_of_one_and_two_degrees(probability):
    cauchy = math.tan(math.pi * (probability - 0.5))
    tail = 4 * probability * (1 - probability)
    two = 2 * (probability - 0.5) * math.sqrt(2 / tail)
    assert t_quantile(probability, 1) == pytest.approx(cauchy, rel=1e-9, abs=1e-9)
    assert t_quantile(probability, 2) == pytest.approx(two, rel=1e-9, abs=1e-9)


def test_t_approaches_the_normal_distribution():
    assert t_quantile(0.975, 1e7) == pytest.approx(statistics.NormalDist().inv_cdf(0.975), abs=1e-6)


@given(st.floats(0.5, 0.999), st.floats(0.5, 200))
def test_a_quantile_has_its_probability(probability, freedom):
    assert t_probability(t_quantile(probability, freedom), freedom) == pytest.approx(probability, abs=1e-9)


@given(st.lists(numbers, min_size=2, max_size=8))
def test_mean_and_deviation_agree_with_the_standard_library(values):
    assert mean(values) == pytest.approx(statistics.fmean(values), abs=1e-9)
    assert sample_sd(values) == pytest.approx(statistics.stdev(values), rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("power", [-900, 0, 1020])
def test_neither_the_largest_numbers_nor_the_smallest_change_their_digits(power):
    values = [math.ldexp(value, power) for value in (1.0, 1.25, 3.0, 8.0)]
    assert mean(values) == math.ldexp(3.3125, power)
    assert sample_sd(values) == math.ldexp(statistics.stdev([1.0, 1.25, 3.0, 8.0]), power)
    (one, other) = (welch_interval(0.0, size, 3, 2 * size, 4) for size in (1.0, math.ldexp(1.0, power)))
    assert (other.low, other.high) == (math.ldexp(one.low, power), math.ldexp(one.high, power))


@pytest.mark.parametrize("count", [3, 7, 60])
def test_the_mean_of_equal_numbers_is_the_number_and_they_do_not_vary(count):
    for number in range(1, 1000):
        values = [number / 1000] * count
        assert (mean(values), sample_sd(values)) == (number / 1000, 0.0)


def test_means_of_three_digits_are_told_from_a_bound_of_three_digits():
    thousandths = [(949, 950, 951), (900, 950, 1000), (948, 950, 952), (940, 955, 955)]
    assert {mean([value / 1000 for value in values]) for values in thousandths} == {0.95}


@pytest.mark.parametrize(("other_n", "n"), [(2, 3), (3, 3), (3, 5), (10, 3)])
def test_no_sample_has_a_narrower_interval_than_the_least(other_n, n):
    least = least_half_width(0.02, other_n, n)
    widths = [
        welch_interval(0.0, 0.02 * ratio / 1000, n, 0.02, other_n).high for ratio in range(0, 10_000, 7)
    ]
    assert least == pytest.approx(min(widths), rel=1e-3)
    # Values that do not vary have the interval of the other mean alone.
    assert widths[0] == pytest.approx(half_width(0.02, other_n))
    assert least <= widths[0] * (1 + 1e-9)


def test_one_value_has_no_deviation():
    assert sample_sd([1.0]) is None


def test_an_interval_of_three_runs_around_an_exact_number():
    values = [1.0, 2.0, 3.0]
    found = one_sample_interval(mean(values) - 0.5, 1.0, 3)
    half = 4.302652729911275 / math.sqrt(3)
    assert (found.low, found.high) == pytest.approx((1.5 - half, 1.5 + half), abs=1e-9)


def test_welch_interval_of_a_worked_example():
    # s1²/n1 = 0.4, s2²/n2 = 0.1: freedom 0.25 / (0.16/9 + 0.01/9) = 225/17
    found = welch_interval(3.0, 2.0, 10, 1.0, 10)
    half = t_quantile(0.975, 225 / 17) * math.sqrt(0.5)
    assert (found.low, found.high) == pytest.approx((3 - half, 3 + half), abs=1e-12)
    assert half == pytest.approx(2.1564 * math.sqrt(0.5), abs=1e-3)


@given(numbers, spreads, st.integers(2, 9), spreads, st.integers(2, 9))
def test_intervals_contain_the_difference(difference, sd, n, other_sd, other_n):
    for found in (
        one_sample_interval(difference, sd, n),
        welch_interval(difference, sd, n, other_sd, other_n),
    ):
        assert found.low <= difference <= found.high
        assert math.isfinite(found.low)
        assert math.isfinite(found.high)


@given(numbers, st.floats(1e-3, 1e3), st.integers(2, 9))
def test_against_a_number_that_never_varies_welch_is_the_one_sample_interval(difference, sd, n):
    exact = one_sample_interval(difference, sd, n)
    found = welch_interval(difference, sd, n, 0.0, 5)
    assert (found.low, found.high) == pytest.approx((exact.low, exact.high))


@pytest.mark.parametrize(
    ("solved", "seeds", "low", "high"),
    [(0, 3, 0.0, 0.5615), (3, 3, 0.4385, 1.0), (1, 2, 0.0945, 0.9055), (5, 10, 0.2366, 0.7634)],
)
def test_wilson_intervals_are_the_known_ones(solved, seeds, low, high):
    found = wilson_interval(solved, seeds)
    assert (round(found.low, 4), round(found.high, 4)) == (low, high)


@given(st.integers(1, 100).flatmap(lambda trials: st.tuples(st.integers(0, trials), st.just(trials))))
def test_wilson_intervals_are_within_zero_and_one_and_contain_the_share(counts):
    successes, trials = counts
    found = wilson_interval(successes, trials)
    assert 0 <= found.low <= successes / trials <= found.high <= 1
    assert found.low < found.high


# By scipy 1.17.1: stats.t.ppf, ttest_ind(equal_var=False) and ttest_1samp with their confidence intervals,
# binomtest(...).proportion_ci(method="wilson").
SCIPY_T = [
    (0.9, 1.7, 2.0413497586255245),
    (0.9, 7.25, 1.409884895325902),
    (0.975, 1, 12.706204736174694),
    (0.975, 2, 4.302652729749462),
    (0.975, 3.3, 3.024874461840807),
    (0.975, 29, 2.045229642132703),
    (0.975, 150.5, 1.9758519492008906),
    (0.995, 1.7, 13.453612659922465),
    (0.995, 10, 3.16927267261695),
]
SCIPY_WELCH = [
    ([0.91, 0.92, 0.95], [0.88, 0.9, 0.87, 0.91], -0.0049527381908781795, 0.07828607152421166),
    ([1.19, 1.21, 1.2], [1.25, 1.31, 1.18, 1.22, 1.2], -0.09421607522871342, 0.03021607522871337),
    ([23.1, 24.9], [25.5, 25.7, 25.0], -10.746197039208836, 7.9461970392088315),
]
SCIPY_STUDENT = [
    ([0.91, 0.92, 0.95], 0.8749552165412442, 0.9783781167920893),
    ([1.19, 1.21, 1.2, 1.4], 1.0903481580966414, 1.4096518419033586),
]
SCIPY_WILSON = [
    (0, 3, 0.0, 0.5614970317550454),
    (3, 3, 0.4385029682449546, 1.0),
    (5, 10, 0.236593090512564, 0.7634069094874361),
    (432, 645, 0.6325615316690738, 0.7049631394548166),
    (17, 200, 0.053745750177475606, 0.13189587071565567),
]


@pytest.mark.parametrize(("probability", "freedom", "quantile"), SCIPY_T)
def test_t_quantiles_are_those_of_scipy(probability, freedom, quantile):
    assert t_quantile(probability, freedom) == pytest.approx(quantile, rel=1e-9)


@pytest.mark.parametrize(("ours", "others", "low", "high"), SCIPY_WELCH)
def test_welch_intervals_are_those_of_scipy(ours, others, low, high):
    difference = mean(ours) - mean(others)
    found = welch_interval(difference, sample_sd(ours), len(ours), sample_sd(others), len(others))
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-9)


@pytest.mark.parametrize(("values", "low", "high"), SCIPY_STUDENT)
def test_student_intervals_are_those_of_scipy(values, low, high):
    found = one_sample_interval(mean(values), sample_sd(values), len(values))
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-9)


@pytest.mark.parametrize(("successes", "trials", "low", "high"), SCIPY_WILSON)
def test_wilson_intervals_are_those_of_scipy(successes, trials, low, high):
    found = wilson_interval(successes, trials)
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-9)
