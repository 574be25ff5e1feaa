"""--explain tells the rule and the numbers behind each verdict."""

import pytest

from rmem_cli.report.build import build_table
from rmem_cli.report.explained import explanations

LSTM = "  - {id: lstm, title: LSTM, published: rum2019.ptb_char.fs_rum_2}"
WELCH = "  - {id: lstm, title: LSTM, published: rmt2022.synthetic_short_raw.reverse_rmt_m8_6seg}"
CLAIM = "  - {id: rum, title: RUM, published: rum2019.copying.rum}"


def test_the_interval_against_an_exact_number_is_students(recipe, results):
    made = recipe(LSTM, extra="tolerance: 0.01")
    (told,) = explanations(build_table(made, results(made, "lstm", [1.190, 1.191, 1.192])))
    # t 4.3027 x 0.001 / sqrt 3 = 0.002484
    assert told == (
        "LSTM (rum2019.ptb_char.fs_rum_2): reproduced: ours 1.191 ± 0.001 (3), published 1.189; Student's "
        "95 % interval of our mean minus the published number, taken as exact, +0.002: [-0.0004841, "
        "+0.004484], 2 degrees of freedom, half width 0.002484; it lies inside the tolerance of ± 0.01"
    )


@pytest.mark.parametrize(
    ("values", "told"),
    [([9.0, 9.1, 9.2], "wholly outside, on the worse side"), ([1.1, 1.2, 1.3], "crosses the edge")],
)
def test_where_the_interval_lies_is_said(recipe, results, values, told):
    made = recipe(LSTM, extra="tolerance: 0.01")
    assert told in explanations(build_table(made, results(made, "lstm", values)))[0]


def test_the_interval_against_several_published_runs_is_welchs(recipe, results):
    made = recipe(WELCH, "recall", "tolerance: 0.02")
    rows = results(made, "lstm", [0.90, 0.91, 0.92], name="accuracy", data_hash="")
    assert "Welch's 95 % interval" in explanations(build_table(made, rows))[0]


def test_seeds_that_are_missing_are_counted(recipe, results):
    made = recipe(LSTM, extra="tolerance: 0.01")
    (told,) = explanations(build_table(made, results(made, "lstm", [1.19])))
    assert told.endswith("1 of the 3 seeds that a verdict asks for")


def test_a_claim_is_told_by_its_seeds(recipe, results):
    made = recipe(CLAIM, "copying", "solved: {metric: loss, at: 0.01}")
    rows = results(made, "rum", [0.001, 0.002, 0.5], name="loss", data_hash="")
    (told,) = explanations(build_table(made, rows))
    assert "published as solved, 2 of 3 seeds solved it; solved by 2 of 3 seeds" in told


def test_what_was_not_run_is_not_explained(recipe):
    assert explanations(build_table(recipe(LSTM), [])) == []
