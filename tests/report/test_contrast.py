"""--compare sets two sets of results against each other, where they were measured alike."""

import math
from dataclasses import replace

import pytest

from rmem_cli.errors import UsageError
from rmem_cli.report.contrast import contrasts, side
from rmem_cli.report.contrast_layout import page
from rmem_cli.results.store import ResultStore


@pytest.fixture
def store(recipe, results, tmp_path):
    made = recipe("  - {id: a, title: A}\n  - {id: b, title: B, model.core.hidden_size: 8}")
    store = ResultStore(tmp_path / "own")
    store.write(
        results(made, "a", [1.0, 1.1, 1.2]) + results(made, "b", [2.0, 2.1, 2.2], git_commit="1" * 40)
    )
    return store


def compared(store, first, second):
    return contrasts(side(first, store), side(second, store))


def test_two_rows_of_an_experiment_are_compared_by_welch(store):
    (found,) = compared(store, "made_up/a", "made_up/b")
    assert (found.where, found.metric, found.seeds) == ("paper, test", "bpc", (3, 3))
    assert found.difference == pytest.approx(1.0)
    # two samples of sd 0.1: 4 degrees of freedom, t 2.7764 x sqrt(2 x 0.01 / 3)
    assert found.interval.low == pytest.approx(1.0 - 2.7764451052 * (0.02 / 3) ** 0.5, abs=1e-9)
    assert found.verdict == "worse"
    assert compared(store, "made_up/b", "made_up/a")[0].verdict == "better"


def test_two_folders_are_compared_row_by_row_and_nothing_surely_differs_from_itself(store, tmp_path):
    other = ResultStore(tmp_path / "other")
    other.write([replace(row, value=row.value + 0.01) for row in store.read("made_up")])
    found = compared(store, str(store.folder), str(other.folder))
    assert [one.where for one in found] == ["made_up, a, paper, test", "made_up, b, paper, test"]
    assert {one.verdict for one in found} == {"no sure difference"}


def test_single_seeds_have_a_difference_and_no_interval(store, tmp_path):
    other = ResultStore(tmp_path / "other")
    other.write([row for row in store.read("made_up") if row.seed == 1])
    found = compared(store, str(store.folder), str(other.folder))
    assert [(one.interval, one.verdict) for one in found] == [(None, "too few seeds")] * 2


def test_two_seeds_show_no_order_however_close_they_lie(store, tmp_path):
    own, other = ResultStore(tmp_path / "two"), ResultStore(tmp_path / "other")
    two = [row for row in store.read("made_up") if row.seed < 3]
    own.write([replace(row, value=1.0) for row in two])
    other.write([replace(row, value=1.1) for row in two])
    found = compared(store, str(own.folder), str(other.folder))
    assert [(one.difference, one.verdict) for one in found] == [(pytest.approx(0.1), "too few seeds")] * 2


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("status", ["ok", "diverged"])
def test_a_seed_without_a_number_is_in_no_mean_and_leaves_no_order(store, value, status):
    (row,) = [row for row in store.read("made_up") if (row.row, row.seed) == ("a", 1)]
    store.write([replace(row, seed=4, value=value, status=status)])
    (found,) = compared(store, "made_up/a", "made_up/b")
    assert (found.seeds, found.without_number, found.means[0]) == ((3, 3), (1, 0), pytest.approx(1.1))
    assert found.verdict == "seeds without a number"
    (cell,) = page("a", "b", [found]).grids[0].columns[1].cells
    assert cell.text.endswith("(3 of 4; 1 without a number)")


@pytest.mark.parametrize("column", ["train_hash", "eval_hash"])
def test_seeds_of_other_settings_than_the_newest_are_in_no_mean(store, column):
    (row,) = [row for row in store.read("made_up") if (row.row, row.seed) == ("a", 1)]
    older = replace(row, seed=4, value=9.0, time="2025-01-01T00:00:00Z", **{column: "f" * 12})
    store.write([older])
    (found,) = compared(store, "made_up/a", "made_up/b")
    assert (found.seeds, found.means[0]) == ((3, 3), pytest.approx(1.1))


def test_what_was_measured_on_other_data_is_not_measured_alike(store, tmp_path):
    other, hashes = ResultStore(tmp_path / "other"), {"a": "f" * 12}
    other.write([replace(row, data_hash=hashes.get(row.row, row.data_hash)) for row in store.read("made_up")])
    (found,) = compared(store, str(store.folder), str(other.folder))
    assert found.where == "made_up, b, paper, test"


def test_commits_are_compared_by_what_they_made(store):
    with pytest.raises(UsageError, match="no results that are measured alike"):
        compared(store, "0000000", "1111111")


@pytest.mark.parametrize(
    ("first", "second", "says"),
    [
        ("made_up/c", "made_up/a", "no results of 'made_up/c'"),
        ("made_upp", "made_up/a", "did you mean 'made_up'"),
        ("made_up", "made_up/a", "of different kinds"),
        ("", "made_up", "'' is no folder of results"),
        ("abcdef0", "made_up", "no results of the commit"),
    ],
)
def test_what_cannot_be_compared_is_a_sentence(store, first, second, says):
    with pytest.raises(UsageError, match=says):
        compared(store, first, second)


def test_a_comparison_is_a_page(store):
    shown = page("a", "b", compared(store, "made_up/a", "made_up/b"))
    texts = [cell.text for cell in shown.grids[0].cells()]
    assert texts[5:] == ["paper, test: bpc", "1.100 ± 0.100 (3)", "2.100 ± 0.100 (3)", "+1.000", "worse"]
