"""Learning curves in a report: steps to solve, and ours beside published ones."""

from dataclasses import replace

import pytest

from rmem_cli.recipe.solved import SolvedRule, StopWhenSolvedSettings
from rmem_cli.report.build import build_table
from rmem_cli.report.citations import cite
from rmem_cli.report.explained import explanations
from rmem_cli.report.footnotes import Footnotes
from rmem_cli.report.layout import View, page
from rmem_cli.report.learning import (
    at_last_common_step,
    ended_solved,
    notes_on_ends,
    steps_to_solve,
    trained_steps,
)
from rmem_cli.results.curves import LearningCurve

BOTH = "[rum2017.copying_t200.rum_lambda1, rum2019.copying.rum]"
PAPER = f"  - {{id: rum, title: RUM, published: {{length=200: {BOTH}}}}}\n"
OTHER = "  - {id: gru, title: GRU, model.core.kind: gru, train.steps: 4000}\n"
COPYING = {
    "task": "copying",
    "extra": "solved: {metric: loss, at: 0.01}\ntolerance: 0.001\nmatrix: {task.length: [200]}",
    "train: {steps: 10": "train: {steps: 6000",
}
POINTS = {
    1: {500: 0.09, 1000: 0.07, 4000: 0.02, 6000: 0.004},
    2: {500: 0.09, 1000: 0.06, 4000: 0.009, 6000: 0.003},
}


def curve(points):
    return LearningCurve({("valid", "loss"): sorted(points.items())})


@pytest.fixture
def made(recipe):
    return recipe(PAPER + OTHER, **COPYING)


@pytest.fixture
def rows(made, results):
    both = {"name": "loss", "cell": "length=200", "data_hash": ""}
    return [
        *results(made, "rum", [0.004, 0.003], step=6000, **both),
        *results(made, "gru", [0.09], step=4000, **both),
    ]


@pytest.fixture
def table(made, rows):
    return build_table(
        made, rows, curves=lambda row: curve(POINTS[row.seed] if row.row == "rum" else {4000: 0.09})
    )


def line(table, name, protocol="test", x=None):
    sections = [one for one in table.sections if one.protocol == protocol and x in (None, one.x)]
    return next(line for line in sections[0].lines if line.id == name)


def test_steps_to_solve_count_what_all_rows_had_and_censor_the_rest(table):
    # the GRU had 4,000 steps: seed 2 solved it by then, seed 1 later
    found = line(table, "rum").ours["paper"].steps_to_solve
    assert (found.steps, found.budget, found.resolution) == ((4000, None), 4000, 3000)
    assert line(table, "gru").ours["paper"].steps_to_solve.steps == (None,)


STOPS = """\
  - id: gru
    title: GRU
    model.core.kind: gru
    train.eval_every: 1000
    train.validation: {examples: 9}
    train.stop_when_solved: {metric: loss, at: 0.01, evaluations: 2}
"""


@pytest.fixture
def stopped(recipe, results):
    """The table of a row that solves the task late, beside one that ends as soon as it has."""
    made = recipe(PAPER + STOPS, **COPYING)
    both = {"name": "loss", "cell": "length=200", "data_hash": ""}
    rows = [
        *results(made, "rum", [0.004, 0.003], step=6000, **both),
        *results(made, "gru", [0.001, 0.002], step=3000, **both),
    ]
    ends = {1: {2000: 0.009, 3000: 0.008}, 2: {1000: 0.02, 2000: 0.009, 3000: 0.009, 4000: 0.008}}
    return build_table(
        made, rows, curves=lambda row: curve(POINTS[row.seed] if row.row == "rum" else ends[row.seed])
    )


def test_a_row_that_ended_because_it_solved_the_task_takes_no_steps_from_the_others(stopped):
    found = line(stopped, "rum").ours["paper"].steps_to_solve
    assert (found.steps, found.budget) == ((4000, 6000), 6000)
    assert line(stopped, "gru").ours["paper"].steps_to_solve.steps == (2000, 2000)


def test_fewer_steps_than_planned_are_shown_with_their_reason(stopped):
    found = line(stopped, "gru")
    assert found.ours["paper"].steps == 3000
    (note,) = (stopped.footnotes[note - 1] for note in found.notes)
    assert note == (
        "training ends ahead of its 6,000 steps when validation gives loss of at most 0.01, 2 times in a row"
    )
    assert not any("6,000 steps" in stopped.footnotes[note - 1] for note in line(stopped, "rum").notes)


def test_a_seed_that_solves_the_task_later_than_others_still_counts_as_solved(table):
    assert line(table, "rum").ours["paper"].solve_rate.solved == 2


