import csv
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pandas
import pytest
from filelock import Timeout
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rmem_cli.errors import UsageError
from rmem_cli.files import lock_of
from rmem_cli.results import locks
from rmem_cli.results.locks import locked
from rmem_cli.results.row import COLUMNS, OLDER, ResultRow
from rmem_cli.results.store import ResultStore
from rmem_cli.results.table import to_line

ROW = ResultRow(
    experiment="recall", row="lstm", cell="", scale="cpu", seed=1, protocol="test", split="test", part="",
    metric="accuracy", value=0.5, unit="fraction", examples=10, step=3, checkpoint="best", parameters=7,
    wall_seconds=1.25, peak_memory_mb=None, device="cpu", threads=2, op_paths="", dtype="float32",
    torch_version="2.13.0", rmem_version="0.1.0", git_commit="", git_dirty="", train_hash="0123456789ab",
    eval_hash="ba9876543210", data_hash="", status="ok", time="2026-01-02T03:04:05Z",
)  # fmt: skip

# Writes rows seed 0, 1, 2, ... and says so after each write has returned.
WRITER = """
import sys
from dataclasses import replace
from pathlib import Path
from pathlib import Path
from rmem_cli.results.row import ResultRow
from rmem_cli.results.store import ResultStore
from rmem_cli.results.table import to_line
folder, name, count, cells = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4:]
row = ResultRow.from_text(cells)
for seed in range(count):
    ResultStore(Path(folder)).write([replace(row, row=name, seed=seed)])
    print(seed, flush=True)
"""

texts = st.text(max_size=12)
plain = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=12)
floats = st.none() | st.floats(allow_nan=False)
counts = st.none() | st.integers(0, 10**12)
any_rows = st.builds(
    replace,
    st.just(ROW),
    row=texts,
    cell=texts,
    seed=st.integers(0, 3),
    part=texts,
    value=floats,
    examples=counts,
    wall_seconds=st.none() | st.floats(0, allow_infinity=False),
    op_paths=plain,
    device=plain,
    git_commit=plain,
    time=st.just("") | st.datetimes().map(lambda time: f"{time:%Y-%m-%dT%H:%M:%SZ}".zfill(20)),
)


def start_writer(folder, name, count):
    command = [sys.executable, "-c", WRITER, str(folder), name, str(count), *ROW.to_text()]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def table_of(*rows):
    return ",".join(COLUMNS) + "\n" + "".join(",".join(row.to_text()) + "\n" for row in rows)


@given(st.lists(any_rows, max_size=6, unique_by=lambda row: row.key))
@settings(max_examples=40, deadline=None)
def test_rows_with_any_text_and_number_are_read_as_they_were_written(tmp_path_factory, rows):
    store = ResultStore(tmp_path_factory.mktemp("results"))
    store.write(rows[:3])
    store.write(rows[3:])
    assert store.read("recall") == rows


@given(rows=st.lists(any_rows, min_size=1, max_size=5, unique_by=lambda row: row.key), data=st.data())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_row_with_the_same_key_replaces_the_old_one_in_its_place(tmp_path_factory, rows, data):
    store = ResultStore(tmp_path_factory.mktemp("results"))
    store.write(rows)
    place = data.draw(st.integers(0, len(rows) - 1))
    new = replace(rows[place], value=0.75, time="")
    store.write([new])
    assert store.read("recall") == [*rows[:place], new, *rows[place + 1 :]]


def test_the_table_is_plain_csv_with_one_line_per_row(tmp_path):
    rows = [ROW, replace(ROW, seed=2, value=None, status="diverged")]
    ResultStore(tmp_path).write(rows)
    assert (tmp_path / "recall.csv").read_text() == table_of(*rows)


def test_a_write_keeps_the_other_rows_byte_for_byte(tmp_path):
    odd = table_of(ROW).replace(",0.5,", ",0.50000000000000000000,").replace(",lstm,", ',"lstm",')
    (tmp_path / "recall.csv").write_text(odd)
    other = replace(ROW, seed=2)
    ResultStore(tmp_path).write([other])
    assert (tmp_path / "recall.csv").read_text() == odd + ",".join(other.to_text()) + "\n"


