"""All tasks of an evaluation in one grid, with their means, beside the published ones."""

import random
from dataclasses import replace
from io import StringIO
from statistics import fmean, stdev
from types import SimpleNamespace

import pytest
from rich.console import Console

from rmem_cli.published.store import find
from rmem_cli.recipe import load_recipe
from rmem_cli.report import terminal
from rmem_cli.report.across import across_grids, paired_bootstrap
from rmem_cli.report.build import build_table
from rmem_cli.report.layout import View, page

TASKS = range(1, 21)
PUBLISHED = find("rum2017.babi.rum").value[1:]


@pytest.fixture(scope="module")
def babi():
    return load_recipe("rum_babi")


@pytest.fixture(scope="module")
def planned(babi):
    """As much of the recipe as result rows need, its runs found once."""
    runs = babi.runs("paper")
    return SimpleNamespace(name=babi.name, runs=lambda scale: runs)


@pytest.fixture
def measured(planned, results):
    """Result rows: the accuracies of a row on some tasks, three seeds a thousandth apart."""

    def make(row, accuracies, tasks=TASKS):
        return [
            one
            for task, value in zip(tasks, accuracies, strict=True)
            for one in results(
                planned,
                row,
                [value - 0.001, value, value + 0.001],
                name="accuracy",
                cell=f"number={task}",
                data_hash="",
            )
        ]

    return make


def grid_of(recipe, rows):
    (grid,) = across_grids(build_table(recipe, rows))
    rows = list(zip(*(column.cells for column in grid.columns), strict=True))
    return grid, {cells[0].text: ["\n".join([cell.text, *cell.more]) for cell in cells[1:]] for cells in rows}


def test_ours_stand_above_the_published_with_mean_failures_and_difference(babi, measured):
    ours = [value / 100 + 0.01 for value in PUBLISHED]
    ours[0] = 0.99
    grid, rows = grid_of(babi, measured("rum", ours))
    assert [column.heading.text for column in grid.columns] == [
        "Model", *map(str, TASKS), "mean", "failed", "ours - published"
    ]  # fmt: skip
    own, theirs = rows["RUM, lambda 0"], rows["RUM, lambda 0, published"]
    assert own[0] == "99.0"
    assert theirs[:2] == ["79.7", "39.4"]
    assert own[20] == f"{100 * fmean(ours):.1f}"
    assert theirs[20] == f"{fmean(PUBLISHED):.1f}"
    assert own[21] == str(sum(value < 0.95 for value in ours))
    assert theirs[21] == str(sum(value < 95 for value in PUBLISHED)) == "15"
    assert own[22].startswith(f"{100 * fmean(ours) - fmean(PUBLISHED):+.1f}\n[")
    assert theirs[22] == ""
    assert rows["MemN2N (Sukhbaatar et al.)"][2] == "60.0"


def test_the_published_table_has_our_mean_deviation_and_seeds_of_each_task(babi, measured):
    made = page(build_table(babi, measured("rum", [0.79, 0.9], tasks=[1, 4])), View())
    (grid,) = (grid for grid in made.grids if grid.caption.startswith("rum2017.babi, "))
    assert "tolerance 0.02" in grid.caption
    found = {
        column.heading.text.replace("\n", " "): [cell.text for cell in column.cells]
        for column in grid.columns
    }
    ours = dict(zip(found["Column"], found["RUM, lambda 0 Ours, paper"], strict=True))
    assert (ours["number=1"], ours["number=4"]) == ("0.790 ± 0.001 (3)", "0.900 ± 0.001 (3)")
    assert {value for task, value in ours.items() if task not in ("number=1", "number=4")} == {"-"}
    assert not [heading for heading in found if heading.startswith("LSTM")]


def test_beside_the_grid_of_all_tasks_the_published_table_keeps_to_what_it_prints(babi, measured, results):
    small = [
        one
        for task in (1, 4)
        for one in results(babi, "rum", [0.5], name="accuracy", cell=f"number={task}", scale="cpu")
    ]
    table = build_table(
        babi, [*measured("rum", [0.79], tasks=[1]), *measured("gru", [0.9], tasks=[1]), *small]
    )

    def headings(view):
        (grid,) = (grid for grid in page(table, view).grids if grid.caption.startswith("rum2017.babi, "))
        return [column.heading.text.replace("\n", " ") for column in grid.columns]

    brief = headings(View(is_brief=True))
    assert brief == [
        "Column",
        *(f"RUM, lambda 0 {what}" for what in ("Published", "Ours, paper", "Verdict")),
    ]
    assert {"GRU Ours, paper", "RUM, lambda 0 Ours, cpu"} < {*headings(View())}


