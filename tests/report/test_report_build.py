import math
from dataclasses import replace

import pytest

from rmem_cli.errors import UsageError
from rmem_cli.recipe import load_recipe
from rmem_cli.recipe.kinds import TaskSettings
from rmem_cli.report import wording
from rmem_cli.report.build import build_table
from rmem_cli.report.layout import View, page
from rmem_cli.report.table import Ours

LSTM = "  - {id: lstm, title: LSTM, published: rum2019.ptb_char.fs_rum_2}"
PLAIN = "  - {id: lstm, title: LSTM}"
TOLERANCE = "tolerance: 0.01"


def section(table, protocol="test", name=None):
    return next(s for s in table.sections if s.protocol == protocol and name in (None, s.metric))


def line(table, line_id, protocol="test"):
    return next(one for one in section(table, protocol).lines if one.id == line_id)


def test_a_recipe_without_results_shows_its_rows_as_not_run_beside_the_published_numbers(recipe):
    table = build_table(recipe(LSTM, extra=TOLERANCE), [])
    found = line(table, "lstm")
    assert found.published.value == 1.189
    assert found.ours == {}
    assert found.comparison.verdict.outcome == "not run"
    assert table.scales == ["paper"]


def test_full_scale_results_get_a_difference_an_interval_and_a_verdict(recipe, results):
    made = recipe(LSTM, extra=TOLERANCE)
    found = line(build_table(made, results(made, "lstm", [1.190, 1.191, 1.192])), "lstm")
    assert (found.ours["paper"].mean, found.ours["paper"].sd, found.ours["paper"].n) == pytest.approx(
        (1.191, 0.001, 3)
    )
    assert found.comparison.difference == pytest.approx(0.002)
    assert found.comparison.low < 0.002 < found.comparison.high
    assert found.comparison.verdict.outcome == "reproduced"


def test_a_published_number_without_spread_is_taken_as_exact_and_the_footnote_says_so(recipe, results):
    made = recipe(LSTM, extra=TOLERANCE)
    table = build_table(made, results(made, "lstm", [1.190, 1.191, 1.192]))
    (note,) = line(table, "lstm").comparison.notes
    assert "exact" in table.footnotes[note - 1]


def test_a_published_spread_widens_the_interval(recipe, results):
    # 0.9005 with standard deviation 0.1541
    made = recipe(
        "  - {id: lstm, title: LSTM, published: rmt2022.synthetic_short_raw.reverse_rmt_m8_6seg}", "recall"
    )
    rows = results(made, "lstm", [0.90, 0.91, 0.92], name="accuracy", data_hash="")
    found = line(build_table(made, rows), "lstm").comparison
    assert found.notes == ()
    assert found.high - found.low > 0.1


def test_the_cost_of_a_run_is_the_median_time_and_the_largest_memory(recipe, results):
    made = recipe(PLAIN)
    found = line(build_table(made, results(made, "lstm", [1.0, 2.0, 6.0])), "lstm").ours["paper"]
    assert (found.wall_seconds, found.peak_memory_mb, found.parameters) == (120.0, 300.0, 17950)


def test_other_scales_stand_in_a_column_of_their_own_without_a_verdict(recipe, results):
    made = recipe(LSTM, extra=TOLERANCE)
    table = build_table(made, results(made, "lstm", [9.0, 9.0, 9.0], scale="cpu"))
    assert table.scales == ["paper", "cpu"]
    assert line(table, "lstm").ours["cpu"].mean == 9.0
    assert line(table, "lstm").comparison.verdict.outcome == "not run"
    assert list(table.out_of_tolerance()) == []


def test_one_scale_can_be_chosen(recipe, results):
    made = recipe(LSTM, extra=TOLERANCE)
    rows = results(made, "lstm", [9.0], scale="cpu") + results(made, "lstm", [1.0])
    table = build_table(made, rows, "cpu")
    assert (table.scales, list(line(table, "lstm").ours)) == (["cpu"], ["cpu"])
    assert line(table, "lstm").comparison is None


