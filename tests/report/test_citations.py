"""Which of our metrics measures what a published table measures."""

import pytest

from rmem_cli.report.citations import cite


@pytest.mark.parametrize(
    ("published", "metric"),
    [
        ("rmt2022.quadratic_equations.rmt", "exact_match"),
        ("rmt2022.quadratic_equations_raw.rmt", "exact_match"),
        ("rmt2022.synthetic_short_raw.copy_rmt_m8_9seg", "accuracy"),
        ("rmt2022.synthetic_long_raw.copy120_rmt_m60_3seg", "accuracy"),
        ("rmt1m2023.fig5a.trained_on_4", "accuracy"),
        ("rum2019.recall.lstm", "accuracy"),
        ("rum2019.ptb_char.lstm_1000", "bpc"),
    ],
)
def test_a_published_value_meets_the_metric_that_measures_the_same(published, metric):
    assert cite(published)[0].metric == metric
