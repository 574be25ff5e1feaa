import csv
import io
import json
import re
from dataclasses import replace

import pytest

from rmem_cli.recipe import list_recipes, load_recipe
from rmem_cli.recipe.registry import CORES
from rmem_cli.report.core_grid import Best, CoreGrid, build_core_grid
from rmem_cli.report.formats import FORMATS
from rmem_cli.report.table import Ours

ROWS = """
  - {id: small, title: Small LSTM}
  - {id: large, title: Large LSTM, model.core.hidden_size: 8}
  - {id: rum, title: RUM, model.core: {kind: rum, hidden_size: 4}}
"""


def written(name, grid, *, everything=False):
    file = io.StringIO()
    FORMATS[name].write_core_grid(grid, everything, file)
    return file.getvalue()


def test_a_cell_is_the_row_of_a_core_with_the_best_mean(recipe, results):
    made = recipe(ROWS)
    rows = (
        results(made, "small", [1.5, 1.7]) + results(made, "large", [1.4, 1.9]) + results(made, "rum", [None])
    )
    (line,) = build_core_grid([(made, rows)]).lines
    assert (line.experiment, line.task, line.data) == ("made_up", "language_model", "ptb char")
    assert (line.scale, line.protocol, line.metric) == ("paper", "test", "bpc")
    lstm = line.best["lstm"]
    assert (lstm.row, lstm.rows, lstm.ours.n, lstm.ours.planned) == ("small", 2, 2, 3)
    assert lstm.ours.mean == pytest.approx(1.6)
    assert line.best["rum"].ours.failed == {"diverged": 1}


def test_higher_is_better_where_it_is(recipe, results):
    made = recipe(ROWS, "recall")
    rows = [
        row
        for name, value in (("small", 0.2), ("large", 0.3))
        for row in results(made, name, [value], name="accuracy", data_hash="")
    ]
    (line,) = build_core_grid([(made, rows)]).lines
    assert line.best["lstm"].row == "large"


def test_a_core_whose_seeds_failed_is_behind_one_with_a_value(recipe, results):
    made = recipe(ROWS)
    rows = results(made, "small", [None]) + results(made, "large", [9.0])
    assert build_core_grid([(made, rows)]).lines[0].best["lstm"].row == "large"


@pytest.mark.parametrize("column", ["train_hash", "eval_hash"])
def test_a_result_that_the_recipe_would_not_give_now_is_not_in_the_grid(recipe, results, column):
    made = recipe(ROWS)
    rows = [replace(row, **{column: "000000000000"}) for row in results(made, "small", [1.5])]
    assert build_core_grid([(made, rows)]).lines[0].best == {}


def test_every_core_and_every_experiment_is_there_however_few_results_there_are():
    recipes = [load_recipe(name) for name in list_recipes()]
    grid = build_core_grid([(recipe, []) for recipe in recipes], "smoke")
    assert grid.cores == CORES.kinds()
    assert {line.experiment for line in grid.lines} == set(list_recipes())
    tasks = [line.task for line in grid.lines]
    assert len(list(dict.fromkeys(tasks))) == sum(
        a != b for a, b in zip(tasks, [*tasks[1:], ""], strict=True)
    )


@pytest.mark.parametrize("columns", [80, 110])
def test_no_terminal_is_too_narrow_for_a_full_grid(recipe, monkeypatch, columns):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    for name, value in {"TERM": "xterm", "COLUMNS": str(columns), "NO_COLOR": "1"}.items():
        monkeypatch.setenv(name, value)
    grid = build_core_grid([(recipe(ROWS), [])])
    best = Best("small", "A row", 1, Ours(mean=193.03, n=1, planned=3, failed={"diverged": 2}))
    lines = [replace(line, digits=2, best=dict.fromkeys(grid.cores, best)) for line in grid.lines]
    file = Terminal()
    FORMATS["terminal"].write_core_grid(CoreGrid(grid.cores, lines), True, file)
    text = re.sub(r"\x1b\[[0-9;]*m", "", file.getvalue())
    assert max(map(len, text.splitlines())) <= columns
    for core in grid.cores:
        assert all(word in text.split() for word in core.split("_"))
    assert text.count("193.03") == len(grid.cores)
    assert "…" not in text