def test_ours_stand_beside_the_published_curve_at_the_steps_that_both_have(table):
    steps = [one.x for one in table.sections if one.protocol == "training"]
    assert steps == [1000, 4000, 6000]  # published at 2,000 and 10,000, too, where we have nothing
    assert line(table, "rum", "training", 1000).ours["paper"].mean == pytest.approx(0.065)
    published = line(table, "rum", "training", 1000).published
    assert dict(zip(published.x, published.curve, strict=True))[6000] == 0.0139
    assert line(table, "rum", "training", 4000).published is None


def test_the_verdict_on_a_curve_is_that_of_its_last_common_step(made, results):
    settings = {"name": "loss", "cell": "length=200", "data_hash": "", "step": 6000}
    rows = results(made, "rum", [0.5, 0.5, 0.5], **settings)
    table = build_table(made, rows, curves=lambda row: curve({1000: 9.0, 6000: 0.0139 + row.seed * 1e-6}))
    found = line(table, "rum").comparison
    assert found.difference == pytest.approx(2e-6)
    assert found.verdict.outcome == "reproduced"
    assert "verdicts on curves read off figures: 1 reproduced" in table.remarks
    # Of the curves there, not of the values at the end; the quantile of two degrees of freedom is 4.303.
    told = next(told for told in explanations(table) if "(rum2017.copying_t200.rum_lambda1" in told)
    assert (
        "compared at step 6,000, the last at which both curves have a value, in validation: published 0.0139"
        in told
    )
    assert f", 2 degrees of freedom, half width {4.3027 * 1e-6 / 3**0.5:.4g};" in told


def test_what_else_was_published_of_a_row_is_a_footnote(table):
    (note,) = (table.footnotes[note - 1] for note in line(table, "rum").notes)
    assert note == "also published: learns the Copying Memory task completely (rum2019.copying.rum, printed)"


def test_a_curve_stands_before_words_whatever_the_recipe_names_first(recipe):
    words_first = BOTH.replace("[", "").replace("]", "").split(", ")[::-1]
    made = recipe(PAPER.replace(BOTH, f"[{', '.join(words_first)}]"), **COPYING)
    assert line(build_table(made, []), "rum").published.id == "rum2017.copying_t200.rum_lambda1"


def test_a_claim_stands_where_the_rule_for_a_solved_task_measures(recipe):
    made = recipe(
        "  - {id: rum, title: RUM, published: rum2019.copying.rum}",
        task="copying",
        extra="solved: {metric: accuracy, at: 0.99}",
        TEST="{name: test, split: test, examples: 10, metrics: [loss, accuracy]}",
    )
    sections = build_table(made, []).sections
    claimed = [
        one.metric for one in sections for line in one.lines if line.published and line.published.claim
    ]
    assert claimed == ["accuracy"]


def test_curves_meet_only_where_every_seed_has_a_value(rows):
    (citation,) = cite("rum2017.copying_t200.rum_lambda1")
    published = replace(citation.published(Footnotes()), x=(500.0, 1000.0, 2000.0), curve=(0.3, 0.2, 0.1))
    points = {1: {500: 0.5, 1000: 0.25, 2000: 0.1}, 2: {500: 0.5, 1000: 0.75}}
    found = at_last_common_step(rows[:2], published, "loss", lambda row: curve(points[row.seed]))
    assert (found.step, found.published, found.ours.mean) == (1000, 0.2, 0.5)


STOP = StopWhenSolvedSettings(metric="loss", at=0.1, evaluations=2)
RULE = SolvedRule(metric="loss", at=0.1)


@pytest.fixture
def train(made):
    """Settings of 9,000 steps that end once two validations, 500 steps apart, are at most 0.1."""
    settings = made.runs()[0].settings.train
    return settings.model_copy(update={"steps": 9000, "eval_every": 500, "stop_when_solved": STOP})


def test_a_row_was_trained_as_long_as_its_shortest_finished_seed(rows, train):
    first, second = rows[:2]
    points = {1: {500: 0.1, 4000: 0.1}, 2: {500: 0.1, 6000: 0.1}}

    def curves(row):
        return curve(points[row.seed])

    assert trained_steps([first, second], train, curves) == 4000
    diverged = replace(first, status="diverged", value=None)
    assert trained_steps([diverged, second], train, curves) == 6000
    assert trained_steps([diverged], train, curves) == 9000


@pytest.mark.parametrize(
    ("rule", "stop", "steps"),
    [
        (RULE, STOP, 9000),
        (RULE.model_copy(update={"at": 0.2}), STOP, 9000),
        (RULE.model_copy(update={"at": 0.09}), STOP, 4000),  # solved by the stop, perhaps not by the rule
        (SolvedRule(metric="accuracy", at=0.9), STOP, 4000),
        (RULE, STOP.model_copy(update={"at": 0.09}), 4000),
        (RULE, STOP.model_copy(update={"evaluations": 3}), 4000),  # something else ended it
        (RULE, STOP.model_copy(update={"evaluations": 9}), 4000),
        (RULE, None, 4000),
        (None, STOP, 4000),
    ],
)
def test_a_seed_counts_as_trained_to_the_end_only_if_it_ended_solved_by_the_rule(
    rows, train, rule, stop, steps
):
    points = {1: {3000: 0.2, 3500: 0.1, 4000: 0.1}, 2: {8000: 0.2, 9000: 0.2}}
    settings = train.model_copy(update={"stop_when_solved": stop})
    assert trained_steps(rows[:2], settings, lambda row: curve(points[row.seed]), rule) == steps


