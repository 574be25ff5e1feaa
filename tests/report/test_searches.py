"""What is chosen by validation among the candidates of a search, and where it stands in tables."""

import io
from dataclasses import replace

import pytest

from rmem_cli.report.build import build_table
from rmem_cli.report.core_grid import build_core_grid
from rmem_cli.report.formats import FORMATS
from rmem_cli.report.joined import join
from rmem_cli.report.searches import chosen_runs

ROWS = """
  - {id: lstm, title: LSTM}
  - {id: rum, title: RUM, model.core: {kind: rum, hidden_size: 4}}
"""
LSTM = "  - {id: lstm, title: LSTM}"
RATES = """
matrix: {optimizer.lr: [0.1, 0.2, 0.4]}
search: {over: [optimizer.lr], protocol: valid, seeds: [1, 2, 3]}
"""
ONE_SEED = {"seeds: [1, 2, 3]\nscales": "seeds: [1]\nscales"}
CHOSEN = "lr by valid"


@pytest.fixture
def made(recipe):
    """A recipe that searches three rates by one seed."""
    return lambda rows=LSTM: recipe(rows, extra=RATES, **ONE_SEED)


@pytest.fixture
def measured(results):
    """Results of one rate: validation and test of seeds 1, 2, ..."""

    def make(made, rate, valid, test, row="lstm"):
        return results(made, row, valid, protocol="valid", cell=f"lr={rate}") + results(
            made, row, test, cell=f"lr={rate}"
        )

    return make


def lines_of(table):
    (section,) = (one for one in table.sections if (one.cell, one.protocol) == (CHOSEN, "test"))
    assert section.is_chosen
    return {line.id: line for line in section.lines if line.kind == "row"}


def ours(made, rows):
    return lines_of(build_table(made, rows))["lstm"].ours.get("paper")


def test_the_best_validation_chooses_whatever_the_test_says(made, measured):
    made = made()
    rows = [
        *measured(made, 0.1, [3.0], [1.0]),
        *measured(made, 0.2, [2.0, 2.5, 2.5], [6.0, 7.0, 8.0]),
        *measured(made, 0.4, [2.1], [5.0]),
    ]
    found = ours(made, rows)
    assert (found.mean, found.sd, found.n, found.planned) == (7.0, 1.0, 3, 3)


def test_only_the_seeds_of_the_candidates_choose_and_only_those_of_the_search_are_told(made, measured):
    made = made()
    rows = [
        *measured(made, 0.1, [2.0, 9.0, 9.0, 9.0], [4.0, 5.0, 6.0, 90.0]),  # worst on average
        *measured(made, 0.2, [2.1, 0.1], [1.0, 1.0]),
        *measured(made, 0.4, [2.2], [1.0]),
    ]
    assert (ours(made, rows).mean, ours(made, rows).n) == (5.0, 3)


def test_nothing_is_chosen_before_every_candidate_has_its_results(made, measured):
    made = made()
    rows = [*measured(made, 0.1, [2.0], [4.0]), *measured(made, 0.2, [2.1], [1.0])]
    assert ours(made, rows) is None
    assert ours(made, [*rows, *measured(made, 0.4, [], [1.0])]) is None  # tested, and not validated
    assert ours(made, [*rows, *measured(made, 0.4, [3.0], [1.0])]).mean == 4.0


def test_every_seed_of_a_candidate_counts(recipe, measured):
    made = recipe(LSTM, extra=RATES, **{"seeds: [1, 2, 3]\nscales": "seeds: [1, 2]\nscales"})
    rows = [*measured(made, 0.1, [2.0, 2.0], [4.0, 5.0]), *measured(made, 0.2, [3.0, 3.0], [1.0, 1.0])]
    assert ours(made, [*rows, *measured(made, 0.4, [1.9], [1.0])]) is None
    assert ours(made, [*rows, *measured(made, 0.4, [1.9, 2.5], [1.0, 1.0])]).mean == 4.5


@pytest.mark.parametrize("worst", [None, float("nan"), float("inf")])
def test_a_candidate_that_diverged_is_the_worst(made, measured, worst):
    made = made()
    rows = [
        *measured(made, 0.1, [worst], [1.0]),
        *measured(made, 0.2, [99.0], [4.0]),
        *measured(made, 0.4, [worst], [1.0]),
    ]
    assert ours(made, rows).mean == 4.0