SAVED = {
    "byte order mark": lambda text: "\ufeff" + text,
    "line ends": lambda text: text.replace("\n", "\r\n"),
    "semicolons": lambda text: text.replace(",", ";"),
    "tabs": lambda text: text.replace(",", "\t"),
    "quotes": lambda text: "".join(
        ",".join(f'"{cell}"' for cell in line.split(",")) + "\n" for line in text.splitlines()
    ),
    "booleans": lambda text: text.replace(",true,", ",TRUE,"),
    "empty rows and columns": lambda text: "\n" + text.replace("\n", ",,\n") + "," * 31 + "\n",
    "whole numbers with a point": lambda text: text.replace(",10,3,", ",10.0,3.00,"),
    "decimal commas": lambda text: text.replace(",", ";").replace(".5;", ",5;").replace(".25;", ",25;"),
    "decimal commas in quotes": lambda text: text.replace(",0.5,", ',"0,5",').replace(",1.25,", ',"1,25",'),
    "decimal commas in whole numbers": lambda text: (
        text.replace(",", ";").replace(";10;3;", ";10,0;3,00;").replace(".5;", ",5;").replace(".25;", ",25;")
    ),
    "booleans of other languages": lambda text: text.replace(",true,", ",WAHR,"),
    "a line that names the separator": lambda text: "sep=;\r\n" + text.replace(",", ";"),
    "that line with empty columns": lambda text: "sep=" + ";" * 31 + "\n" + text.replace(",", ";"),
    "all of it": lambda text: '\ufeff"' + text.replace(",", '";"').replace("\n", '"\r\n"').removesuffix('"'),
}


@pytest.mark.parametrize("changed", SAVED.values(), ids=list(SAVED))
def test_what_a_spreadsheet_saves_with_the_same_cells_is_read_and_kept(tmp_path, changed):
    rows = [replace(ROW, row="zero\0", git_dirty="true"), replace(ROW, seed=2, value=None, status="diverged")]
    (tmp_path / "recall.csv").write_bytes(changed(table_of(*rows)).encode())
    assert ResultStore(tmp_path).read("recall") == rows
    ResultStore(tmp_path).write([replace(ROW, seed=3)])
    assert ResultStore(tmp_path).read("recall") == [*rows, replace(ROW, seed=3)]
    lines = (tmp_path / "recall.csv").read_text().splitlines()
    assert all(line.count(",") >= len(COLUMNS) - 1 for line in lines)


@pytest.mark.parametrize(
    ("written", "saved", "column"),
    [
        (",0.5,", ";0,5;", "value"),
        (",0.5,", ',"1,234.5",', "value"),
        (",0.5,", ",1_0,", "value"),
        (",10,", ",1E+01,", "examples"),
        (",0123456789ab,", ",1.23E+11,", "train_hash"),
        (",0123456789ab,", ",123456789,", "train_hash"),
        (",2026-01-02T03:04:05Z", ",02.01.2026 03:04", "time"),
        (",2026-01-02T03:04:05Z", ",2026-01-02 03:04:05", "time"),
    ],
)
def test_what_a_spreadsheet_reformatted_is_refused_and_not_written_to(tmp_path, written, saved, column):
    separator = saved[0]
    header, row = table_of(ROW).splitlines()
    text = f"{header}\n{row}\n{row.replace(written, saved)}\n"
    if separator == ";":
        text = f"{header}\n{row}\n{row.replace(written, '|').replace(',', ';').replace('|', saved)}\n"
    (tmp_path / "recall.csv").write_text(text)
    for use in (lambda store: store.read("recall"), lambda store: store.write([replace(ROW, seed=3)])):
        with pytest.raises(UsageError, match=rf"recall\.csv:3: column '{column}' holds .*; restore the file"):
            use(ResultStore(tmp_path))
    assert (tmp_path / "recall.csv").read_text() == text


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be", "utf-8"])
@pytest.mark.parametrize("changed", SAVED.values(), ids=list(SAVED))
def test_a_byte_order_mark_tells_the_encoding(tmp_path, encoding, changed):
    rows = [
        replace(ROW, row="\u00e9\u2192", git_dirty="true"),
        replace(ROW, seed=2, value=None, status="diverged"),
    ]
    text = "\ufeff" + changed(table_of(*rows)).removeprefix("\ufeff")
    (tmp_path / "recall.csv").write_bytes(text.encode(encoding))
    assert ResultStore(tmp_path).read("recall") == rows
    ResultStore(tmp_path).write([replace(ROW, seed=3)])
    assert (tmp_path / "recall.csv").read_text(encoding="utf-8").startswith(",".join(COLUMNS))
    assert ResultStore(tmp_path).read("recall") == [*rows, replace(ROW, seed=3)]


