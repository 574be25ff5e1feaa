import csv
import io

import pytest

from rmem_cli.report.build import build_table
from rmem_cli.report.curves import find_curves
from rmem_cli.report.layout import View, page
from rmem_cli.report.marks import marked

LSTM = "  - {id: lstm, title: LSTM}"
FOUR = "  - {id: four, title: Four, published: rmt1m2023.fig5a.trained_on_4}"
THIRD = "{name: fifty, split: test, examples: 10, metrics: [accuracy], task: {segments: 50}}"


def and_also(*protocols):
    """The change of a recipe that adds protocols."""
    return {"{segments: 3}}]": ", ".join(["{segments: 3}}", *protocols]) + "]"}


LENGTHS = and_also(THIRD)


def curve(table):
    """The grid of the first curve, as lines of cells under their headings."""
    grid = page(table, View(everything=True)).finished().grids[0]
    rows = [tuple(marked(cell) for cell in row) for row in grid.rows]
    return grid.caption, [marked(column.heading) for column in grid.columns], rows


@pytest.fixture
def measured(results):
    """Results at 1, 3 and 50 segments."""

    def make(made, row, values, **columns):
        protocols = zip(("one", "three", "fifty"), values, strict=True)
        return [
            result
            for protocol, value in protocols
            for result in results(made, row, [value], name="accuracy", protocol=protocol, **columns)
        ]

    return make


def test_accuracy_by_length_is_one_curve_with_the_published_one_beside_it(recipe, measured):
    made = recipe(f"{LSTM}\n{FOUR}", "facts", **LENGTHS)
    rows = measured(made, "four", [1.0, 0.75, 0.25]) + measured(made, "four", [0.5, 0.4, 0.3], scale="cpu")
    caption, headings, lines = curve(build_table(made, rows))
    assert caption == (
        "test split: accuracy (fraction), higher is better, by segments; chance 0.167; "
        "the most frequent answer 0.187; no result at paper: LSTM; no result at cpu: LSTM"
    )
    assert headings == ["segments", "Four, published ¹ ²", "Four, paper", "Four, cpu"]
    at = {line[0]: line[1:] for line in lines}
    assert at["1"] == ("0.999", "1.000 (1 of 3)", "0.500 (1 of 3)")
    assert at["2"] == ("1.000", "-", "-")
    assert at["50"] == ("-", "0.250 (1 of 3)", "0.300 (1 of 3)")
    assert [line[0] for line in lines] == [*map(str, range(1, 16)), "50"]


def test_the_csv_form_has_the_number_of_every_point(recipe, measured):
    from rmem_cli.report.formats import FORMATS

    made = recipe(LSTM, "facts", **LENGTHS)
    file = io.StringIO()
    FORMATS["csv"].write([build_table(made, measured(made, "lstm", [1.0, 0.75, 0.25]))], file)
    records = [r for r in csv.DictReader(io.StringIO(file.getvalue())) if r["kind"] == "row"]
    points = [(r["x_name"], r["x"], r["mean"]) for r in records]
    assert points == [("segments", "1", "1.0"), ("segments", "3", "0.75"), ("segments", "50", "0.25")]


def test_two_lengths_are_no_curve(recipe):
    table = build_table(recipe(LSTM, "facts"), [])
    assert [len(group) for group in find_curves(table.sections)] == [1, 1]


def test_a_length_measured_in_two_ways_is_no_curve(recipe):
    again = THIRD.replace("fifty", "other").replace("}}", "}, checkpoint: last, batch_size: 5}")
    table = build_table(recipe(LSTM, "facts", **and_also(THIRD, again)), [])
    assert [len(group) for group in find_curves(table.sections)] == [1, 1, 1, 1]


def test_a_published_number_stays_in_a_section_where_it_is_compared(recipe):
    row = "  - {id: lstm, title: LSTM, published: urlstm2020.scifar.ur_lstm}"
    fourth = THIRD.replace("fifty", "ninety").replace("50", "90")
    table = build_table(recipe(row, "facts", **and_also(THIRD, fourth)), [])
    assert [[s.protocol for s in group] for group in find_curves(table.sections)][:2] == [
        ["one"],
        ["three", "fifty", "ninety"],
    ]


def test_a_protocol_of_two_lengths_at_two_scales_has_no_number(recipe, results):
    made = recipe(LSTM, "facts", **LENGTHS, **{"cpu: {": "cpu: {eval.three.task.segments: 4, "})
    rows = results(made, "lstm", [1.0], name="accuracy", protocol="three", scale="cpu")
    assert [s.x for s in build_table(made, rows).sections] == [1, None, 50]


def test_many_curves_are_several_grids(recipe, measured):
    ids = [f"lstm{k}" for k in range(9)]
    made = recipe("\n".join(f"  - {{id: {one}, title: {one}}}" for one in ids), "facts", **LENGTHS)
    table = build_table(made, [row for one in ids for row in measured(made, one, [1.0, 0.5, 0.25])])
    grids = page(table, View(everything=True)).finished().grids[:2]
    headings = [column.heading.text for grid in grids for column in grid.columns]
    assert [one for one in headings if one != "segments"] == [f"{one}, paper" for one in ids]
    assert [[cell.text for cell in grid.columns[0].cells] for grid in grids] == [["1", "3", "50"]] * 2