def test_scales_are_lines_of_their_own_so_that_cells_of_a_line_can_be_compared(recipe, results):
    made = recipe(ROWS)
    rows = results(made, "small", [1.5]) + results(made, "rum", [1.2], scale="cpu")
    lines = build_core_grid([(made, rows)]).lines
    assert [(line.scale, list(line.best)) for line in lines] == [("paper", ["lstm"]), ("cpu", ["rum"])]
    assert [line.scale for line in build_core_grid([(made, rows)], "cpu").lines] == ["cpu"]
    only_cpu = build_core_grid([(made, results(made, "rum", [1.2], scale="cpu"))]).lines
    assert [line.scale for line in only_cpu] == ["cpu"]


def test_matrix_cells_are_lines_and_folds_are_one(recipe, results):
    made = recipe(ROWS, "recall", "matrix: {task.length: [10, 20]}")
    assert [line.cell for line in build_core_grid([(made, [])]).lines] == ["length=10", "length=20"]
    made = recipe(ROWS, "articles", "matrix: {task.fold: [0, 1]}")
    rows = [
        row
        for fold in (0, 1)
        for row in results(made, "rum", [0.5 + fold / 4], name="f1", cell=f"fold={fold}")
    ]
    (line,) = build_core_grid([(made, rows)]).lines
    assert (line.cell, line.best["rum"].ours.mean) == ("2 folds together", 0.625)


def test_of_several_lengths_the_longest_with_results_is_shown(recipe, results):
    made = recipe(ROWS, "facts")
    assert build_core_grid([(made, [])]).lines[0].x == 3
    rows = results(made, "rum", [0.5], name="accuracy", protocol="one")
    (line,) = build_core_grid([(made, rows)]).lines
    assert (line.protocol, line.x_name, line.x) == ("one", "segments", 1)


def test_rmt_without_memory_counts_as_transformer_xl():
    specs = {spec.row: spec for spec in load_recipe("rmt_wt2").runs()}
    cores = [spec.settings.model.core for spec in specs.values()]
    counted = {(core.equal_kind, core.memory_tokens > 0) for core in cores}
    assert counted == {("rmt", True), ("transformer_xl", False)}


def test_the_csv_form_has_a_record_for_every_core_with_every_digit(recipe, results):
    made = recipe(ROWS)
    records = list(
        csv.DictReader(
            io.StringIO(written("csv", build_core_grid([(made, results(made, "rum", [1.23456]))])))
        )
    )
    assert [record["core"] for record in records] == CORES.kinds()
    found = {record["core"]: (record["row"], record["mean"], record["seeds"]) for record in records}
    assert found["rum"] == ("rum", "1.23456", "1")
    assert found["lstm"] == ("", "", "")


def test_the_json_form_has_the_fields_of_the_grid(recipe, results):
    made = recipe(ROWS)
    document = json.loads(written("json", build_core_grid([(made, results(made, "rum", [1.23456]))])))
    assert (document["schema"], document["grid"]["cores"]) == (1, CORES.kinds())
    assert document["grid"]["lines"][0]["best"]["rum"]["ours"]["mean"] == 1.23456


def test_people_see_value_seeds_and_row_and_what_was_never_run(recipe, results):
    made = recipe(ROWS)
    text = written("markdown", build_core_grid([(made, results(made, "rum", [1.23456]))]))
    assert "| made_up bpc ↓, paper | 1.235 (1 of 3) ¹ |" in text
    assert "- ¹ RUM\n" in text
    assert "1 of 1 lines have results" in text


def test_what_has_no_result_is_counted_and_listed_by_all(recipe, results):
    made = recipe(ROWS)
    grid = build_core_grid([(made, results(made, "rum", [1.5])), (load_recipe("ur_copy"), [])])
    first, whole = written("markdown", grid), written("markdown", grid, everything=True)
    assert "ur_copy" not in first
    assert f"1 lines and {len(CORES.kinds()) - 1} cores without results" in first
    assert "ur_copy" in whole
    assert "| made_up bpc ↓, paper | - | not run | - | 1.500 (1 of 3) ¹ |" in whole


def test_lstm_and_ur_lstm_stand_apart(recipe, results):
    rows = """
  - {id: lstm, title: LSTM, model.core: {kind: gated_lstm, hidden_size: 4, gate: "-"}}
  - {id: ur, title: UR-LSTM, model.core: {kind: gated_lstm, hidden_size: 4, gate: UR}}
"""
    made = recipe(rows)
    found = results(made, "lstm", [1.5]) + results(made, "ur", [1.4])
    (line,) = build_core_grid([(made, found)]).lines
    assert {core: best.row for core, best in line.best.items()} == {"lstm": "lstm", "gated_lstm": "ur"}
