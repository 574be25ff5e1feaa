from dataclasses import replace

import pytest

from rmem_cli.report.build import build_table
from rmem_cli.report.formats import FORMATS

LSTM = "  - {id: lstm, title: LSTM}"
FOLDS = "matrix: {task.fold: [0, 1]}"


def section(table, cell, name="accuracy"):
    return next(s for s in table.sections if (s.cell, s.protocol, s.metric) == (cell, "test", name))


def together(made, rows, name="accuracy", cell="2 folds together"):
    """What is shown of the one row of a made-up recipe for all its folds."""
    (line,) = section(build_table(made, rows), cell, name).lines
    return line.ours.get("paper")


@pytest.fixture
def folds(results):
    """Results of the first seeds: right answers of 100 articles in fold 0, and of 300 in fold 1."""

    def make(made, first, second, name="accuracy", **columns):
        return [
            row
            for fold, values, examples in ((0, first, 100), (1, second, 300))
            for row in results(
                made, "lstm", values, name=name, cell=f"fold={fold}", **(columns | {"examples": examples})
            )
        ]

    return make


def test_a_seed_over_all_folds_is_one_measurement_weighted_by_examples(recipe, folds):
    made = recipe(LSTM, "articles", FOLDS)
    ours = together(made, folds(made, [0.9, 0.8], [0.7, 0.6]))
    # (90 + 210) of 400 and (80 + 180) of 400; plain means of the folds would be 0.8 and 0.7.
    assert (ours.n, ours.planned) == (2, 3)
    assert ours.mean == pytest.approx((0.75 + 0.65) / 2)
    assert ours.sd == pytest.approx(0.1 / 2**0.5)
    f1 = together(made, folds(made, [0.9], [0.7], name="f1"), "f1")
    assert (f1.mean, f1.bounds) == (pytest.approx(0.75), None)


def test_the_bounds_of_accuracy_take_each_article_once_however_many_seeds_there_are(recipe, folds):
    made = recipe(LSTM, "articles", FOLDS)
    # 280 right answers of 400, by hand, with z = 1.959964 and z^2 = 3.841459: the centre is
    # (0.7 + z^2 / 800) / (1 + z^2 / 400) = 0.704802 / 1.009604 = 0.698098, and half the width
    # z sqrt(0.21 / 400 + z^2 / 640000) / 1.009604 = 0.044735.
    for seeds in ([0.7], [0.7, 0.7, 0.7]):
        bounds = together(made, folds(made, seeds, seeds)).bounds
        assert (bounds.examples, round(bounds.low, 4), round(bounds.high, 4)) == (400, 0.6534, 0.7428)
    spread = together(made, folds(made, [0.9, 0.8], [0.7, 0.6])).bounds
    assert (round(spread.low, 4), round(spread.high, 4)) == (0.6534, 0.7428)


def test_hyperpartisan_clears_the_majority_class_from_432_of_645_right_answers_on(recipe, results):
    # By hand: 432 of 645 have the lower bound 0.6326, 431 have 0.6310, and the majority class has 0.6310.
    made = recipe(LSTM, "articles", "matrix: {task.fold: [0, 1, 2, 3, 4]}")
    rows = [
        row
        for fold, right in enumerate([87, 87, 86, 86, 86])
        for row in results(made, "lstm", [right / 129], name="accuracy", cell=f"fold={fold}", examples=129)
    ]
    ours = together(made, rows, cell="5 folds together")
    assert (ours.mean, ours.bounds.examples) == (pytest.approx(432 / 645), 645)
    assert round(ours.bounds.low, 4) == 0.6326


def test_a_seed_counts_once_all_its_folds_have_a_result_on_the_same_data(recipe, folds):
    made = recipe(LSTM, "articles", FOLDS)
    assert together(made, folds(made, [0.9, 0.8], [0.7])).n == 1
    assert together(made, folds(made, [0.9], [])) is None
    mixed = folds(made, [0.9], [], data_hash="abc") + folds(made, [], [0.7], data_hash="def")
    assert together(made, mixed) is None


def test_a_seed_that_diverged_in_one_fold_has_no_value(recipe, folds):
    made = recipe(LSTM, "articles", FOLDS)
    ours = together(made, folds(made, [0.9, 0.9], [None, 0.9]))
    assert (ours.n, ours.failed) == (1, {"diverged": 1})


def test_the_cost_of_all_folds_is_their_sum_and_a_dirty_fold_makes_all_dirty(recipe, folds):
    made = recipe(LSTM, "articles", FOLDS)
    first, second = folds(made, [0.9], [0.7], wall_seconds=60.0)
    ours = together(made, [first, replace(second, git_dirty="true", peak_memory_mb=300.0)])
    assert (ours.wall_seconds, ours.peak_memory_mb, ours.caveats) == (120.0, 300.0, ("dirty tree",))
    for without in (first, second):
        rows = [replace(row, git_commit="") if row is without else row for row in (first, second)]
        assert together(made, rows).caveats == ("no commit",)


def test_stale_results_of_a_fold_are_not_pooled(recipe, folds):
    made = recipe(LSTM, "articles", FOLDS)
    first, second = folds(made, [0.9], [0.7])
    assert together(made, [first, replace(second, train_hash="000000000000")]) is None


def test_folds_that_test_half_of_themselves_are_no_whole(recipe):
    made = recipe(LSTM, "articles", FOLDS, **{", whole_fold: true": ""})
    assert {s.cell for s in build_table(made, []).sections} == {"fold=0", "fold=1"}


def test_other_keys_of_the_matrix_stay_apart(recipe):
    made = recipe(LSTM, "articles", "matrix: {task.segments: [1, 2], task.fold: [0, 1]}")
    cells = list(dict.fromkeys(s.cell for s in build_table(made, []).sections))
    assert cells[:2] == ["segments=1,2 folds together", "segments=2,2 folds together"]
    assert len(cells) == 6


def test_the_report_shows_the_bounds_and_explains_them(recipe, folds, tmp_path):
    made = recipe(LSTM, "articles", FOLDS)
    table = build_table(made, folds(made, [0.7], [0.7]))
    with (tmp_path / "table.md").open("w+", encoding="utf-8") as file:
        FORMATS["markdown"].write([table], file)
        file.seek(0)
        text = file.read()
    assert "**2 folds together, test: accuracy (fraction), higher is better, paper: 10 steps**" in text
    assert "0.700 (1 of 3) [0.653, 0.743]" in text
    assert "each seed goes through 2 folds" in text
    assert "among all 400 examples" in text
    assert [line.ours["paper"].bounds for line in section(table, "fold=0").lines] == [None]