def test_a_row_with_decimal_commas_is_written_again_with_points(tmp_path):
    text = table_of(ROW).replace(",", ";").replace("0.5;", "0,5;").replace("1.25;", "1,25;")
    (tmp_path / "recall.csv").write_text(text)
    ResultStore(tmp_path).write([replace(ROW, seed=2)])
    assert (tmp_path / "recall.csv").read_text() == table_of(ROW, replace(ROW, seed=2))


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("0,5", 0.5),
        ("-0,125", -0.125),
        ("0,340", 0.340),
        ("12,34", 12.34),
        ("1234,567", 1234.567),
        ("1,2345", 1.2345),
        ("1,5E-05", 1.5e-05),
        ("3,0e2", 300.0),
        ("7", 7.0),
        ("1,234", None),
        ("-12,345", None),
        ("999,000", None),
        ("1,234,567", None),
        ("1.234,5", None),
        ("1,234.5", None),
        ("1 234,5", None),
        ("1'234,5", None),
        (",5", None),
        ("5,", None),
        ("0,5 %", None),
        ("0;5", None),
        ("\u0661,5", None),
    ],
)
@pytest.mark.parametrize("column", ["value", "wall_seconds"])
def test_a_number_is_read_as_the_one_it_can_be_or_refused(tmp_path, cell, value, column):
    cells = replace(ROW, value=None, wall_seconds=None).to_text()
    cells[COLUMNS.index(column)] = cell
    (tmp_path / "recall.csv").write_text(";".join(COLUMNS) + "\n" + ";".join(cells) + "\n")
    if value is not None and (value >= 0 or column == "value"):
        (row,) = ResultStore(tmp_path).read("recall")
        assert getattr(row, column) == value
    else:
        with pytest.raises(UsageError, match=r"recall\.csv:2: "):
            ResultStore(tmp_path).read("recall")


@pytest.mark.parametrize("text", ["nan", "inf", "-1.0", "1e999"])
@pytest.mark.parametrize("column", ["wall_seconds", "peak_memory_mb"])
def test_what_a_run_took_is_an_amount_or_refused(tmp_path, column, text):
    cells = ROW.to_text()
    cells[COLUMNS.index(column)] = text
    (tmp_path / "recall.csv").write_text(",".join(COLUMNS) + "\n" + ",".join(cells) + "\n")
    with pytest.raises(UsageError, match=rf"recall\.csv:2: column '{column}' holds '{text}', not an amount"):
        ResultStore(tmp_path).read("recall")


