"""What the tasks of a matrix are on average, seed by seed, and beside the mean that a paper prints."""

from dataclasses import replace

import pytest

from rmem_cli.report.build import build_table
from rmem_cli.report.core_grid import build_core_grid
from rmem_cli.report.joined import join
from rmem_cli.report.layout import View, page
from rmem_cli.report.places import find_places
from rmem_cli.results.curves import LearningCurve

ALL = "mean of 20 tasks"
ROWS = "  - {id: lstm, title: LSTM}"
NUMBERS = "matrix: {task.number: [1, 2, 4]}\n"
SOLVED = "solved: {metric: accuracy, at: 0.95}\n"
BABI = {"kind: associative_recall, length: 10": "kind: babi, number: 1", "examples: 10, ": ""}


@pytest.fixture
def babi(recipe):
    """A recipe of three tasks, each of them learned by itself."""
    return recipe(ROWS, "recall", NUMBERS + SOLVED, **BABI)


@pytest.fixture
def measured(results):
    """Results of seeds 1, 2, ... on some of the tasks."""

    def make(recipe, values, row="lstm", **columns):
        return [
            one
            for number, seeds in values.items()
            for one in results(recipe, row, seeds, name="accuracy", cell=f"number={number}", **columns)
        ]

    return make


def mean_of(recipe, rows, row="lstm", cell="mean of 3 tasks"):
    """The line of the mean, and its section."""
    section = next(
        one for one in build_table(recipe, rows).sections if (one.cell, one.metric) == (cell, "accuracy")
    )
    return next(line for line in section.lines if line.id == row), section


def test_each_task_counts_once_however_many_questions_it_has(babi, measured):
    few = measured(babi, {1: [0.9, 0.6]}, examples=10)
    many = measured(babi, {2: [0.3, 0.3], 4: [0.6, 0.3]}, examples=1000)
    line, _ = mean_of(babi, [*few, *many])
    ours = line.ours["paper"]
    assert (ours.mean, ours.n, ours.planned) == (pytest.approx((0.6 + 0.4) / 2), 2, 3)
    assert ours.sd == pytest.approx(0.2 / 2**0.5)


def test_a_seed_counts_once_it_has_all_tasks(babi, measured):
    line, _ = mean_of(babi, measured(babi, {1: [0.9, 0.6], 2: [0.3, 0.3], 4: [0.6]}))
    assert (line.ours["paper"].mean, line.ours["paper"].n) == (pytest.approx(0.6), 1)
    line, _ = mean_of(babi, measured(babi, {1: [0.9], 2: [0.3]}))
    assert line.ours == {}


def test_a_seed_that_diverged_on_one_task_has_no_mean(babi, measured):
    line, _ = mean_of(babi, measured(babi, {1: [0.9, 0.6], 2: [None, 0.3], 4: [0.6, 0.3]}))
    assert (line.ours["paper"].n, line.ours["paper"].failed) == (1, {"diverged": 1})


def test_tasks_have_data_of_their_own_and_one_in_part_makes_the_mean_partial(babi, measured):
    rows = [
        *measured(babi, {1: [0.9]}, data_hash="one"),
        *measured(babi, {2: [0.3]}, data_hash="two-partial"),
        *measured(babi, {4: [0.6]}, data_hash="four"),
    ]
    line, _ = mean_of(babi, rows)
    assert line.ours["paper"].mean == pytest.approx(0.6)
    assert line.ours["paper"].caveats == ("partial data",)
    whole = [
        replace(row, data_hash="") for row in measured(babi, {1: [0.9], 2: [0.3], 4: [0.6]}, data_hash="")
    ]
    assert mean_of(babi, whole)[0].ours["paper"].caveats == ()


def test_a_mean_costs_what_its_tasks_cost_and_has_their_parameters_if_they_are_equal(babi, measured):
    rows = measured(babi, {1: [0.9], 2: [0.3], 4: [0.6]}, wall_seconds=60.0, parameters=7)
    ours = mean_of(babi, rows)[0].ours["paper"]
    assert (ours.wall_seconds, ours.parameters) == (180.0, 7)
    ours = mean_of(babi, [replace(rows[0], parameters=8), *rows[1:]])[0].ours["paper"]
    assert ours.parameters is None


def test_a_mean_is_of_no_task_that_could_be_solved(babi, measured):
    rows = measured(babi, {1: [0.99], 2: [0.99], 4: [0.99]})
    rates = {
        section.cell: section.lines[0].ours["paper"].solve_rate
        for section in build_table(babi, rows).sections
        if section.metric == "accuracy"
    }
    assert rates.pop("mean of 3 tasks") is None
    assert [rate.solved for rate in rates.values()] == [1, 1, 1]


