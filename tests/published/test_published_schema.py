import pytest
from pydantic import ValidationError

from rmem_cli.published.store import parse_paper

GOOD = """
paper: some2020
title: Some paper
authors: [A. Body]
venue: Somewhere
year: 2020
arxiv: '2001.00001'
bibtex: body2020some
tables:
  curves:
    title: A table
    where: Table 1
    dataset: some data
    metric: accuracy (%)
    unit: percent
    direction: higher
    kind: printed_table
    x_name: length
    x: [1, 2]
    rows:
      number: {model: A, value: 1.5, std: 0.5, n: 3, verified: true, source: Table 1, params: 2M}
      curve: {model: B, value: [1.0, 2], verified: true, source: Table 1, facts: {runs: [1, 2.5], task: copy}}
      words: {model: C, value: solves it, verified: true, source: Section 1}
      claim: {model: E, value: learns it completely, claim: solved, verified: true, source: Section 1}
      unknown: {model: D, value: null, verified: false, source: missing}
  columns:
    title: Another table
    where: Table 2
    dataset: some data
    metric: accuracy (%)
    unit: percent
    direction: higher
    kind: printed_table
    columns: [length=30, length=50]
    rows:
      both: {model: A, value: [25.6, 20.5], std: [0.1, null], verified: true, source: Table 2, quoted: true}
      one: {model: B, value: [100, null], verified: true, source: Table 2, secondary: true, not_run: no model}
"""


def test_numbers_curves_text_and_blanks_are_told_apart():
    rows = parse_paper(GOOD).tables["curves"].rows
    values = {name: row.value for name, row in rows.items()}
    assert values == {
        "number": 1.5,
        "curve": (1.0, 2.0),
        "words": "solves it",
        "claim": "learns it completely",
        "unknown": None,
    }
    assert rows["curve"].facts == {"runs": (1, 2.5), "task": "copy"}


def test_a_row_has_a_number_or_none_for_each_column():
    table = parse_paper(GOOD).tables["columns"]
    assert [row.value for row in table.rows.values()] == [(25.6, 20.5), (100.0, None)]
    assert table.rows["both"].std == (0.1, None)


@pytest.mark.parametrize(
    ("good", "broken", "complaint"),
    [
        ("value: [25.6, 20.5]", "value: [25.6]", "needs a value for each of them"),
        ("value: [100, null]", "value: [100]", "are not one for each x or column"),
        ("value: solves it", "value: solves it, std: 0.1", "only a number has a standard deviation"),
        ("value: [1.0, 2]", "value: [1.0, 2], claim: solved", "only a text claims something"),
        (
            "columns: [length=30, length=50]",
            "columns: [length=30, length=50]\n    cell: a=1",
            "in place of x and of",
        ),
        ("    x: [1, 2]\n", "    x: [1, 2]\n    steps_per_x: 0\n", "greater than 0"),
        ("value: null, verified: false", "value: 0.5, verified: false", "not verified may carry no value"),
        (
            "value: null, verified: false",
            "value: perfect, verified: false",
            "not verified may carry no value",
        ),
        (
            "value: null, verified: false",
            "value: null, std: 0.1, verified: false",
            "not verified may carry no",
        ),
        (
            "value: null, verified: false",
            "value: null, params: 2M, verified: false",
            "not verified may carry no",
        ),
        ("value: null, verified: false", "value: null, verified: true", "a verified row needs a value"),
        ("value: 1.5, std", "value: '1.5', std", "only a number has a standard deviation"),
        ("value: solves it", "value: true", "unknown|valid"),
        ("value: [1.0, 2]", "value: [1.0, 2, 3]", "are not one for each x or column"),
        ("    x: [1, 2]\n", "", "x and x_name go together"),
        ("    x_name: length\n    x: [1, 2]\n", "", "are not one for each x or column"),
        ("source: missing", "sourc: missing", "sourc"),
        ("source: missing", "source: ''", "at least 1 character"),
        ("n: 3", "n: three", "valid integer"),
        ("unit: percent", "unit: percents", "Input should be 'fraction'"),
        ("direction: higher", "direction: up", "Input should be 'higher'"),
        ("      words:", "      Words-1:", "String should match pattern"),
        ("year: 2020", "year: '2020'", "valid integer"),
        ("arxiv: '2001.00001'", "arxiv: 2001.00001", "valid string"),
    ],
)
def test_a_file_that_breaks_the_schema_is_refused(good, broken, complaint):
    assert good in GOOD
    with pytest.raises(ValidationError, match=complaint):
        parse_paper(GOOD.replace(good, broken))