def test_a_point_beside_a_decimal_comma_can_be_one_of_thousands(tmp_path):
    cells = replace(ROW, value=0.5, wall_seconds=1.25).to_text()
    text = ";".join(COLUMNS) + "\n" + ";".join(cells).replace("0.5;", "0,5;").replace("1.25", "1.250") + "\n"
    (tmp_path / "recall.csv").write_text(text)
    with pytest.raises(UsageError, match=r"recall\.csv:2: column 'value' holds '0,5', not a number"):
        ResultStore(tmp_path).read("recall")


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16-le", "utf-16-be"])
def test_a_table_in_an_encoding_that_it_does_not_tell_is_named_with_its_line(tmp_path, encoding):
    (tmp_path / "recall.csv").write_bytes(table_of(replace(ROW, row="\xe9")).encode(encoding))
    with pytest.raises(UsageError, match=r"recall\.csv:[12]: .*restore the file"):
        ResultStore(tmp_path).read("recall")


def test_a_table_without_a_last_line_end_is_continued_on_a_line_of_its_own(tmp_path):
    (tmp_path / "recall.csv").write_text(table_of(ROW).removesuffix("\n"))
    ResultStore(tmp_path).write([replace(ROW, seed=2)])
    assert [row.seed for row in ResultStore(tmp_path).read("recall")] == [1, 2]


def test_rows_of_several_experiments_go_to_tables_of_their_own(tmp_path):
    store = ResultStore(tmp_path)
    store.write([ROW, replace(ROW, experiment="copying"), replace(ROW, seed=2)])
    assert store.experiments() == ["copying", "recall"]
    assert [row.seed for row in store.read("recall")] == [1, 2]


def test_an_experiment_without_a_table_has_no_rows(tmp_path):
    store = ResultStore(tmp_path / "missing")
    assert (store.read("recall"), store.experiments()) == ([], [])
    assert not (tmp_path / "missing").exists()


def test_after_a_union_merge_the_later_row_wins_and_the_next_write_leaves_only_it(tmp_path):
    late, early = replace(ROW, value=0.9, time="2026-01-03T00:00:00Z"), replace(ROW, value=0.1)
    last = replace(ROW, seed=3, value=0.3)
    merged = table_of(replace(ROW, seed=2), late, early) + table_of(replace(last, value=0.2), last)
    (tmp_path / "recall.csv").write_text(merged)
    store = ResultStore(tmp_path)
    expected = [replace(ROW, seed=2), late, last]
    assert store.read("recall") == expected
    store.write([replace(ROW, seed=4)])
    assert (tmp_path / "recall.csv").read_text() == table_of(*expected, replace(ROW, seed=4))


def test_four_processes_writing_at_once_lose_no_row_and_double_none(tmp_path, process_timeout):
    writers = [start_writer(tmp_path, name, 25) for name in "abcd"]
    for writer in writers:
        writer.communicate(timeout=process_timeout)
        assert writer.returncode == 0
    written = [(row.row, row.seed) for row in ResultStore(tmp_path).read("recall")]
    assert sorted(written) == [(name, seed) for name in "abcd" for seed in range(25)]
    assert len((tmp_path / "recall.csv").read_text().splitlines()) == 101


def test_who_writes_all_the_time_lets_the_others_in(tmp_path):
    order = []

    def other():
        with locked(tmp_path, "recall"):
            order.append("other")

    waiting = threading.Thread(target=other)
    with locked(tmp_path, "recall"):
        waiting.start()
        end = time.monotonic() + 5
        while time.monotonic() < end:  # until the other one is next
            try:
                with lock_of(tmp_path / ".locks" / "recall.next"):
                    pass
            except Timeout:
                break
            time.sleep(0.01)  # in which the other one can take it
    with locked(tmp_path, "recall"):
        order.append("again")
    waiting.join()
    assert order == ["other", "again"]


def test_a_writer_waits_as_long_as_others_take_turns(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "_SECONDS", 1)
    store = ResultStore(tmp_path)
    store.write([ROW])
    waiting = threading.Thread(target=store.write, args=[[replace(ROW, seed=2)]])
    with lock_of(tmp_path / ".locks" / "recall.next"):
        with pytest.raises(UsageError, match=r"another process has held .* for 1 seconds"):
            store.write([ROW])
        waiting.start()
        for _ in range(15):
            time.sleep(0.1)
            (tmp_path / ".locks" / "recall.lock").touch()
    waiting.join()
    assert [row.seed for row in store.read("recall")] == [1, 2]