def test_an_unknown_scale_is_refused(recipe):
    with pytest.raises(UsageError, match="cpuu"):
        build_table(recipe(LSTM), [], "cpuu")


@pytest.mark.parametrize("column", ["train_hash", "eval_hash"])
def test_results_of_other_settings_are_left_out_and_counted(recipe, results, column):
    made = recipe(LSTM)
    rows = results(made, "lstm", [1.0, 2.0])
    stale = [replace(row, seed=9, **{column: "0" * 12}) for row in rows]
    table = build_table(made, rows + stale)
    assert line(table, "lstm").ours["paper"].n == 2
    assert any(remark.startswith("left out: 2 results of other settings") for remark in table.remarks)


def test_changing_the_recipe_makes_its_results_stale(recipe, results):
    rows = results(recipe(LSTM), "lstm", [1.0])
    changed = recipe("  - {id: lstm, title: LSTM, train.steps: 11}")
    assert line(build_table(changed, rows), "lstm").ours == {}


def test_renaming_rows_titles_protocols_and_moving_them_keeps_the_results(recipe, results):
    rows = results(recipe(LSTM), "lstm", [1.0])
    renamed = recipe(
        "  - {id: gru, title: GRU, model.core.kind: gru}\n  - {id: lstm, title: Long}",
        TEST="{name: final, split: test, metrics: [bpc]}",
    )
    assert line(build_table(renamed, rows), "lstm", "final").ours["paper"].mean == 1.0


def test_results_of_other_data_are_not_averaged_with_the_newest(recipe, results):
    made = recipe(LSTM)
    old = results(made, "lstm", [1.0], data_hash="old")
    new = results(made, "lstm", [2.0], data_hash="new", time="2026-02-02T00:00:00Z")
    table = build_table(made, new + old)
    assert (line(table, "lstm").ours["paper"].mean, line(table, "lstm").ours["paper"].n) == (2.0, 1)
    assert "left out: 1 result of other data than the newest result" in table.remarks


def test_runs_with_set_and_rows_the_recipe_lost_are_left_out_and_counted(recipe, results):
    made = recipe(LSTM)
    (row,) = results(made, "lstm", [1.0])
    table = build_table(made, [replace(row, scale="custom"), replace(row, row="gone")])
    assert line(table, "lstm").ours == {}
    assert any("--set" in remark for remark in table.remarks)
    assert any("rows that the recipe does not have" in remark for remark in table.remarks)


def test_a_note_that_several_published_tables_share_is_told_once():
    remarks = build_table(load_recipe("babilong"), []).remarks
    assert [text.partition(",")[0] for text in remarks if text.startswith("published table")] == [
        "published table: ARMT rows are the mean of 3 runs"
    ]


@pytest.mark.parametrize("shown", [None, "cpu"])
def test_results_of_a_scale_the_recipe_lost_are_left_out_and_counted(recipe, results, shown):
    made = recipe(LSTM)
    rows = [replace(row, scale="gone") for row in results(made, "lstm", [1.0, 1.0])]
    table = build_table(made, rows + results(made, "lstm", [1.0]), shown)
    assert [text for text in table.remarks if text.startswith("left out")] == [
        "left out: 2 results of scales that the recipe does not have now"
    ]


def test_published_rows_that_no_row_stands_for_are_listed_as_not_run(recipe, results):
    made = recipe(LSTM, extra="published: rum2019.ptb_char")
    table = build_table(made, results(made, "lstm", [1.0]))
    found = line(table, "rum2019.ptb_char.fs_lstm_2")
    assert (found.kind, found.published.value, found.ours) == ("published", 1.19, {})
    assert found.comparison.verdict.outcome == "not run"
    assert "rum2019.ptb_char.fs_rum_2" not in [one.id for one in section(table).lines]
    assert [one.id for one in section(table, "valid").lines] == ["lstm", "chance"]