def test_a_footnote_says_what_a_mean_is(babi, measured):
    table = build_table(babi, measured(babi, {1: [0.9], 2: [0.3], 4: [0.6]}))
    assert (
        "the value of a seed is the mean over the tasks, each learned by a model of its own"
        in table.footnotes
    )


def test_the_printed_mean_has_a_verdict_by_the_spread_of_the_seeds(recipe, measured):
    every = ", ".join(str(number) for number in range(1, 21))
    made = recipe(
        "  - {id: rum, title: RUM, published: rum2017.babi.rum}",
        "recall",
        f"matrix: {{task.number: [{every}]}}\ntolerance: 0.02\n",
        **BABI,
    )
    near = measured(made, {number: [0.73, 0.735, 0.74] for number in range(1, 21)}, row="rum", data_hash="")
    line, _ = mean_of(made, near, "rum", ALL)
    # 73.2 is printed: 0.003 more, and 4.303 * 0.005 / sqrt(3) = 0.0124 to each side.
    comparison = line.comparison
    assert (line.published.value, comparison.verdict.outcome) == (0.732, "reproduced")
    assert comparison.difference == pytest.approx(0.003)
    assert (comparison.low, comparison.high) == (
        pytest.approx(-0.00942, abs=1e-4),
        pytest.approx(0.01542, abs=1e-4),
    )
    without = [row for row in near if row.cell != "number=3"]
    assert mean_of(made, without, "rum", ALL)[0].comparison.verdict.outcome == "not run"


def test_one_task_has_no_mean_and_tasks_learned_together_have_that_of_their_parts(recipe):
    one = recipe(ROWS, "recall", "matrix: {task.number: [1]}\n", **BABI)
    assert {each.cell for each in build_table(one, []).sections} == {"number=1"}
    together = recipe(
        ROWS, "recall", **(BABI | {"kind: associative_recall, length: 10": "kind: babi, number: [1, 2]"})
    )
    assert {each.cell for each in build_table(together, []).sections} == {""}


def test_the_mean_comes_ahead_of_the_tasks(babi):
    joined = join(babi, [])
    cells = dict.fromkeys(place.cell for place in find_places(joined.plan, joined.results))
    assert list(cells) == ["mean of 3 tasks", "number=1", "number=2", "number=4"]


def test_the_grid_of_cores_is_of_tasks(babi, measured):
    rows = measured(babi, {1: [0.9], 2: [0.3], 4: [0.6]})
    assert [line.cell for line in build_core_grid([(babi, rows)]).lines] == [
        "number=1",
        "number=2",
        "number=4",
    ]


def test_the_mean_of_some_tasks_stands_beside_no_printed_mean(recipe, measured):
    row = "  - {id: rum, title: RUM, published: rum2017.babi.rum}"
    made = recipe(row, "recall", NUMBERS + "tolerance: 0.02\n", **BABI)
    rows = measured(made, {number: [0.73, 0.735, 0.74] for number in (1, 2, 4)}, row="rum", data_hash="")
    line, _ = mean_of(made, rows, "rum")
    assert line.ours["paper"].mean == pytest.approx(0.735)
    assert line.published is None
    (printed,) = (
        line
        for paper in build_table(made, rows).papers
        for name, section in zip(paper.names, paper.columns, strict=True)
        for line in section.lines
        if name == "mean" and line.published.id == "rum2017.babi.rum"
    )
    assert (printed.ours, printed.comparison.verdict.reason) == ({}, "measured in cells")


def test_the_baseline_beside_a_mean_is_the_mean_of_those_of_the_tasks(babi, measured):
    # The most frequent answers are right for 187, 187 and 177 of 1,000 test questions of tasks 1, 2 and 4.
    rows = measured(babi, {1: [0.185] * 3, 2: [0.185] * 3, 4: [0.185] * 3})
    _, section = mean_of(babi, rows)
    (known,) = (line for line in section.lines if line.kind == "chance")
    assert (known.title, known.ours["paper"].mean) == ("the most frequent answer", pytest.approx(0.551 / 3))


def test_the_printed_table_says_how_long_its_tasks_were_trained_though_their_mean_was_not(recipe, measured):
    every = range(1, 21)
    row = "  - {id: rum, title: RUM, published: rum2017.babi.rum}"
    made = recipe(row, "recall", f"matrix: {{task.number: [{', '.join(map(str, every))}]}}\n", **BABI)
    rows = measured(made, {number: [0.5] * 3 for number in every}, row="rum", data_hash="")

    def curve(row):
        return LearningCurve({("valid", "accuracy"): [(7, 0.5)]}) if row.cell.startswith("number=") else None

    (grid,) = (
        grid
        for grid in page(build_table(made, rows, curves=curve), View()).grids
        if grid.caption.startswith("rum2017.babi, ")
    )
    assert grid.caption.endswith(", paper: 7 steps")
    assert any(cell.text == "0.500 ± 0.000 (3)" for cell in grid.cells())
