"""Parts of a test stand beside the whole, and change nothing of it."""

import math
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from two_parts import TwoPartsSettings

from rmem_cli.recipe.registry import TASKS
from rmem_cli.report.build import build_table
from rmem_cli.report.core_grid import build_core_grid
from rmem_cli.report.layout import View, page
from rmem_cli.results.curves import LearningCurve

NUMBER = "rum2019.ptb_char.fs_rum_2"  # 1.189 bits
ROWS = f"  - {{id: gru, title: GRU, published: {NUMBER}}}\n  - {{id: lstm, title: LSTM}}"
TEST = "{name: test, split: test, examples: 10, metrics: [bpc]}"
VALUES = st.one_of(st.none(), st.floats(0, 3), st.just(math.nan))


@pytest.fixture
def made(recipe, monkeypatch):
    monkeypatch.setitem(TASKS._entries, "two_parts", "two_parts:TwoPartsSettings")
    changes = {"TASK": "kind: two_parts", "TEST": TEST, "VALID": TEST.replace("test", "valid")}
    return recipe(ROWS, extra="tolerance: 0.01\nsolved: {metric: bpc, at: 1.2}", **changes)


@pytest.fixture
def measured(made, results):
    """Result rows of a row of the recipe: values of its seeds, of the whole or of a part."""

    def make(row, values, part=""):
        return [replace(one, part=part) for one in results(made, row, values, data_hash="")]

    return make


ALL = View(everything=True)


def places(table):
    return {section.part: section for section in table.sections if section.protocol == "test"}


def means(section):
    return {line.id: line.ours["paper"].mean for line in section.lines if line.ours}


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    told=st.lists(VALUES, min_size=1, max_size=3), guessed=st.lists(VALUES, max_size=3), first=st.booleans()
)
def test_whatever_the_parts_are_the_whole_keeps_value_verdict_tally_and_grid(
    made, measured, told, guessed, first
):
    whole = [*measured("gru", [1.190, 1.191, 1.192]), *measured("lstm", [1.1, None])]
    parts = [
        *measured("gru", told, "told"),
        *measured("gru", guessed, "guessed"),
        *measured("lstm", told, "told"),
    ]
    rows = [*parts, *whole] if first else [*whole, *parts]
    alone, table = build_table(made, whole), build_table(made, rows)
    assert places(table)[""] == places(alone)[""]
    assert places(table)[""].lines[0].comparison.verdict.outcome == "reproduced"
    assert table.remarks == alone.remarks
    assert list(table.out_of_tolerance()) == list(alone.out_of_tolerance())
    assert build_core_grid([(made, rows)]) == build_core_grid([(made, whole)])
    assert page(table, ALL).grids[-1] == page(alone, ALL).grids[-1]  # what the runs cost


def test_parts_without_their_whole_are_no_result_of_it(made, measured):
    rows = measured("gru", [1.0, 1.0, 1.0], "told") + measured("gru", [1.0, 1.0, 1.0], "guessed")
    table = build_table(made, rows)
    assert places(table)[""].lines[0].ours == {}
    assert places(table)[""].lines[0].comparison.verdict.outcome == "not run"
    (line,) = build_core_grid([(made, rows)]).lines
    assert (line.part, line.best) == ("", {})


def test_the_mean_counts_each_part_once_and_only_seeds_that_have_all(made, measured):
    rows = measured("gru", [1.0, 1.0, 1.0])
    rows += measured("gru", [0.2, 0.4, 0.6], "told")
    rows += [replace(row, examples=10_000) for row in measured("gru", [1.0, None], "guessed")]
    section = places(build_table(made, rows))["mean"]
    (ours,) = (line.ours["paper"] for line in section.lines if line.id == "gru")
    assert (ours.mean, ours.n, ours.failed) == (pytest.approx(0.6), 1, {"diverged": 1})


def test_parts_stand_in_the_order_of_the_task_behind_the_whole_and_their_mean(made, measured):
    rows = measured("lstm", [0.3], "guessed") + measured("lstm", [0.2], "told") + measured("gru", [0.1])
    assert list(places(build_table(made, rows))) == ["", "mean", "told", "guessed"]


def test_what_the_task_does_not_call_a_part_is_left_out(made, measured):
    rows = measured("gru", [1.0]) + measured("gru", [0.5], "mean") + measured("gru", [0.5], "qa3")
    table = build_table(made, rows)
    assert list(places(table)) == [""]
    assert "left out: 2 results of other settings than the recipe has now" in table.remarks


def test_a_learning_curve_says_nothing_of_parts(made, measured):
    rows = measured("gru", [1.0]) + measured("gru", [1.0], "told") + measured("gru", [1.0], "guessed")
    curve = LearningCurve({("valid", "bpc"): [(5, 1.0), (10, 1.0)]})
    found = places(build_table(made, rows, curves=lambda _: curve))
    solved = {part: section.lines[0].ours["paper"].steps_to_solve for part, section in found.items()}
    assert solved.pop("").steps == (5,)
    assert solved == dict.fromkeys(["mean", "told", "guessed"])


def test_published_columns_stand_beside_the_parts_and_the_mean_of_their_names(recipe, results, monkeypatch):
    monkeypatch.setitem(TASKS._entries, "two_parts", "two_parts:TwoPartsSettings")
    monkeypatch.setattr(TwoPartsSettings, "parts", lambda _: ("number=1", "number=2"))
    test = TEST.replace("bpc", "accuracy")
    changes = {"TASK": "kind: two_parts", "TEST": test, "VALID": test.replace("test", "valid")}
    row = "  - {id: rum, title: RUM, published: rum2017.babi.rum}"
    made = recipe(row, extra="tolerance: 0.01", **changes)
    values = {"": 0.9, "number=1": 0.797, "number=2": 0.5}
    rows = [
        replace(one, part=part)
        for part, value in values.items()
        for one in results(made, "rum", [value, value + 0.001, value - 0.001], name="accuracy", data_hash="")
    ]
    table = build_table(made, rows)
    lines = {part: section.lines[0] for part, section in places(table).items()}
    shown = {part: line.published and line.published.value for part, line in lines.items()}
    assert shown == {"": None, "mean": 0.732, "number=1": 0.797, "number=2": 0.394}
    verdicts = {part: str(line.comparison.verdict.outcome) for part, line in lines.items()}
    assert verdicts[""] == "no published number"
    assert verdicts["number=1"] == "reproduced"
    assert lines["mean"].comparison.difference == pytest.approx((0.797 + 0.5) / 2 - 0.732)


def test_chance_is_that_of_the_whole(made, measured):
    rows = measured("gru", [1.0]) + measured("gru", [1.0], "told")
    kinds = {
        part: {line.kind for line in section.lines}
        for part, section in places(build_table(made, rows)).items()
    }
    assert ("chance" in kinds[""], "chance" in kinds["told"]) == (True, False)