def test_the_published_number_stands_beside_the_test_split_alone(recipe, results):
    made = recipe(LSTM, extra=TOLERANCE)
    rows = results(made, "lstm", [1.19, 1.19, 1.19], protocol="valid")
    found = line(build_table(made, rows), "lstm", "valid")
    assert found.published is None
    assert found.comparison.verdict.outcome == "no published number"


def test_an_unverified_cell_is_blank_and_says_so(recipe, results):
    made = recipe("  - {id: lstm, title: LSTM, published: rum2019.ptb_char.lstm_1000}", extra=TOLERANCE)
    table = build_table(made, results(made, "lstm", [1.0, 1.0, 1.0]))
    found = line(table, "lstm")
    assert (found.published.verified, found.published.value, found.published.text) == (False, None, None)
    assert found.comparison.verdict.outcome == "no published number"
    assert any(remark.startswith("unverified") for remark in table.remarks)


def test_text_is_shown_and_never_compared(recipe, results):
    made = recipe("  - {id: rum, title: RUM, published: rum2019.copying.rum}", "copying", TOLERANCE)
    rows = results(made, "rum", [0.0, 0.0, 0.0], name="loss", data_hash="")
    found = line(build_table(made, rows), "rum")
    assert found.published.text == "learns the Copying Memory task completely"
    assert found.comparison.difference is None
    assert (found.comparison.verdict.outcome, found.comparison.verdict.reason) == (
        "no verdict",
        "published as text",
    )


def test_published_percent_meets_our_fraction(recipe, results):
    made = recipe(
        "  - {id: lstm, title: LSTM, published: urlstm2020.scifar.ur_lstm}", "recall", "tolerance: 0.01"
    )
    rows = results(made, "lstm", [0.709, 0.71, 0.711], name="accuracy", data_hash="")
    found = line(build_table(made, rows), "lstm")
    assert found.published.value == 0.71
    assert found.comparison.difference == pytest.approx(0.0, abs=1e-12)
    assert found.comparison.verdict.outcome == "reproduced"


def test_curves_are_shown_over_their_x_in_our_unit(recipe, results):
    made = recipe("  - {id: lstm, title: LSTM, published: rmt1m2023.fig1.memorize}", "recall")
    found = line(build_table(made, results(made, "lstm", [1.0], name="accuracy", data_hash="")), "lstm")
    assert dict(zip(found.published.x, found.published.curve, strict=True))[4096] == 0.906
    assert found.comparison.verdict.reason == "published as a curve"


def test_a_published_metric_that_is_not_measured_stands_apart(recipe, results):
    made = recipe("  - {id: lstm, title: LSTM, published: rum2019.ptb_char.fs_rum_2}", "recall")
    table = build_table(made, results(made, "lstm", [1.0], name="accuracy", data_hash=""))
    assert line(table, "lstm").published is None
    found = line(table, "rum2019.ptb_char.fs_rum_2", "")
    assert (section(table, "").metric, found.published.value) == ("bpc", 1.189)
    assert found.comparison.verdict.reason == "another metric measured"


def test_chance_stands_beside_the_models_for_the_task_of_each_scale(recipe, results):
    made = recipe(PLAIN, "copying", **{"cpu: {": "cpu: {task.length: 20, "})
    table = build_table(made, results(made, "lstm", [0.5], name="loss", scale="cpu", data_hash=""))
    (found,) = [one for one in section(table, name="loss").lines if one.kind == "chance"]
    assert found.ours["paper"].mean == pytest.approx(0.0945201, rel=1e-5)
    assert found.ours["cpu"].mean == pytest.approx(0.5198604, rel=1e-5)
    assert found.ours["cpu"].n == 0


