"""Tables of older headers, and rows that branches wrote twice."""

import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rmem_cli.errors import UsageError
from rmem_cli.results.row import COLUMNS, REQUIRED, ResultRow
from rmem_cli.results.store import ResultStore
from rmem_cli.results.union import latest

ROW = ResultRow(
    experiment="recall", row="lstm", cell="length=50", scale="cpu", seed=1, protocol="test", split="test",
    part="qa3", metric="accuracy", value=0.5, unit="fraction", examples=10, step=3, checkpoint="best",
    parameters=7, wall_seconds=1.25, peak_memory_mb=300.5, device="cpu", threads=2, op_paths="gates=fast",
    dtype="float32", torch_version="2.13.0", rmem_version="0.1.0", git_commit="0" * 40, git_dirty="true",
    train_hash="0123456789ab", eval_hash="ba9876543210", data_hash="", status="ok",
    time="2026-01-02T03:04:05Z",
)  # fmt: skip
OTHER = replace(ROW, seed=2, row='a "b", c')
MAY_LACK = [column for column in COLUMNS if column not in REQUIRED]


def table_of(*rows, without=(), separator=","):
    """The text of a table that does not have some columns."""
    kept = [place for place, column in enumerate(COLUMNS) if column not in without]
    lines = [COLUMNS, *(row.to_text() for row in rows)]
    quoted = [['"' + cell.replace('"', '""') + '"' for cell in line] for line in lines]
    return "".join(separator.join(line[place] for place in kept) + "\n" for line in quoted)


def blank(row, *columns):
    text = dict.fromkeys(columns, "")
    return ResultRow.from_text(
        [text.get(name, cell) for name, cell in zip(COLUMNS, row.to_text(), strict=True)]
    )


@pytest.fixture
def store(tmp_path):
    return ResultStore(tmp_path)


@pytest.fixture
def table(tmp_path):
    return tmp_path / "recall.csv"


@pytest.mark.parametrize("separator", [",", ";"])
@pytest.mark.parametrize("column", MAY_LACK)
def test_a_column_that_an_older_table_lacks_is_blank_and_written_with_the_next_row(
    store, table, column, separator
):
    table.write_text(table_of(ROW, OTHER, without=[column], separator=separator))
    expected = [blank(ROW, column), blank(OTHER, column)]
    assert store.read("recall") == expected
    new = replace(ROW, seed=3)
    store.write([new])
    assert store.read("recall") == [*expected, new]
    assert table.read_text().splitlines()[0] == ",".join(COLUMNS)


@pytest.mark.parametrize("column", REQUIRED)
def test_without_what_says_what_a_row_is_of_a_table_is_refused_and_left_alone(store, table, column):
    text = table_of(ROW, without=[column])
    table.write_text(text)
    for use in (lambda: store.read("recall"), lambda: store.write([OTHER])):
        with pytest.raises(
            UsageError, match=rf"recall\.csv:1: the header .* they differ in {column}; restore"
        ):
            use()
    assert table.read_text() == text


LACKING = st.sets(st.sampled_from(MAY_LACK), max_size=10)


@given(LACKING, LACKING, st.randoms())
@settings(max_examples=40, deadline=None)
def test_rows_of_several_headers_in_one_file_are_read_by_their_own(tmp_path_factory, old, older, source):
    store = ResultStore(tmp_path_factory.mktemp("results"))
    layouts = {len(without): without for without in ({*()}, old, older)}
    rows = {
        lacking: replace(ROW, row=f"lacks {len(lacking)}") for lacking in map(frozenset, layouts.values())
    }
    texts = [table_of(row, without=lacking).splitlines(keepends=True) for lacking, row in rows.items()]
    lines = [lines[1] for lines in texts]
    source.shuffle(lines)
    (store.folder / "recall.csv").write_text("".join([lines[0] for lines in texts] + lines))
    found = {row.row: row for row in store.read("recall")}
    assert found == {row.row: blank(row, *lacking) for lacking, row in rows.items()}


def test_the_rows_of_this_header_keep_their_text_beside_those_of_an_older_one(store, table):
    odd = table_of(OTHER).splitlines(keepends=True)[1].replace("0.5", "0.5000000000000000000")
    old = table_of(ROW, without=["part", "time"]).splitlines(keepends=True)
    table.write_text("".join([",".join(COLUMNS) + "\n", old[0], odd, old[1]]))
    store.write([replace(ROW, seed=3)])
    assert table.read_text().splitlines(keepends=True)[1] == odd


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        (
            table_of(ROW, without=["part"]) + table_of(replace(ROW, compiled="true")).splitlines()[1],
            3,
            f"the row has {len(COLUMNS)} cells, not {len(COLUMNS) - 1}",
        ),
        (
            table_of(ROW, without=["part"]) + table_of(without=["unit"]),
            3,
            "another header of as many columns",
        ),
        (table_of(ROW, without=["part"]).replace('"0.5"', '"half"'), 2, "column 'value' holds 'half'"),
        (table_of(ROW, without=["part"]).replace('"unit","examples"', '"examples","unit"'), 1, "the order"),
    ],
)
def test_what_fits_no_header_is_refused_with_its_line(store, table, text, line, what):
    table.write_text(text)
    with pytest.raises(UsageError) as caught:
        store.read("recall")
    assert f"recall.csv:{line}: " in str(caught.value)
    assert what in str(caught.value)


TIMES = st.sampled_from(["", "2026-01-02T03:04:05Z", "2026-01-02T03:04:06Z", "2027-01-01T00:00:00Z"])
KEYS = st.tuples(st.sampled_from(["a", "b", ""]), st.integers(1, 2), st.sampled_from(["", "qa1"]))


@given(st.lists(st.tuples(KEYS, TIMES), min_size=1))
def test_of_equal_keys_the_latest_row_stands_where_the_first_was(rows):
    keys, times = zip(*rows, strict=True)
    expected = {}
    for place, (key, time) in enumerate(rows):
        if key not in expected or time >= times[expected[key]]:
            expected[key] = place
    assert latest(keys, times) == list(expected.values())


def test_a_plain_table_is_read_and_written_without_pandas(tmp_path, table):
    table.write_text(table_of(ROW, OTHER))
    program = (
        "import sys\nfrom pathlib import Path\nfrom rmem_cli.results.store import ResultStore\n"
        "store = ResultStore(Path(sys.argv[1]))\nstore.write(store.read('recall'))\n"
        "sys.exit('pandas' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True, timeout=300)
