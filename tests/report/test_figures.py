"""What is drawn of results: each seed, what a recipe varies, many tasks; and nothing that hides something."""

import io

import pytest

from rmem_cli.report.build import build_table
from rmem_cli.report.curves import curve_grids, find_curves
from rmem_cli.report.figure import COLOURS, Figure, Series
from rmem_cli.report.figures import costs, learning_curves, sweeps, tasks
from rmem_cli.report.formats import FORMATS
from rmem_cli.report.joined import join
from rmem_cli.results.curves import LearningCurve

LSTM = "  - {id: lstm, title: LSTM}"
GRU = "  - {id: gru, title: GRU, model.core.kind: gru}"
RATES = "matrix: {optimizer.lr: [0.001, 0.01, 0.1]}"


def rated(results, made, row, values, **columns):
    """Results of one seed at each of three rates."""
    found = []
    for rate, value in zip(("0.001", "0.01", "0.1"), values, strict=True):
        found += results(made, row, [value], cell=f"lr={rate}", **columns)
    return found


def test_a_matrix_over_a_rate_is_one_line_for_each_row(recipe, results):
    made = recipe(f"{LSTM}\n{GRU}", extra=RATES)
    rows = rated(results, made, "lstm", [3.0, 2.0, 2.5]) + rated(results, made, "gru", [3.5, 2.5, 2.0])
    (figure,) = sweeps(build_table(made, rows))
    assert (figure.x, figure.y, figure.x_is_log) == ("lr", "bpc (bits per character)", True)
    assert [(one.name, list(one.points)) for one in figure.series] == [
        ("LSTM", [(0.001, 3.0), (0.01, 2.0), (0.1, 2.5)]),
        ("GRU", [(0.001, 3.5), (0.01, 2.5), (0.1, 2.0)]),
    ]
    assert figure.measured_at == [0.001, 0.01, 0.1]


def test_each_scale_of_a_sweep_has_a_chart_of_its_own(recipe, results):
    made = recipe(LSTM, extra=RATES)
    rows = rated(results, made, "lstm", [3.0, 2.0, 2.5])
    rows += rated(results, made, "lstm", [4.0, 5.0, 6.0], scale="cpu")
    found = sweeps(build_table(made, rows))
    assert [(one.title, [y for _, y in one.series[0].points]) for one in found] == [
        ("By lr, paper, test split", [3.0, 2.0, 2.5]),
        ("By lr, cpu, test split", [4.0, 5.0, 6.0]),
    ]
    assert len({one.name for one in found}) == 2


def test_a_matrix_over_a_rate_is_one_table_and_each_protocol_has_its_own(recipe, results):
    made = recipe(f"{LSTM}\n{GRU}", extra=RATES)
    rows = rated(results, made, "lstm", [3.0, 2.0, 2.5]) + rated(results, made, "gru", [3.5, 2.5, 2.0])
    groups = find_curves(build_table(made, rows).sections)
    assert [len(group) for group in groups] == [3, 3]
    (grid,) = curve_grids(groups[1], only_run=True)
    assert grid.caption.startswith("test split: bpc (bits per character), lower is better, by lr")
    assert [[cell.text for cell in row] for row in grid.rows] == [
        ["0.001", "3.000 (1 of 3)", "3.500 (1 of 3)"],
        ["0.01", "2.000 (1 of 3)", "2.500 (1 of 3)"],
        ["0.1", "2.500 (1 of 3)", "2.000 (1 of 3)"],
    ]


def test_of_two_matrices_the_last_is_gone_over(recipe, results):
    made = recipe(LSTM, extra="matrix: {optimizer.lr: [0.1, 0.2], train.batch_size: [1, 2, 4]}")
    rows = [
        row
        for rate in ("0.1", "0.2")
        for size in (1, 2, 4)
        for row in results(made, "lstm", [size / 2], cell=f"lr={rate},batch_size={size}")
    ]
    found = sweeps(build_table(made, rows))
    assert [(one.x, one.title) for one in found] == [
        ("batch_size", f"By batch_size, paper, lr={rate}, test split") for rate in ("0.1", "0.2")
    ]