def test_rows_that_are_not_run_at_every_scale_share_the_chance_of_those_that_are(recipe, results):
    rows = "  - {id: lstm, title: LSTM}\n  - {id: gru, title: GRU}"
    made = recipe(rows, "copying", **{"cpu: {": "cpu: {rows: [gru], task.length: 20, "})
    table = build_table(made, results(made, "gru", [0.5], name="loss", scale="cpu", data_hash=""))
    (found,) = [one for one in section(table, name="loss").lines if one.kind == "chance"]
    assert (found.title, set(found.ours)) == ("chance", {"paper", "cpu"})


def test_rows_of_different_tasks_have_chances_of_their_own(recipe, results):
    rows = "  - {id: short, title: Short, task.length: 20}\n  - {id: long, title: Long}"
    made = recipe(rows, "copying")
    table = build_table(made, results(made, "long", [0.5], name="loss", data_hash=""))
    titles = [one.title for one in section(table, name="loss").lines if one.kind == "chance"]
    assert titles == ["chance for Short", "chance for Long"]


def test_language_models_have_no_solve_rate_and_the_same_chance_with_and_without_their_text(
    recipe, results, write_text
):
    made = recipe(PLAIN)
    without = build_table(made, results(made, "lstm", [1.0]))
    write_text()
    table = build_table(made, results(made, "lstm", [1.0]))
    assert section(table).lines == section(without).lines
    assert [one.kind for one in section(table).lines] == ["row", "chance"]
    assert line(table, "lstm").ours["paper"].solve_rate is None


def test_generated_tasks_have_a_solve_rate_in_which_a_diverged_seed_counts_as_unsolved(recipe, results):
    made = recipe(PLAIN, "recall")
    rows = results(made, "lstm", [1.0, 0.99, 0.1, None], name="accuracy", data_hash="")
    found = line(build_table(made, rows), "lstm").ours["paper"]
    assert (found.solve_rate.solved, found.solve_rate.seeds) == (2, 4)
    assert (found.n, found.planned, found.failed) == (3, 3, {"diverged": 1})


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_seed_that_ended_with_no_number_has_not_solved_the_task(recipe, results, value):
    made = recipe(PLAIN, "copying", extra="solved: {metric: loss, at: 0.001}")
    rows = results(made, "lstm", [0.0, 0.0, 0.0, value], name="loss", data_hash="")
    found = line(build_table(made, rows), "lstm").ours["paper"]
    assert (found.solve_rate.solved, found.solve_rate.seeds) == (3, 4)
    assert (found.n, found.failed) == (3, {"no value": 1})


def test_two_seeds_are_too_few(recipe, results):
    made = recipe(LSTM, extra=TOLERANCE)
    found = line(build_table(made, results(made, "lstm", [1.189, 1.189])), "lstm")
    assert found.comparison.verdict.outcome == "too few seeds"


@pytest.mark.parametrize(
    ("columns", "reason"),
    [({"git_dirty": "true"}, "dirty tree"), ({"data_hash": "abc-partial"}, "partial data")],
)
def test_a_dirty_tree_or_partial_data_get_no_verdict(recipe, results, columns, reason):
    made = recipe(LSTM, extra=TOLERANCE)
    found = line(build_table(made, results(made, "lstm", [1.189] * 3, **columns)), "lstm")
    assert (found.comparison.verdict.outcome, found.comparison.verdict.reason) == ("no verdict", reason)


def test_without_a_tolerance_there_is_no_verdict(recipe, results):
    made = recipe(LSTM)
    found = line(build_table(made, results(made, "lstm", [1.189] * 3)), "lstm")
    assert found.comparison.verdict.reason == "no tolerance stated"


def test_a_value_that_is_not_finite_is_no_value(recipe, results):
    made = recipe(LSTM)
    found = line(build_table(made, results(made, "lstm", [float("nan"), 1.0])), "lstm")
    assert (found.ours["paper"].mean, found.ours["paper"].failed) == (1.0, {"no value": 1})


