"""What a report shows first: the paper's table, of what was run; the rest is counted, --all shows it."""

from dataclasses import replace

import pytest

from rmem_cli.published.store import find_table, load_paper, papers
from rmem_cli.recipe import list_recipes, load_recipe
from rmem_cli.report import wording
from rmem_cli.report.build import build_table
from rmem_cli.report.layout import View, page
from rmem_cli.report.significance import best_line
from rmem_cli.report.table import Line, Ours, Section

LSTM = "  - {id: lstm, title: LSTM, published: rum2019.ptb_char.fs_rum_2}"
GRU = "  - {id: gru, title: GRU, model.core.kind: gru}"
BRIEF, WHOLE = View(is_brief=True), View(everything=True)


def texts(shown):
    return [cell.text for grid in shown.grids for cell in grid.cells()]


@pytest.fixture
def table(recipe, results):
    made = recipe(f"{LSTM}\n{GRU}", extra="published: rum2019.ptb_char\ntolerance: 0.01\nnotes: [a note]")
    return build_table(made, results(made, "lstm", [1.190, 1.191, 1.192]))


def test_status_tells_rows_and_how_many_were_run(table):
    assert page(table, BRIEF).status == "2 rows, 1 at paper size"


def test_what_was_not_run_is_counted_in_a_line_and_shown_by_all(table):
    first, whole = page(table, BRIEF), page(table, WHOLE)
    assert "FS-LSTM-2" not in texts(first)
    assert "FS-LSTM-2" in texts(whole)
    assert "more rows of it, not run: `--all` lists them" in first.grids[0].below
    assert not any("notes on the experiment" in remark for remark in whole.remarks)
    assert "a note" in whole.remarks
    assert any("3 notes on the experiment" in remark for remark in first.remarks)


def test_how_a_verdict_was_found_is_a_footnote_of_it_also_where_there_is_no_difference():
    columns = [one for paper in build_table(load_recipe("rum_copying"), []).papers for one in paper.columns]
    lines = [line for one in columns for line in one.lines if line.published and line.published.claim]
    judged = [line.comparison for line in lines if line.kind == "row"]
    assert judged
    assert all(wording.verdict(one).notes == one.notes != () for one in judged)


def test_where_nothing_was_run_the_published_table_is_shown_whole(recipe):
    made = recipe(LSTM, extra="published: rum2019.ptb_char")
    assert {"1.189", "1.190", "1.193"} <= set(texts(page(build_table(made, []), BRIEF)))


@pytest.mark.parametrize("view", [BRIEF, View(), WHOLE])
@pytest.mark.parametrize("run", [[], ["txl_4seg"], ["rmt_4seg_code"]])
def test_a_published_spread_that_forbids_a_verdict_is_marked_or_counted_among_what_is_folded(
    results, view, run
):
    recipe = load_recipe("rmt_reverse")
    about = {"scale": "cpu", "protocol": "published", "name": "accuracy", "data_hash": ""}
    table = build_table(recipe, [one for row in run for one in results(recipe, row, [0.5], **about)])
    lines = [
        line for line in table.papers[0].columns[0].lines if line.published and line.published.is_too_wide
    ]
    note = next(k for k, text in enumerate(table.footnotes, 1) if "published spread is too wide" in text)
    grid = page(table, view).grids[0]
    marked = sum(note in cell.notes for cell in grid.cells())
    assert len(lines) == 5
    assert marked == (sum(line.id in run for line in lines) if run and not view.everything else 5)
    told = f", {5 - marked} of them with a published spread too wide for the tolerance: "
    assert (told in grid.below) == (marked < 5)


@pytest.mark.parametrize("name", list_recipes())
def test_every_published_table_is_in_the_order_of_its_paper(name):
    for paper in build_table(load_recipe(name), []).papers:
        order = [f"{paper.id}.{row}" for row in find_table(paper.id).rows]
        for section in paper.columns:
            shown = [line.published.id for line in section.lines if line.published is not None]
            assert shown == sorted(shown, key=order.index)
        columns = find_table(paper.id).columns
        if paper.names != [""]:
            assert paper.names == [one for one in columns if one in paper.names]


@pytest.mark.parametrize("name", list_recipes())
def test_every_verified_number_that_a_recipe_names_stands_in_its_tables(name):
    recipe = load_recipe(name)
    shown = {
        (line.published.id, column)
        for paper in build_table(recipe, []).papers
        for column, section in zip(paper.names, paper.columns, strict=True)
        for line in section.lines
        if line.published is not None and line.published.verified
    }
    for id_ in (address.id for row in recipe.rows for address in row.published):
        table, row = (
            find_table(id_.rpartition(".")[0]),
            find_table(id_.rpartition(".")[0]).rows[id_.rpartition(".")[2]],
        )
        values = row.value if table.columns and isinstance(row.value, tuple) else [row.value]
        names = table.columns if table.columns and isinstance(row.value, tuple) else [""]
        for column, value in zip(names, values, strict=True):
            assert ((id_, column) in shown) == (value is not None), (id_, column)


def test_all_papers_can_be_read():
    assert all(load_paper(paper).tables for paper in papers())


def section(*means, n=3, sd=0.001, higher=True):
    lines = [
        Line("row", f"m{k}", f"M{k}", ours={"paper": Ours(mean=mean, sd=sd, n=n, planned=3)})
        for k, mean in enumerate(means)
    ]
    return Section("", "test", "test", "", "accuracy", "fraction", higher, 3, ["paper"], lines)


@pytest.mark.parametrize(
    ("made", "best"),
    [
        (section(0.9, 0.95, 0.8), "m1"),
        (section(0.9, 0.95, 0.8, higher=False), "m2"),
        (section(0.9, 0.9001, 0.8), None),  # the interval of the difference holds zero
        (section(0.9, 0.95, n=2), None),  # two seeds show no order
        (section(0.9, 0.95, higher=None), None),
        (section(0.9), None),
    ],
)
def test_the_best_is_marked_only_where_it_is_surely_better_than_each_other(made, best):
    found = best_line(made, "paper")
    assert (None if found is None else found.id) == best


@pytest.mark.parametrize("fields", [{"failed": {"diverged": 1}}, {"caveats": ("dirty tree",)}])
def test_a_seed_without_a_number_or_of_no_known_commit_leaves_no_best(fields):
    made = section(0.9, 0.95, 0.8)
    lines = [replace(line, ours={"paper": replace(line.ours["paper"], **fields)}) for line in made.lines]
    for index in range(3):
        others = [*made.lines[:index], lines[index], *made.lines[index + 1 :]]
        assert best_line(replace(made, lines=others), "paper") is None


def test_a_row_of_fewer_seeds_leaves_no_best():
    made = section(0.9, 0.95, 0.8)
    few = replace(made.lines[2], ours={"paper": Ours(mean=0.8, n=1, planned=3)})
    assert best_line(replace(made, lines=[*made.lines[:2], few]), "paper") is None