def test_of_a_thinned_curve_what_is_left_of_the_last_validations_tells_that_training_ended_solved(train):
    stop = STOP.model_copy(update={"evaluations": 4})
    settings = train.model_copy(update={"stop_when_solved": stop})
    assert ended_solved(curve({1000: 0.3, 2000: 0.3, 3000: 0.1, 4000: 0.1}), settings)
    assert not ended_solved(curve({1000: 0.3, 2500: 0.3, 4000: 0.1}), settings)


def test_a_run_that_something_else_ended_is_not_said_to_have_ended_solved(rows, train):
    early = {1: {3500: 0.2, 4000: 0.1}, 2: {3500: 0.2, 4000: 0.1}}
    assert notes_on_ends(rows[:2], train, lambda row: curve(early[row.seed])) == []
    one = early | {2: {3500: 0.1, 4000: 0.1}}
    assert len(notes_on_ends(rows[:2], train, lambda row: curve(one[row.seed]))) == 1
    whole = {1: {8500: 0.1, 9000: 0.1}, 2: {8500: 0.1, 9000: 0.1}}
    assert notes_on_ends(rows[:2], train, lambda row: curve(whole[row.seed])) == []


def test_seeds_that_diverged_have_not_solved_it_and_those_that_failed_count_for_nothing(rows):
    first, second = rows[:2]
    points = {1: {100: 0.5, 200: 0.001}, 2: {100: 0.5, 300: 0.001}}
    rule = SolvedRule(metric="loss", at=0.01)

    def steps(*ends):
        return steps_to_solve(ends, rule, 2000, lambda row: curve(points[row.seed])).steps

    assert steps(first, second) == (200, 300)
    assert steps(first, replace(second, status="diverged", value=None)) == (200, None)
    assert steps(first, replace(second, status="out_of_memory", value=None)) == (200,)


def test_a_seed_that_failed_moves_no_common_step_and_is_counted(rows):
    (citation,) = cite("rum2017.copying_t200.rum_lambda1")
    published = replace(citation.published(Footnotes()), x=(500.0, 1000.0), curve=(0.3, 0.2))
    points = {1: {500: 0.5, 1000: 0.25}, 2: {500: 0.5}}
    seeds = [rows[0], replace(rows[1], status="diverged", value=None)]
    found = at_last_common_step(seeds, published, "loss", lambda row: curve(points[row.seed]))
    assert (found.step, found.ours.mean, found.ours.n, found.ours.failed) == (1000, 0.25, 1, {"diverged": 1})


def test_steps_to_solve_are_known_as_finely_as_the_coarsest_curve(rows):
    points = {1: {100: 0.5, 200: 0.001}, 2: {500: 0.5, 1500: 0.001}}
    rule = SolvedRule(metric="loss", at=0.01)
    found = steps_to_solve(rows[:2], rule, 2000, lambda row: curve(points[row.seed]))
    assert (found.steps, found.resolution) == ((200, 1500), 1000)


def test_of_a_task_that_is_not_trained_no_curve_says_when_it_was_solved(recipe, results):
    far = (
        "name: far, split: test, metrics: [loss], examples: 8, examples_drawn: by_number, task: {length: 300}"
    )
    made = recipe(PAPER, **COPYING, **{"eval: [": f"eval: [{{{far}}}, "})
    about = {"name": "loss", "cell": "length=200", "data_hash": "", "step": 6000}
    rows = [
        each for one in ("test", "far") for each in results(made, "rum", [0.004] * 3, protocol=one, **about)
    ]
    table = build_table(made, rows, curves=lambda row: curve(POINTS[1]))
    assert line(table, "rum").ours["paper"].steps_to_solve is not None
    assert line(table, "rum", "far").ours["paper"].steps_to_solve is None


def test_learning_curves_are_one_grid(table):
    captions = [grid.caption for grid in page(table, View()).grids]
    assert sum("by training steps" in caption for caption in captions) == 1


def test_the_steps_of_a_row_are_those_it_was_trained_not_those_of_its_best_checkpoint(made, results):
    rows = results(made, "rum", [0.004], name="loss", cell="length=200", data_hash="", step=500)
    trained = build_table(made, rows, curves=lambda row: curve(POINTS[1]))
    assert line(trained, "rum").ours["paper"].steps == 6000
    without_curve = build_table(made, rows)
    assert line(without_curve, "rum").ours["paper"].steps == 6000  # as the recipe says
