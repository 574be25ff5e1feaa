"""How results are compared with what papers print: numbers, single runs, curves, claims."""

import math

import pytest

from rmem_cli.recipe.solved import SolvedRule
from rmem_cli.report.comparison import AtStep, Rules, compare, is_too_wide
from rmem_cli.report.footnotes import Footnotes
from rmem_cli.report.table import Ours, Published, SolveRate
from rmem_cli.results.metrics import metric

ACCURACY = Rules(metric("accuracy"), 0.02)
LOSS = Rules(metric("loss"), 0.01, SolvedRule(metric="loss", at=0.001))


def published(**fields):
    empty = dict.fromkeys(("value", "sd", "n", "text", "x_name", "x", "curve", "claim", "parameters"))
    return Published(
        **{"id": "a.b.c", "verified": True, "basis": "printed", **empty, "source": "s", **fields}
    )


def ours(mean, sd=0.001, n=3, **fields):
    return Ours(mean=mean, sd=sd, n=n, planned=3, **fields)


def seeds(solved, of=3):
    return ours(0.5, n=of, solve_rate=SolveRate(solved, of, 0.0, 1.0))


def test_one_published_run_without_deviation_is_one_draw_not_the_truth():
    footnotes = Footnotes()
    found = compare(ours(0.50, sd=0.01), published(value=0.51, n=1), ACCURACY, footnotes)
    t, half = 4.302652729911275, (found.high - found.low) / 2
    assert half == pytest.approx(t * 0.01 * math.sqrt(1 + 1 / 3))
    assert found.verdict.outcome == "inconclusive"
    (note,) = found.notes
    assert "one run" in footnotes.texts[note - 1]


def test_a_number_without_a_number_of_runs_is_taken_as_exact():
    found = compare(ours(0.50, sd=0.001), published(value=0.51), ACCURACY, Footnotes())
    assert (found.high - found.low) / 2 == pytest.approx(4.302652729911275 * 0.001 / math.sqrt(3))
    assert found.verdict.outcome == "reproduced"


@pytest.mark.parametrize(
    ("fields", "tolerance", "is_wide"),
    [
        # Three runs beside three of ours: 2.0423 x sd at least, which is 0.02 at an sd of 0.009793.
        ({"sd": 0.0098, "n": 3}, 0.02, True),
        ({"sd": 0.0097, "n": 3}, 0.02, False),
        ({"sd": 0.0098, "n": 3}, None, False),
        ({"sd": 0.5, "n": 1}, 0.02, False),
        ({"sd": 0.5}, 0.02, False),
        ({"n": 3}, 0.02, False),
    ],
)
def test_a_published_spread_may_alone_exceed_the_tolerance(fields, tolerance, is_wide):
    assert is_too_wide(published(value=0.9, **fields), tolerance, 3) == is_wide


def test_what_is_not_too_wide_can_be_reproduced_and_what_is_cannot():
    for sd in (0.0023, 0.0029, 0.003, 0.006):
        number = published(value=1.4, sd=sd, n=2)
        outcomes = {
            compare(
                ours(1.4, sd=ratio * sd), number, Rules(ACCURACY.metric, 0.01), Footnotes()
            ).verdict.outcome
            for ratio in [each / 50 for each in range(300)]
        }
        assert ("reproduced" in outcomes) != is_too_wide(number, 0.01, 3)


@pytest.mark.parametrize(
    ("claim", "solved", "outcome"),
    [
        ("solved", 3, "reproduced"),
        ("solved", 2, "inconclusive"),
        ("solved", 0, "worse"),
        ("not solved", 0, "reproduced"),
        ("not solved", 1, "inconclusive"),
        ("not solved", 3, "better"),
    ],
)
def test_a_claim_is_judged_by_the_seeds_that_meet_the_rule(claim, solved, outcome):
    footnotes = Footnotes()
    found = compare(seeds(solved), published(text="learns it", claim=claim), LOSS, footnotes)
    assert found.verdict.outcome == outcome
    assert footnotes.texts == [
        "a claim is judged by the recipe's rule for a solved task: loss at most 0.001 in each seed"
    ]


def test_what_no_seed_solves_in_an_assumed_budget_is_censored_not_failed():
    rules = Rules(LOSS.metric, 0.01, SolvedRule(metric="loss", at=0.001, budget="assumed"))
    found = compare(seeds(0), published(text="learns it", claim="solved"), rules, Footnotes()).verdict
    assert (found.outcome, found.reason) == ("inconclusive", "not solved within an assumed budget")


def test_two_seeds_are_too_few_for_a_claim_and_none_is_not_run():
    claim = published(text="learns it", claim="solved")
    assert compare(seeds(2, of=2), claim, LOSS, Footnotes()).verdict.outcome == "too few seeds"
    assert compare(None, claim, LOSS, Footnotes()).verdict.outcome == "not run"


def test_a_claim_whose_seeds_all_failed_was_run():
    failed = ours(None, sd=None, n=0, failed={"out of memory": 3})
    found = compare(failed, published(text="learns it", claim="solved"), LOSS, Footnotes()).verdict
    assert (found.outcome, found.reason) == ("no verdict", "no seed finished")


def test_a_claim_about_runs_of_a_dirty_tree_gets_no_verdict():
    dirty = ours(0.5, solve_rate=SolveRate(3, 3, 0.4, 1.0), caveats=("no commit",))
    found = compare(dirty, published(text="learns it", claim="solved"), LOSS, Footnotes()).verdict
    assert (found.outcome, found.reason) == ("no verdict", "no commit")


def test_a_published_curve_is_compared_at_the_last_common_step():
    curve = published(x_name="training steps", x=(100.0, 200.0), curve=(0.5, 0.1), basis="digitized")
    footnotes = Footnotes()
    at = AtStep(200, 0.1, ours(0.102, sd=0.0001))
    found = compare(ours(0.05), curve, LOSS, footnotes, at)
    assert found.difference == pytest.approx(0.002)
    assert found.verdict.outcome == "reproduced"
    assert any("step 200" in footnotes.texts[note - 1] for note in found.notes)


def test_a_published_curve_without_a_common_step_gets_no_verdict():
    curve = published(x_name="training steps", x=(100.0,), curve=(0.5,), basis="digitized")
    found = compare(ours(0.05), curve, LOSS, Footnotes()).verdict
    assert (found.outcome, found.reason) == ("no verdict", "published as a curve")