@pytest.mark.skipif(os.name != "posix", reason="kill -9 is a POSIX matter")
def test_killed_writers_leave_a_readable_table_with_every_finished_write(tmp_path):
    finished = set()
    for attempt in range(5):
        name = f"attempt{attempt}"
        writer = start_writer(tmp_path, name, 10**6)
        finished.add((name, int(writer.stdout.readline())))
        time.sleep(0.013 * attempt)
        writer.send_signal(signal.SIGKILL)
        finished |= {(name, int(seed)) for seed in writer.communicate()[0].split()}
        written = {(row.row, row.seed) for row in ResultStore(tmp_path).read("recall")}
        assert finished <= written
        # Only the write that was under way when the process died may be there besides.
        assert len(written) <= len(finished) + attempt + 1
    ResultStore(tmp_path).write([ROW])
    assert ROW in ResultStore(tmp_path).read("recall")


def test_writing_leaves_nothing_beside_the_tables_that_git_would_see(tmp_path):
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    store = ResultStore(tmp_path)
    store.check_writable()
    store.write([ROW])
    store.write_curve("recall-lstm", "step,loss\n1,2.0\n")
    (tmp_path / ".locks" / "recall.csv.unfinished").write_text("left by a killed process")
    status = ["git", "-C", str(tmp_path), "status", "--porcelain", "--untracked-files=all"]
    seen = subprocess.run(status, capture_output=True, text=True, check=True).stdout
    assert seen.split("\n") == ["?? curves/recall-lstm.csv", "?? recall.csv", ""]


def test_a_curve_replaces_the_older_one(tmp_path):
    store = ResultStore(tmp_path)
    store.write_curve("recall-lstm", "step,loss\n1,2.0\n")
    store.write_curve("recall-lstm", "step,loss\n1,1.0\n")
    assert (tmp_path / "curves" / "recall-lstm.csv").read_text() == "step,loss\n1,1.0\n"


@pytest.mark.parametrize("name", ["", "../recall", "a/b", ".hidden", "a b"])
def test_a_name_that_would_leave_the_folder_is_refused(tmp_path, name):
    with pytest.raises(UsageError, match="cannot name a results file"):
        ResultStore(tmp_path).write([replace(ROW, experiment=name)])
    with pytest.raises(UsageError, match="cannot name a results file"):
        ResultStore(tmp_path).write_curve(name, "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("damage", "line", "what"),
    [
        (lambda text: text + "<<<<<<< HEAD\n", 4, f"the row has 1 cells, not {len(COLUMNS)}"),
        (lambda text: text.replace(",0.5,", ",half,", 1), 2, "column 'value' holds 'half', not a number"),
        (lambda text: text.replace(",ok,", ",good,", 1), 2, "status is 'good'"),
        (
            lambda text: text.replace("accuracy", "accvracy", 1),
            2,
            "column 'metric' holds 'accvracy', not one of",
        ),
        (lambda text: text.replace(",best,", ",besd,", 1), 2, "'checkpoint' holds 'besd', not best or last"),
        (
            lambda text: text.replace("\nrecall", "\nrecbll", 1),
            2,
            "'experiment' holds 'recbll', not 'recall'",
        ),
        (lambda text: text.replace(",10,", ",-10,", 1), 2, "column 'examples' holds '-10', not a count"),
        (lambda text: text.replace(",cpu,2,,", ",cpu,2,\0\0,", 1), 2, "column 'op_paths' holds '"),
        (lambda text: "", 1, "the table is empty, without even a header"),
        (lambda text: "\n \n", 1, "the table is empty"),
        (lambda text: text + '"never closed\n', 4, "a quote is never closed"),
        (lambda text: text[::-1].replace("mtsl", 'm"tsl', 1)[::-1], 3, "a quote is never closed"),
        (lambda text: text.replace("seed,", "", 1), 1, "they differ in seed"),
        (lambda text: text.replace("metric,", "metrik,", 1), 1, "they differ in metric, metrik"),
        (
            lambda text: text.replace("seed,protocol", "protocol,seed", 1),
            1,
            "differ in the order of its columns",
        ),
    ],
)
def test_a_malformed_table_is_refused_with_its_line_and_a_cure_and_left_alone(tmp_path, damage, line, what):
    table = tmp_path / "recall.csv"
    text = damage(table_of(ROW, replace(ROW, seed=2)))
    table.write_text(text)
    for action in (lambda store: store.read("recall"), lambda store: store.write([ROW])):
        with pytest.raises(UsageError) as caught:
            action(ResultStore(tmp_path))
        assert f"recall.csv:{line}: " in str(caught.value)
        assert what in str(caught.value)
        assert "restore the file with git" in str(caught.value)
    assert table.read_text() == text


