import json

import pytest

from rmem_cli.commands.published import addressed_ids
from rmem_cli.published.selection import select
from rmem_cli.published.store import papers
from rmem_cli.published.text import overview, rows_in_full
from rmem_cli.recipe import list_recipes, load_recipe

RECIPE = """
name: {name}
title: A made-up experiment
paper: rum2017
published: {table}
task: {{kind: copying_memory, length: 3}}
model: {{core: {{kind: lstm, hidden_size: 4}}}}
optimizer: {{kind: adam, lr: 0.001}}
train: {{steps: 10, batch_size: 2}}
eval: [{{name: test, split: test, examples: 8, metrics: [loss]}}]
seeds: [1]
rows: [{{id: ours, title: Ours, published: {row}}}]
scales: {{smoke: {{train.steps: 1}}}}
"""


@pytest.fixture
def printed(rmem):
    """What `rmem published` prints for arguments it understands."""

    def run(*arguments):
        ended = rmem("published", *arguments)
        assert (ended.code, ended.err) == (0, "")
        return ended.out

    return run


def test_the_list_counts_the_rows_of_each_table(printed):
    lines = printed().splitlines()
    assert "rum2017: Rotational Unit of Memory (arXiv 2017; arXiv:1710.09537v1)" in lines
    assert "  rum2017.babi: Question answering on bAbI; 4 rows: 4 with numbers, 3 quoted" in lines
    assert (
        "  rum2017.copying_t200: Copying memory, T = 200; 5 rows: 5 with numbers, 5 digitized, 685 points"
        in lines
    )
    assert "  rum2019.enwik8: Character-level language modelling on enwik8; 1 row: 1 blank" in lines
    assert lines[-1].endswith("1831 points")
    assert [line.partition(":")[0] for line in lines if not line.startswith(" ")] == [*papers(), "all"]


def test_a_row_is_printed_with_its_numbers_and_where_they_were_read(printed):
    lines = printed("rum2017.recall.lstm").splitlines()
    assert lines[0] == "rum2017.recall: Associative recall"
    assert "    length=30: 25.6; length=50: 20.5" in lines
    assert "    17k parameters" in lines
    assert any(line.startswith("    source: arXiv:1710.09537v1 Table 1 ") for line in lines)
    assert "fw_ln" not in "".join(lines)


def test_papers_tables_and_rows_may_be_named_together(printed):
    whole = json.loads(printed("rum2017", "--format", "json"))
    part = json.loads(printed("rum2017.recall", "goru2019.timit.gru", "rum2017.babi.rum", "--format", "json"))
    assert part[0]["tables"]["recall"] == whole[0]["tables"]["recall"]
    assert {paper["paper"]: list(paper["tables"]) for paper in part} == {
        "rum2017": ["recall", "babi"],
        "goru2019": ["timit"],
    }
    assert list(part[0]["tables"]["babi"]["rows"]) == ["rum"]
    assert part[1]["tables"]["timit"]["rows"]["gru"]["value"] == [52.1, 52.4]


def test_deviations_text_and_claims_are_printed(printed):
    assert "90.4 ± 2.2" in printed("armt2024.babilong_qa3.armt")
    assert "(n = 3)" in printed("armt2024.babilong_qa3.armt")
    assert "slow progress (not solved)" in printed("urlstm2020.copy.u_lstm")


def test_missing_rows_are_those_without_a_number_with_what_is_known(printed):
    rows = [row for paper in json.loads(printed("--missing", "--format", "json")) for row in rows_of(paper)]
    assert rows
    assert all(row["value"] is None for row in rows)
    assert "known: confidence low; params_computed 17.9k at T=50" in printed("rum2019.recall", "--missing")
    assert printed("rum2017", "--missing") == ""


def rows_of(paper):
    return [row for table in paper["tables"].values() for row in table["rows"].values()]


def test_bibtex_has_an_entry_for_each_paper_named_or_for_all(printed):
    assert printed("rum2017.recall", "rum2017.babi", "--bibtex").startswith(
        "@misc{dangovski2017rotational,\n"
    )
    assert printed("rum2017", "--bibtex").count("@") == 1
    assert printed("--bibtex").count("\n@") == len(papers()) - 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rum2018"], "unknown published paper 'rum2018'; did you mean 'rum2019'?"),
        (["rum2017.recal"], "unknown published table 'rum2017.recal'; did you mean 'rum2017.recall'?"),
        (["rum2017.recall.x"], "unknown published row 'rum2017.recall.x'; did you mean"),
        (["--missing", "--bibtex"], "ask one of them"),
        (["--bibtex", "--format", "json"], "leave --format json out"),
    ],
)
def test_what_is_wrong_is_a_sentence_and_exit_2(rmem, arguments, message):
    ended = rmem("published", *arguments)
    assert (ended.code, ended.out) == (2, "")
    assert message in ended.err


def test_a_row_is_addressed_by_a_recipe_a_reason_or_by_being_quoted(printed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def still_open():
        papers = json.loads(
            printed("rum2017.babi", "rum2017.copying_t200", "--unaddressed", "--format", "json")
        )
        return {name for paper in papers for table in paper["tables"].values() for name in table["rows"]}

    assert still_open() == set()
    monkeypatch.setattr("rmem_cli.recipe.list_recipes", list)
    before = still_open()
    assert not before & {"goru", "memn2n"}  # quoted from others
    assert "rum_lambda1" in before
    text = RECIPE.format(name="mine", table="rum2017.copying_t200", row="rum2017.copying_t200.rum_lambda1")
    (tmp_path / "mine.yaml").write_text(text)
    assert addressed_ids(load_recipe(tmp_path / "mine.yaml")) == {"rum2017.copying_t200.rum_lambda1"}
    monkeypatch.setattr("rmem_cli.recipe.list_recipes", lambda: [tmp_path / "mine.yaml"])
    assert still_open() == before - {"rum_lambda1"}


@pytest.mark.parametrize("width", [20, 40, 80])
def test_no_line_is_wider_than_the_terminal(width):
    tables = select([])
    for lines in (overview(tables, width), rows_in_full(tables, width)):
        assert max(map(len, lines)) <= width


def test_lines_are_whole_where_no_terminal_is(printed):
    assert max(map(len, printed("rum2017").splitlines())) > 300


def test_no_recipe_runs_a_row_that_has_a_reason_why_none_does():
    addressed = set().union(*(addressed_ids(load_recipe(name)) for name in list_recipes()))
    for name, table in select(sorted(addressed)).items():
        assert table.not_run is None, name
        assert [row for row in table.rows.values() if row.not_run] == [], name