def test_matrix_cells_and_parts_have_sections_of_their_own(recipe, results, monkeypatch):
    monkeypatch.setattr(TaskSettings, "parts", lambda _: ("qa3", "qa4"))
    made = recipe(PLAIN, "recall", "matrix: {task.length: [10, 20]}")
    rows = [
        replace(row, part=part)
        for part in ("", "qa3")
        for row in results(made, "lstm", [1.0], name="accuracy", cell="length=20", data_hash="")
    ]
    places = [(s.cell, s.part) for s in build_table(made, rows).sections if s.protocol == "test"]
    assert places == [("length=10", ""), ("length=20", ""), ("length=20", "qa3")]


def test_the_number_of_a_whole_row_is_not_compared_with_its_matrix_cells(recipe, results):
    row = "  - {id: lstm, title: LSTM, published: rum2019.babi.rum_no_attention}"
    made = recipe(row, "recall", "matrix: {task.length: [10, 20]}")
    rows = results(made, "lstm", [0.7], name="accuracy", cell="length=20", data_hash="")
    found = line(build_table(made, rows), "rum2019.babi.rum_no_attention", "")
    assert found.comparison.verdict.reason == "measured in cells"


def test_footnotes_carry_deviations_and_sources_and_are_not_repeated(recipe):
    rows = "\n".join(
        f"  - {{id: lstm{k}, title: LSTM {k}, published: rum2019.ptb_char.{name}, notes: [plain LSTM]}}"
        for k, name in enumerate(["fs_lstm_2", "fs_lstm_4"])
    )
    table = build_table(recipe(rows, extra="notes: [fewer steps]"), [])
    (own,) = line(table, "lstm1").notes
    (source,) = line(table, "lstm1").published.notes
    assert line(table, "lstm0").notes == (own,)
    assert table.footnotes[own - 1] == "plain LSTM"
    assert "arXiv:1705.08639 Table 1" in table.footnotes[source - 1]
    assert table.footnotes[source - 1].endswith("[dangovski2019rotational]")
    assert len(table.footnotes) == 2
    assert "fewer steps" in table.remarks


def test_a_number_of_the_validation_split_stands_where_that_is_measured(recipe):
    row = "  - {id: lstm, title: LSTM, published: urlstm2020.gate_ablation_pmnist.ur_lstm}"
    protocols = {"TEST": "{name: test, split: test, examples: 10, metrics: [accuracy]}"}
    protocols |= {"VALID": "{name: valid, split: valid, examples: 10, metrics: [accuracy]}"}
    table = build_table(recipe(row, "recall", **protocols), [])
    assert line(table, "lstm", "valid").published.value == 0.9643
    assert line(table, "lstm", "test").published is None


@pytest.mark.parametrize(("values", "marked"), [([0.36, 0.355, 0.357], True), ([0.5, 0.51, 0.52], False)])
def test_a_row_no_better_than_knowing_which_answers_occurred_is_marked(recipe, results, values, marked):
    made = recipe(PLAIN, "recall")  # of five pairs: 0.358
    table = build_table(made, results(made, "lstm", values, name="accuracy", data_hash=""))
    baselines = {one.id: one.ours["paper"].mean for one in section(table).lines if one.kind == "chance"}
    assert baselines == pytest.approx(
        {"chance": 0.1, "knowing which answers occurred, not where": 0.35758}, abs=1e-5
    )
    notes = [table.footnotes[note - 1] for note in line(table, "lstm").notes]
    assert bool(notes) == marked
    assert all(note.startswith("not surely better than knowing which answers occurred") for note in notes)