def test_of_some_tasks_the_mean_and_the_difference_say_of_how_many(babi, measured):
    _, rows = grid_of(babi, measured("rum", [0.9, 0.5], tasks=[1, 4]))
    assert rows["RUM, lambda 0"][:4] == ["90.0", "-", "-", "50.0"]
    assert rows["RUM, lambda 0"][20:22] == ["70.0 (2)", "2"]
    assert rows["RUM, lambda 0"][22] == "-19.9 (2)"


def test_partial_data_is_marked_and_in_no_difference(babi, planned, results):
    rows = [
        one
        for task, hashed in ((1, ""), (3, "abc-partial"), (4, ""))
        for one in results(
            planned, "rum", [0.5, 0.5, 0.5], name="accuracy", cell=f"number={task}", data_hash=hashed
        )
    ]
    grid, found = grid_of(babi, rows)
    assert found["RUM, lambda 0"][2] == "50.0*"
    assert found["RUM, lambda 0"][22].startswith(f"{(50 - 79.7 + 50 - 100) / 2:+.1f} (2)")
    assert "*: partial data, in no difference" in grid.caption
    (section,) = (each for each in build_table(babi, rows).sections if each.cell == "number=3")
    verdict = next(line for line in section.lines if line.id == "rum").comparison.verdict
    assert (verdict.outcome, verdict.reason) == ("no verdict", "partial data")


def test_what_gets_no_verdict_is_in_no_difference(babi, planned, results, measured):
    rows = measured("rum", [0.5] * 4, tasks=[1, 3, 4, 5])
    dirty = [replace(one, git_dirty="true") if one.cell == "number=3" else one for one in rows]
    lost = results(planned, "rum", [None, 0.5, 0.5], name="accuracy", cell="number=4")
    grid, found = grid_of(babi, [*(one for one in dirty if one.cell != "number=4"), *lost])
    assert found["RUM, lambda 0"][:4] == ["50.0", "-", "50.0*", "50.0*"]
    assert found["RUM, lambda 0"][22].endswith(" (2)")
    assert "*: dirty tree or seeds without a number, in no difference" in grid.caption


def test_the_table_is_readable_in_100_columns(babi, measured):
    rows = measured("rum", [0.9] * 20) + measured("lstm_attention", [0.5] * 20)
    (grid,) = across_grids(build_table(babi, rows))
    parts = list(terminal._parts(grid, 100))
    assert 2 <= len(parts) <= 3
    for part in parts:
        console = Console(file=StringIO(), width=100)
        console.print(terminal._rich(part, 100))
        lines = console.file.getvalue().splitlines()
        assert len(lines) <= 3 * len(part.columns[0].cells)
        assert all(len(line) <= 100 for line in lines)


def test_without_a_result_there_is_no_grid_of_all_tasks(babi):
    assert list(across_grids(build_table(babi, []))) == []


def test_parts_of_one_model_are_tasks_too(results):
    recipe = load_recipe("rum_babi_joint")
    rows = [
        one
        for part in ("", *(f"qa{task}" for task in TASKS))
        for one in results(recipe, "gru", [0.9, 0.9, 0.9], name="accuracy", part=part, data_hash="")
    ]
    grid, found = grid_of(recipe, rows)
    assert [column.heading.text for column in grid.columns][1:21] == [f"qa{task}" for task in TASKS]
    assert found["GRU"][20:] == ["90.0", "20"]


def test_of_few_tasks_a_difference_has_no_interval(babi, measured):
    texts = {}
    for count in (9, 10):
        grid, rows = grid_of(babi, measured("rum", [0.9] * count, tasks=range(1, count + 1)))
        texts[count] = rows["RUM, lambda 0"][22], "bootstrap" in grid.caption
    assert "[" not in texts[9][0]
    assert not texts[9][1]
    assert "\n[" in texts[10][0]
    assert texts[10][1]


def test_the_bootstrap_is_that_of_the_mean_and_the_same_every_time():
    differences = [random.Random(number).gauss(0.3, 1) for number in range(400)]
    interval = paired_bootstrap(differences)
    half = 1.96 * stdev(differences) / 20
    assert interval.low == pytest.approx(fmean(differences) - half, abs=0.01)
    assert interval.high == pytest.approx(fmean(differences) + half, abs=0.01)
    assert paired_bootstrap(differences) == interval
    assert paired_bootstrap([0.5] * 3).low == paired_bootstrap([0.5] * 3).high == 0.5


def test_points_of_a_learning_curve_are_no_tasks(results):
    from rmem_cli.results.curves import LearningCurve

    recipe = load_recipe("rum_recall")
    rows = results(recipe, "paper_lstm_fixed_set", [0.2], name="accuracy", cell="length=50", data_hash="")
    points = [(782 * epoch, 0.2) for epoch in range(1, 129)]
    curve = LearningCurve({("valid", "accuracy"): points, ("valid", "loss"): points})
    table = build_table(recipe, rows, curves=lambda _: curve)
    assert sum(section.protocol == "training" for section in table.sections) >= 5
    assert list(across_grids(table)) == []