def test_where_all_candidates_diverged_the_first_shows_it_and_nothing_more_is_to_come(made, measured):
    made = made()
    rows = [row for rate in (0.1, 0.2, 0.4) for row in measured(made, rate, [None], [None])]
    table = build_table(made, rows)
    line = lines_of(table)["lstm"]
    assert (line.ours["paper"].mean, line.ours["paper"].n) == (None, 0)
    (note,) = (table.footnotes[number - 1] for number in line.notes)
    assert note == "lr=0.1 stands for 3 of which none has a number by valid bpc, seed 1"
    assert chosen_runs(made.runs(), join(made, rows, "paper").plan["paper"]) == ([], 0)


def test_candidates_measured_on_different_data_choose_nothing(made, measured):
    made = made()
    rows = [row for rate in (0.2, 0.4) for row in measured(made, rate, [rate], [3.0])]
    first = measured(made, 0.1, [0.1], [3.0])
    assert ours(made, [*first, *rows]).mean == 3.0
    spec = next(spec for spec in made.runs() if spec.cell == "lr=0.1")
    moved = [replace(row, data_hash="another", train_hash=spec.train_hash("another")) for row in first]
    assert ours(made, [*moved, *rows]) is None


def test_of_equal_candidates_the_first_is_chosen(made, measured):
    made = made()
    rows = [
        row
        for rate, test in ((0.1, 4.0), (0.2, 5.0), (0.4, 6.0))
        for row in measured(made, rate, [2.0], [test])
    ]
    table = build_table(made, rows)
    line = lines_of(table)["lstm"]
    assert line.ours["paper"].mean == 4.0
    (note,) = (table.footnotes[number - 1] for number in line.notes)
    assert note == "lr=0.1: the first of 3 that are equally the best of 3 by valid bpc, seed 1"


def test_of_choices_at_several_scales_the_footnotes_name_the_scale(recipe, measured, results):
    made = recipe(LSTM, extra=RATES, **ONE_SEED)
    rows = [row for rate in (0.1, 0.2, 0.4) for row in measured(made, rate, [rate], [3.0])]
    rows += [
        row
        for rate in (0.1, 0.2, 0.4)
        for protocol in ("valid", "test")
        for row in results(made, "lstm", [1 / rate], scale="cpu", protocol=protocol, cell=f"lr={rate}")
    ]
    table = build_table(made, rows)
    notes = [table.footnotes[number - 1] for number in lines_of(table)["lstm"].notes]
    assert [note.partition(":")[0] for note in notes] == ["paper", "cpu"]


def test_where_more_is_better_the_most_is_chosen(recipe, results):
    made = recipe(LSTM, "recall", RATES, **ONE_SEED, **{"metrics: [loss]": "metrics: [accuracy]"})
    rows = [
        row
        for rate, value in ((0.1, 0.3), (0.2, 0.5), (0.4, 0.4))
        for protocol in ("valid", "test")
        for row in results(made, "lstm", [value], name="accuracy", protocol=protocol, cell=f"lr={rate}")
    ]
    (section,) = (
        one for one in build_table(made, rows).sections if (one.cell, one.protocol) == (CHOSEN, "test")
    )
    assert section.lines[0].ours["paper"].mean == 0.5


@pytest.mark.parametrize(
    ("best", "told"), [(0.2, ""), (0.1, "; at the edge of what was tried of lr"), (0.4, "; at the edge of")]
)
def test_a_footnote_names_the_choice_and_says_if_it_is_at_the_edge(made, measured, best, told):
    made = made()
    rows = [
        row for rate in (0.1, 0.2, 0.4) for row in measured(made, rate, [1.0 if rate == best else 2.0], [3.0])
    ]
    table = build_table(made, rows)
    (note,) = (table.footnotes[number - 1] for number in lines_of(table)["lstm"].notes)
    assert note.startswith(f"lr={best}: the best of 3 by valid bpc, seed 1{told}")
    assert told or note.endswith("seed 1")


def test_of_two_values_neither_is_called_the_edge(recipe, measured):
    made = recipe(LSTM, extra=RATES.replace("0.1, 0.2, 0.4", "0.1, 0.2"), **ONE_SEED)
    table = build_table(made, [row for rate in (0.1, 0.2) for row in measured(made, rate, [rate], [3.0])])
    (note,) = (table.footnotes[number - 1] for number in lines_of(table)["lstm"].notes)
    assert note == "lr=0.1: the best of 2 by valid bpc, seed 1"