@pytest.mark.parametrize("form", ["published table", "curve"])
def test_a_footnote_of_one_value_of_several_stands_at_that_value(recipe, results, form):
    published = ", published: rum2017.recall.lstm" if form == "published table" else ""
    tables = "\npublished: rum2017.recall" if published else ""
    made = recipe(
        f"  - {{id: lstm, title: LSTM, notes: [of the row]{published}}}",
        "recall",
        extra=f"matrix: {{task.length: [{'30' if published else '30, 40'}, 50]}}{tables}",
    )
    values = {30: [0.5, 0.51, 0.52], 40: [0.6, 0.61, 0.62], 50: [0.2, 0.21, 0.22]}  # 0.207 without the keys
    rows = [
        row
        for length, of in values.items()
        if length != 40 or not published
        for row in results(made, "lstm", of, name="accuracy", cell=f"length={length}", data_hash="")
    ]
    shown = page(build_table(made, rows), View())
    noted = {
        cell.text: [shown.footnotes[note - 1].partition(":")[0] for note in cell.notes]
        for grid in shown.grids
        for column in grid.columns
        for cell in (column.heading, *column.cells)
        if cell.notes and "published" not in cell.text
    }
    (of_the_row,) = (text for text, notes in noted.items() if notes == ["of the row"])
    assert of_the_row.startswith("LSTM")
    (of_the_value,) = (text for text, notes in noted.items() if notes and "not surely better" in notes[0])
    assert of_the_value.startswith("0.210")


def test_the_plateaus_of_copying_are_a_footnote_of_chance(recipe):
    table = build_table(recipe(PLAIN, "copying"), [])
    (chance,) = [one for one in section(table).lines if one.kind == "chance"]
    assert "from one on, 0.0851, 0.0756" in table.footnotes[chance.notes[0] - 1]


def test_results_without_a_commit_get_no_verdict(recipe, results):
    made = recipe(LSTM, extra=TOLERANCE)
    table = build_table(made, results(made, "lstm", [1.190, 1.191, 1.192], git_commit=""))
    assert line(table, "lstm").ours["paper"].caveats == ("no commit",)
    assert line(table, "lstm").comparison.verdict.reason == "no commit"


def test_a_row_of_a_table_with_columns_is_compared_in_the_cell_of_each(recipe, results):
    row = "  - {id: lstm, title: LSTM, published: rum2017.recall.lstm}"
    made = recipe(row, "recall", extra=f"{TOLERANCE}\nmatrix: {{task.length: [30, 50]}}")
    settings = {"name": "accuracy", "data_hash": ""}
    rows = [*results(made, "lstm", [0.256, 0.256, 0.257], cell="length=30", **settings)]
    sections = [one for one in build_table(made, rows).sections if one.protocol == "test"]
    found = {one.cell: next(line for line in one.lines if line.id == "lstm") for one in sections}
    assert {cell: one.published.value for cell, one in found.items()} == {
        "length=30": 0.256,
        "length=50": 0.205,
    }
    assert found["length=30"].comparison.verdict.outcome == "reproduced"
    assert found["length=50"].comparison.verdict.outcome == "not run"


def test_a_published_row_that_no_recipe_runs_says_why(recipe):
    table = build_table(recipe(PLAIN, extra="published: [fsrnn2017.enwik8]"), [])
    names = ("hyperlstm", "large_fs_lstm_4_ensemble")
    quoted, reasoned = (line(table, f"fsrnn2017.enwik8.{name}") for name in names)
    assert quoted.comparison.verdict.reason == "quoted by the paper"
    assert [table.footnotes[note - 1] for note in reasoned.notes] == [
        "an ensemble of two networks; no recipe averages what several say"
    ]


@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        ({}, ("0.500 ± 0.100", ())),
        ({"n": 2}, ("0.500 ± 0.100", ())),
        ({"n": 2, "failed": {"diverged": 1}}, ("0.500 ± 0.100 (2 of 3; 1 diverged)", ())),
        ({"caveats": ("dirty tree", "partial data")}, ("0.500 ± 0.100", ("dirty tree, partial data",))),
    ],
)
def test_a_value_without_its_seeds_tells_those_that_failed_and_why_it_gets_no_verdict(fields, shown):
    cell = wording.spread(Ours(**{"mean": 0.5, "sd": 0.1, "n": 3, "planned": 3, **fields}), 3)
    assert (cell.text, cell.more) == shown