@pytest.mark.parametrize(
    "content", [b"\xff\xfe\x00\x01", b"\xff\xfe\x00", b"\x80\x00\x01", b"\x00\x01", bytes(100)]
)
def test_a_binary_file_is_refused(tmp_path, content):
    (tmp_path / "recall.csv").write_bytes(content)
    with pytest.raises(UsageError, match=r"recall\.csv:1: .*restore the file"):
        ResultStore(tmp_path).read("recall")


def test_a_folder_that_cannot_be_written_is_refused_with_a_cure(tmp_path):
    (tmp_path / "file").write_text("")
    store = ResultStore(tmp_path / "file" / "results")
    for write in (lambda: store.write([ROW]), lambda: store.write_curve("a", ""), store.check_writable):
        with pytest.raises(
            UsageError,
            match=r"results folder .* cannot be written \(.*\); make room or make it writable, or",
        ):
            write()


def is_older(table):
    """Whether all rows of a table are of the version without intervals."""
    _, *rows = csv.reader(table.read_text().splitlines())
    return {len(row) for row in rows} == {len(OLDER[0])}


COMMITTED = [each for each in sorted((Path(__file__).parents[2] / "results").glob("*.csv")) if is_older(each)]


@pytest.mark.parametrize("table", COMMITTED, ids=lambda path: path.stem)
def test_rows_of_a_version_without_intervals_keep_their_text_and_new_ones_follow(tmp_path, table):
    before = table.read_text()
    header = before.splitlines()[0].removesuffix(",processes,compiled").removesuffix(",low,high,settings")
    lines = [header, *before.splitlines()[1:]]
    (tmp_path / table.name).write_text("".join(f"{line}\n" for line in lines))
    store = ResultStore(tmp_path)
    rows = store.read_all(table.stem)
    added = [
        replace(ROW, experiment=table.stem, row="new", seed=seed, low=0.25, high=0.75, settings="as read")
        for seed in (1, 2)
    ]
    for row in added:  # the second finds old rows below the header of all columns
        store.write([row])
    header, *after = (tmp_path / table.name).read_text().splitlines()
    assert header == ",".join(COLUMNS)
    assert after[:-2] == lines[1:]
    assert store.read_all(table.stem) == [*rows, *added]
    assert pandas.read_csv(tmp_path / table.name)["low"].dropna().tolist() == [0.25, 0.25]


def test_rows_of_three_versions_stand_below_one_header(tmp_path):
    rows = [
        ROW,
        replace(ROW, seed=8, low=0.25, high=0.75, settings="as read"),
        replace(ROW, seed=9, low=0.25, high=0.75, settings="as read", processes=2, compiled="true"),
    ]
    widths = (*map(len, OLDER), len(COLUMNS))
    lines = [to_line(row.to_text()[:width]) for row, width in zip(rows, widths, strict=True)]
    (tmp_path / f"{ROW.experiment}.csv").write_text("".join([to_line(COLUMNS), *lines]))
    assert ResultStore(tmp_path).read_all(ROW.experiment) == rows