def test_the_table_shows_what_was_chosen_beside_each_other_and_the_grid_has_one_line(made, measured):
    made = made(ROWS)
    rows = [
        row
        for name, values in (("lstm", (3.0, 2.0, 4.0)), ("rum", (7.0, 8.0, 6.0)))
        for rate, value in zip((0.1, 0.2, 0.4), values, strict=True)
        for row in measured(made, rate, [value], [value + 0.5], name)
    ]
    file = io.StringIO()
    FORMATS["markdown"].write([build_table(made, rows)], file)
    (grid,) = (part for part in file.getvalue().split("\n\n**") if part.startswith(f"{CHOSEN}, test: bpc"))
    assert [
        line.split("|")[2].strip() for line in grid.splitlines() if line.startswith(("| LSTM", "| RUM"))
    ] == [
        "2.500 (1 of 3)",
        "6.500 (1 of 3)",
    ]
    (line,) = build_core_grid([(made, rows)]).lines
    assert (line.cell, line.best["lstm"].ours.mean, line.best["rum"].ours.mean) == (CHOSEN, 2.5, 6.5)


def test_rows_that_search_nothing_keep_their_places_in_the_grid(recipe, measured, results):
    none = "  - {id: gru, title: GRU, model.core.kind: gru, matrix: null, search: null}\n"
    made = recipe(LSTM + "\n" + none, extra=RATES, **ONE_SEED)
    rows = [row for rate in (0.1, 0.2, 0.4) for row in measured(made, rate, [rate], [3.0])]
    grid = build_core_grid([(made, [*rows, *results(made, "gru", [5.0])])])
    assert {(line.cell, core): best.ours.mean for line in grid.lines for core, best in line.best.items()} == {
        (CHOSEN, "lstm"): 3.0,
        ("", "gru"): 5.0,
    }


def test_a_published_number_stands_beside_what_was_chosen_and_no_candidate(recipe, measured):
    made = recipe(
        LSTM.replace("LSTM}", "LSTM, published: rum2019.ptb_char.fs_rum_2}"), extra=RATES, **ONE_SEED
    )
    rows = [row for rate in (0.1, 0.2, 0.4) for row in measured(made, rate, [rate], [3.0])]
    cells = {
        section.cell: line.published.id
        for section in build_table(made, rows).sections
        for line in section.lines
        if line.published is not None
    }
    assert cells == {CHOSEN: "rum2019.ptb_char.fs_rum_2"}


def test_of_what_was_chosen_the_first_metric_of_the_test_has_a_grid_of_its_own(recipe, results):
    both = {"metrics: [accuracy]": "metrics: [accuracy, loss]"}
    made = recipe(LSTM, "recall", RATES, **ONE_SEED, **both)
    rows = [
        row
        for rate in (0.1, 0.2, 0.4)
        for protocol, name in (("valid", "loss"), ("test", "loss"), ("test", "accuracy"))
        for row in results(made, "lstm", [rate], name=name, protocol=protocol, cell=f"lr={rate}")
    ]
    file = io.StringIO()
    FORMATS["markdown"].write([build_table(made, rows)], file)
    captions = [part.partition("**")[0] for part in file.getvalue().split("\n\n**")[1:]]
    own = [caption for caption in captions if caption.startswith(f"{CHOSEN}, test")]
    assert [caption.partition(" (")[0] for caption in own] == [f"{CHOSEN}, test: accuracy"]
    assert "also measured" in captions[-1]


def test_the_chosen_are_run_further_where_all_their_candidates_are_asked_for(made, measured):
    made = made(ROWS)
    rows = [row for rate in (0.1, 0.2, 0.4) for row in measured(made, rate, [1 / rate], [3.0])]
    planned = join(made, rows, "paper").plan["paper"]

    def of(specs):
        further, to_come = chosen_runs(specs, planned)
        return [(spec.row, spec.cell, spec.seed) for spec in further], to_come

    lstm = [("lstm", "lr=0.4", 2), ("lstm", "lr=0.4", 3)]
    assert of(made.runs()) == (lstm, 2)  # two of RUM, as soon as that has results
    assert of(made.runs(rows=["lstm"])) == (lstm, 0)
    assert of(made.runs(cells=["lr=0.2", "lr=0.4"])) == ([], 0)
    assert of([*made.runs(rows=["lstm"]), *made.runs(rows=["lstm"], seeds=[2])]) == (lstm[1:], 0)
    first = [spec for spec in made.runs(rows=["lstm"]) if spec.cell == "lr=0.1"]
    assert chosen_runs(made.runs(rows=["lstm"]), planned, pending=first) == ([], 2)
