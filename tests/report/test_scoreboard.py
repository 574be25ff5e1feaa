"""The scoreboard counts each verified cell of each published table once."""

from collections import Counter

import pytest

from rmem_cli.published.store import find_table
from rmem_cli.recipe import list_recipes, load_recipe
from rmem_cli.report.build import build_table
from rmem_cli.report.citations import cite_table
from rmem_cli.report.scoreboard import build_scoreboard
from rmem_cli.report.scoreboard_layout import page
from rmem_cli.report.verdict import Outcome

ROWS = """
  - {id: lstm, title: LSTM, published: rum2019.ptb_char.fs_rum_2}
  - {id: twin, title: Twin, published: rum2019.ptb_char.fs_rum_2, model.core.hidden_size: 8}
"""


def unknown(spec):
    return None


@pytest.fixture
def made(recipe):
    return recipe(ROWS, extra="tolerance: 0.01\npublished: rum2019.ptb_char")


def only(board, table="rum2019.ptb_char"):
    return next(score for score in board.scores if score.table == table)


def test_the_first_row_that_was_run_speaks_for_a_cell(made, results):
    rows = results(made, "twin", [9.0, 9.1, 9.2])
    board = build_scoreboard([made], [build_table(made, rows)], unknown)
    score = only(board)
    assert score.outcomes == {Outcome.WORSE: 1}  # fs_rum_2 is the only number of the paper's own
    assert sum(one.quoted for one in board.scores if one.table == score.table) == sum(
        row.quoted and row.verified for row in find_table("rum2019.ptb_char").rows.values()
    )


def test_what_a_table_quotes_is_a_cell_where_a_row_stands_for_it_whatever_was_run(recipe, results):
    quoted = next(
        name for name, row in find_table("rum2019.ptb_char").rows.items() if row.quoted and row.verified
    )
    made = recipe(
        f"  - {{id: lstm, title: LSTM, published: rum2019.ptb_char.{quoted}}}", extra="tolerance: 0.01"
    )
    before = only(build_scoreboard([made], [], unknown))
    after = only(build_scoreboard([made], [build_table(made, results(made, "lstm", [1.19] * 3))], unknown))
    assert sum(before.outcomes.values()) == sum(after.outcomes.values()) == 2
    assert before.quoted == after.quoted


def test_a_cell_that_was_read_in_the_paper_is_not_counted_with_those_that_are_known_from_quotations():
    recipes = [load_recipe(name) for name in list_recipes()]
    found = [one for one in build_scoreboard(recipes, [], unknown).scores if one.table == "urlstm2020.smnist"]
    # printed: LSTM, and quoted by it Dilated GRU and IndRNN; from quotations: UR-LSTM, UR-GRU and six others
    assert [(one.is_lesser, one.cells, one.quoted) for one in found] == [(False, 1, 2), (True, 2, 6)]


def test_each_cell_is_counted_with_those_of_its_own_basis():
    board = build_scoreboard([load_recipe(name) for name in list_recipes()], [], unknown)
    for is_lesser in (False, True):
        counted = Counter(
            {one.table: one.cells + one.quoted for one in board.scores if one.is_lesser == is_lesser}
        )
        cited = (one for table in {one.table for one in board.scores} for one in cite_table(table))
        of_basis = [one for one in cited if (one.basis in ("digitized", "quoted")) == is_lesser]
        assert +counted == Counter(one.table_id for one in of_basis if one.row.verified)


def test_results_of_a_smaller_size_are_counted_apart(made, results):
    rows = results(made, "lstm", [9.0], scale="cpu")
    score = only(build_scoreboard([made], [build_table(made, rows)], unknown))
    assert (score.outcomes, score.smaller) == ({Outcome.NOT_RUN: 1}, 1)


def test_a_cell_whose_results_cannot_be_compared_with_it_is_not_one_that_was_not_run(recipe, results):
    row = "  - {id: lstm, title: LSTM, published: rum2019.babi.rum_no_attention}"
    made = recipe(row, "recall", "matrix: {task.length: [10, 20]}")
    in_a_cell = results(made, "lstm", [0.7], name="accuracy", cell="length=20", data_hash="")
    for rows, outcome in (([], Outcome.NOT_RUN), (in_a_cell, Outcome.NO_VERDICT)):
        score = only(build_scoreboard([made], [build_table(made, rows)], unknown), "rum2019.babi")
        assert score.outcomes[outcome] >= 1
        assert score.has_results == bool(rows)
        assert score.outcomes.get(Outcome.NO_VERDICT, 0) == bool(rows)


def test_the_next_row_is_the_cheapest_by_what_its_seeds_take(made, results):
    rows = results(made, "lstm", [1.19, 1.19])  # 60 and 120 seconds
    costs = {"lstm": 1.0, "twin": 50.0}
    board = build_scoreboard([made], [build_table(made, rows)], lambda spec: costs[spec.row])
    found = [(one.row, one.seeds, one.seconds) for one in board.candidates]
    assert found == [("lstm", 1, 90.0), ("twin", 3, 150.0)]
    assert board.candidates[0].command == "rmem train made_up.yaml --row lstm"


def test_without_any_known_cost_a_sentence_says_how_to_find_it(made):
    shown = page(build_scoreboard([made], [], unknown))
    assert any("`rmem train NAME --dry-run` finds it" in remark for remark in shown.remarks)


def test_every_verified_cell_of_every_table_is_counted_once():
    recipes = [load_recipe(name) for name in list_recipes()]
    board = build_scoreboard(recipes, [], unknown)
    assert not {score.table for score in board.scores} & set(board.idle)
    for name in {score.table for score in board.scores}:
        table, scores = find_table(name), [score for score in board.scores if score.table == name]
        cells = 0
        for row in table.rows.values():
            values = row.value if table.columns and isinstance(row.value, tuple) else [row.value]
            cells += sum(value is not None for value in values)
        assert sum(score.cells + score.quoted for score in scores) == cells