def test_published_numbers_of_a_matrix_stand_beside_ours(recipe, results):
    made = recipe(
        "  - {id: lstm, title: LSTM, published: rum2017.recall.lstm}",
        "recall",
        extra="matrix: {task.length: [30, 50]}",
    )
    rows = [
        row
        for length, value in ((30, 0.25), (50, 0.2))
        for row in results(made, "lstm", [value], name="accuracy", cell=f"length={length}", data_hash="")
    ]
    (figure,) = sweeps(build_table(made, rows))
    assert [(one.name, list(one.points), one.is_published) for one in figure.series] == [
        ("LSTM", [(30, 0.25), (50, 0.2)], False),
        ("LSTM, published", [(30, 0.256), (50, 0.205)], True),
    ]


def test_a_published_learning_curve_is_in_no_chart_over_lengths(recipe, results):
    made = recipe(
        "  - {id: lstm, title: LSTM, published: {length=200: rum2017.copying_t200.rum_lambda1}}",
        "copying",
        extra="matrix: {task.length: [100, 200]}",
    )
    rows = [
        row
        for length in (100, 200)
        for row in results(made, "lstm", [0.1], cell=f"length={length}", name="loss", data_hash="")
    ]
    (figure,) = sweeps(build_table(made, rows))
    assert [one.name for one in figure.series] == ["LSTM"]


def test_numbers_that_are_names_are_no_sweep(recipe, results):
    task = "kind: babi, number: 1"
    made = recipe(
        LSTM, "recall", "matrix: {task.number: [1, 2, 3, 4, 5]}\nsolved: {metric: accuracy, at: 0.95}",
        **{"kind: associative_recall, length: 10": task, "examples: 10, ": ""},
    )  # fmt: skip
    rows = [
        row
        for number in range(1, 6)
        for row in results(made, "lstm", [number / 10], name="accuracy", cell=f"number={number}")
    ]
    table = build_table(made, rows)
    assert sweeps(table) == []
    assert [len(group) for group in find_curves(table.sections)] == [1] * 12  # five and their mean
    (bars,) = tasks(table)
    assert (bars.kind, bars.labels) == ("bars", ["1", "2", "3", "4", "5"])
    assert [y for _, y in bars.series[0].points] == pytest.approx([10, 20, 30, 40, 50])
    assert bars.svg.count('class="bar c0"') == 5


def test_folds_are_no_sweep(recipe, results):
    made = recipe(LSTM, "articles", extra="matrix: {task.fold: [0, 1, 2]}")
    rows = [row for fold in range(3) for row in results(made, "lstm", [0.5], name="f1", cell=f"fold={fold}")]
    assert sweeps(build_table(made, rows)) == []


def curve(steps):
    points = [(step, 5.0 / step) for step in range(1, steps + 1)]
    return LearningCurve({("valid", "bpc"): points})


def test_learning_curves_have_a_line_for_each_seed_and_more_rows_than_colours_several_charts(recipe, results):
    ids = [f"lstm{number}" for number in range(COLOURS + 2)]
    made = recipe("\n".join(f"  - {{id: {one}, title: {one}}}" for one in ids))
    rows = [row for one in ids for row in results(made, one, [1.0, 2.0])]
    table = build_table(made, rows)
    found = learning_curves(table, join(made, rows).results, lambda _: curve(3))
    assert [len(figure.series) for figure in found] == [2 * COLOURS, 4]
    assert [figure.title for figure in found] == [f"Learning curves, paper ({one} of 2)" for one in (1, 2)]
    assert [len(figure.legend) for figure in found] == [COLOURS, 2]
    assert len({figure.name for figure in found}) == 2
    assert [len(figure.series) for figure in costs(table)] == [COLOURS, 2]


@pytest.mark.parametrize("value", [0.0, 3.0, 1e9, 1.0142320547e304, -1e304])
def test_one_value_is_drawn_whatever_its_size(value):
    drawn = Figure("one", "One", "x", "y", [Series("one", [(1.0, value), (2.0, value)], 0)]).svg
    assert "nan" not in drawn
    assert "inf" not in drawn


def test_nothing_is_drawn_of_nothing(recipe):
    made = recipe(f"{LSTM}\n{GRU}", extra=RATES)
    table = build_table(made, [])
    assert [*learning_curves(table, {}, lambda _: None), *sweeps(table), *tasks(table), *costs(table)] == []


def test_a_number_of_the_matrix_is_in_the_forms_for_scripts(recipe, results):
    made = recipe(LSTM, extra=RATES)
    file = io.StringIO()
    FORMATS["csv"].write([build_table(made, rated(results, made, "lstm", [3.0, 2.0, 2.5]))], file)
    assert "lr=0.001,test,test,,lr,0.001,bpc" in file.getvalue()
