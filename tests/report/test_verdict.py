from dataclasses import replace

import pytest

from rmem_cli.report.statistics import Interval
from rmem_cli.report.verdict import Evidence, Outcome, Verdict, judge

INSIDE = Evidence(
    seeds=3,
    failed=0,
    without_number=0,
    has_number=True,
    obstacles=(),
    interval=Interval(-0.005, 0.005),
    tolerance=0.01,
    higher_is_better=True,
)


@pytest.mark.parametrize(
    ("low", "high", "when_higher_is_better", "when_lower_is_better"),
    [
        (-0.005, 0.005, "reproduced", "reproduced"),
        (-0.01, 0.01, "reproduced", "reproduced"),
        (0.004, 0.006, "reproduced", "reproduced"),
        (0.011, 0.02, "better", "worse"),
        (-0.02, -0.011, "worse", "better"),
        (0.005, 0.02, "inconclusive", "inconclusive"),
        (-0.02, -0.005, "inconclusive", "inconclusive"),
        (-0.02, 0.02, "inconclusive", "inconclusive"),
    ],
)
def test_the_verdict_follows_from_where_the_interval_lies(
    low, high, when_higher_is_better, when_lower_is_better
):
    evidence = replace(INSIDE, interval=Interval(low, high))
    assert judge(evidence).outcome == when_higher_is_better
    assert judge(replace(evidence, higher_is_better=False)).outcome == when_lower_is_better


def test_a_difference_of_the_tolerance_is_inside_it_however_it_was_rounded():
    difference = 1.2 - 1.19  # 0.010000000000000009
    assert judge(replace(INSIDE, interval=Interval(difference, difference))).outcome == "reproduced"


@pytest.mark.parametrize(
    ("changes", "outcome", "reason"),
    [
        ({"seeds": 0}, "not run", ""),
        ({"seeds": 0, "has_number": False}, "not run", ""),
        ({"has_number": False}, "no published number", ""),
        ({"has_number": False, "tolerance": None, "obstacles": ("dirty tree",)}, "no published number", ""),
        ({"tolerance": None}, "no verdict", "no tolerance stated"),
        ({"obstacles": ("dirty tree",)}, "no verdict", "dirty tree"),
        ({"obstacles": ("dirty tree", "partial data")}, "no verdict", "dirty tree, partial data"),
        ({"obstacles": ("published as text",), "tolerance": None}, "no verdict", "published as text"),
        ({"seeds": 0, "failed": 3, "interval": None}, "no verdict", "no seed finished"),
        ({"seeds": 2}, "too few seeds", ""),
        ({"seeds": 1, "interval": None}, "too few seeds", ""),
        ({"seeds": 2, "failed": 1}, "too few seeds", ""),
        ({"failed": 1}, "reproduced", ""),
        ({"failed": 2, "without_number": 1}, "inconclusive", "1 of 4 seeds without a number"),
        ({"seeds": 2, "failed": 1, "without_number": 1}, "too few seeds", ""),
    ],
)
def test_what_stands_in_the_way_of_a_verdict_is_said(changes, outcome, reason):
    assert judge(replace(INSIDE, **changes)) == Verdict(Outcome(outcome), reason)


def test_only_better_and_worse_are_out_of_tolerance():
    assert {outcome for outcome in Outcome if outcome.out_of_tolerance} == {Outcome.BETTER, Outcome.WORSE}
