"""Withdrawn results stay in their tables and count nowhere; results of others are merged."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from result_rows import ROW

from rmem_cli.errors import UsageError
from rmem_cli.results import merge
from rmem_cli.results.merge import merge_results
from rmem_cli.results.row import COLUMNS
from rmem_cli.results.run_names import run_name
from rmem_cli.results.store import ResultStore
from rmem_cli.results.withdrawn import Withdrawal, Withdrawals, add_withdrawals, withdraw

OTHER = replace(ROW, row="gru", seed=2)


@pytest.fixture
def store(tmp_path):
    store = ResultStore(tmp_path / "own")
    store.write([ROW, OTHER])
    return store


@pytest.fixture
def others(tmp_path):
    return ResultStore(tmp_path / "others")


def test_a_withdrawn_result_stays_in_its_table_and_is_read_no_more(store):
    before = (store.folder / "one.csv").read_bytes()
    assert withdraw(store.folder, store.read("one"), [run_name(ROW)], "a bug") == [run_name(ROW)]
    assert store.read("one") == [OTHER]
    assert Withdrawals(store.folder).of(ROW).reason == "a bug"
    assert (store.folder / "one.csv").read_bytes() == before


def test_a_result_made_after_it_was_withdrawn_counts(store):
    withdraw(store.folder, store.read("one"), ["one/lstm"], "a bug")
    again = replace(ROW, value=0.75, time="2026-03-03T00:00:00Z")
    store.write([again])
    assert store.read("one") == [again, OTHER]


def test_what_was_taken_over_from_a_withdrawn_run_is_withdrawn_with_it(store):
    copy = replace(ROW, experiment="two", row="same")
    another = replace(copy, row="later", time="2026-03-03T00:00:00Z")
    store.write([copy, another])
    rows = [*store.read("one"), *store.read("two")]
    for name in (run_name(ROW), run_name(copy)):  # whichever is named
        (store.folder / "withdrawn.jsonl").unlink(missing_ok=True)
        assert withdraw(store.folder, rows, [name], "a bug") == [run_name(ROW), run_name(copy)]
        assert store.read("one") == [OTHER]
        assert store.read("two") == [another]


def test_withdrawals_of_many_at_once_are_all_kept(store):
    rows = [replace(ROW, seed=seed) for seed in range(8)]
    store.write(rows)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda row: withdraw(store.folder, rows, [run_name(row)], "a bug"), rows))
    assert store.read("one") == [OTHER]


def test_a_folder_that_cannot_be_written_is_told_in_a_sentence(store):
    shutil.rmtree(store.folder / ".locks")
    (store.folder / ".locks").write_text("in the way")
    with pytest.raises(UsageError, match="cannot be written"):
        withdraw(store.folder, [ROW], [run_name(ROW)], "a bug")


def test_what_has_no_result_cannot_be_withdrawn(store):
    with pytest.raises(UsageError, match=r"no result of a run 'one/lst'.*did you mean 'one/lstm/length=30"):
        withdraw(store.folder, store.read("one"), ["one/lst"], "a bug")


@pytest.mark.parametrize(
    "line",
    [
        '{"run": "a"}',
        '{"run": "a", "reason": "b", "time": null}',
        '{"run": "a", "reason": "b", "time": "soon"}',
        '{"run": "a", "reason": "half \\ud83d", "time": "2026-01-02T03:04:05Z"}',
        "[" * 100_000,
    ],
    ids=["missing", "no time", "another time", "half a character", "deep"],
)
def test_a_damaged_file_of_withdrawals_is_named_by_its_line(store, line):
    (store.folder / "withdrawn.jsonl").write_text(f"{line}\n")
    with pytest.raises(UsageError, match=r"withdrawn\.jsonl.*1.*no withdrawal"):
        store.read("one")


def test_new_and_newer_rows_are_merged_with_their_curves_and_withdrawals(store, others):
    newer = replace(ROW, value=0.9, time="2026-03-03T00:00:00Z")
    third = replace(ROW, seed=3)
    others.write([newer, OTHER, third, replace(third, experiment="two")])
    others.write_curve("one-lstm-length=30-cpu-seed3-aaaaaaaaaaaa", "step,split,metric,value\n")
    withdraw(others.folder, others.read("two"), ["two"], "a bug")
    assert merge_results(store, others.folder) == {"one": 2, "two": 1}
    assert store.read("one") == [newer, OTHER, third]
    assert store.read("two") == []
    assert [path.name for path in (store.folder / "curves").iterdir()] == [
        "one-lstm-length=30-cpu-seed3-aaaaaaaaaaaa.csv"
    ]
    assert merge_results(store, others.folder) == {"one": 0, "two": 0}


CURVE = "one-lstm-length=30-cpu-seed3-aaaaaaaaaaaa"


@pytest.mark.parametrize("fails", ["write", "copy_beside", "add_withdrawals"])
def test_a_merge_that_was_broken_off_is_done_as_a_whole_the_next_time(store, others, monkeypatch, fails):
    third = replace(ROW, seed=3)
    gru = replace(third, row="gru", train_hash="b" * 12)
    others.write([third, gru])
    others.write_curve(CURVE, "step,split,metric,value\n")
    withdraw(others.folder, others.read("one"), [run_name(gru)], "a bug")

    def broken(*arguments, **options):
        raise UsageError("no space left")

    target = merge if fails == "add_withdrawals" else ResultStore
    with monkeypatch.context() as patch:
        patch.setattr(target, fails, broken)
        with pytest.raises(UsageError, match="no space"):
            merge_results(store, others.folder)
    assert merge_results(store, others.folder) == {"one": 2}
    assert store.read("one") == [ROW, OTHER, third]
    assert (store.folder / "curves" / f"{CURVE}.csv").exists()


def test_a_row_that_is_written_while_others_are_compared_stays_if_it_is_newer(store, others, monkeypatch):
    newest = replace(ROW, value=0.99, time="2027-01-01T00:00:00Z")
    others.write([replace(ROW, value=0.1, time="2026-12-01T00:00:00Z")])

    def written_meanwhile(self, row, new, folder=None):
        ResultStore(store.folder).write([newest])

    monkeypatch.setattr(ResultStore, "copy_beside", written_meanwhile)
    merge_results(store, others.folder)
    assert store.read("one") == [newest, OTHER]


def test_files_beside_rows_are_copied_byte_for_byte_and_one_that_cannot_be_read_is_named(store, others):
    others.write([replace(ROW, seed=3)])
    others.write_curve(CURVE, "step,split,metric,value\n")
    path = others.folder / "curves" / f"{CURVE}.csv"
    content = path.read_bytes() + b"\r\n\xff"
    path.unlink()
    path.mkdir()
    with pytest.raises(UsageError, match=rf"{CURVE}\.csv cannot be read .*make it readable"):
        merge_results(store, others.folder)
    path.rmdir()
    path.write_bytes(content)
    assert merge_results(store, others.folder) == {"one": 1}
    assert (store.folder / "curves" / path.name).read_bytes() == content


def test_whatever_a_reason_holds_it_is_read_as_it_was_written(store):
    reason = "one\u2028two\x85three \u00e9 \U0001f600"
    add_withdrawals(store.folder, [Withdrawal(run_name(ROW), reason, ROW.time)])
    assert [one.reason for one in Withdrawals(store.folder).all] == [reason]
    add_withdrawals(store.folder, [Withdrawal(run_name(OTHER), "a bug", OTHER.time)])
    assert [one.reason for one in Withdrawals(store.folder).all] == [reason, "a bug"]


def test_older_rows_of_others_replace_nothing(store, others):
    others.write([replace(ROW, value=0.1, time="2025-01-01T00:00:00Z")])
    assert merge_results(store, others.folder) == {"one": 0}
    assert store.read("one") == [ROW, OTHER]


def test_tables_that_contradict_each_other_are_refused_and_nothing_is_written(store, others):
    others.write([replace(ROW, value=0.6), replace(ROW, seed=3)])
    with pytest.raises(UsageError, match=r"one: .*contradict.*results drop") as caught:
        merge_results(store, others.folder)
    assert f": {run_name(ROW)} test accuracy; " in str(caught.value)  # what `rmem results drop` takes
    assert store.read("one") == [ROW, OTHER]
    withdraw(others.folder, others.read("one"), [run_name(ROW)], "a bug")
    assert merge_results(store, others.folder) == {"one": 1}
    assert store.read("one") == [OTHER, replace(ROW, seed=3)]


def test_where_the_withdrawals_of_others_are_damaged_nothing_is_merged(store, others):
    others.write([replace(ROW, seed=3)])
    (others.folder / "withdrawn.jsonl").write_text("{}\n")
    with pytest.raises(UsageError, match="no withdrawal"):
        merge_results(store, others.folder)
    assert store.read("one") == [ROW, OTHER]


def test_columns_that_an_older_table_lacks_are_blank(store, others):
    kept = [name for name in COLUMNS if name not in ("peak_memory_mb", "op_paths")]
    cells = dict(zip(COLUMNS, replace(ROW, seed=5).to_text(), strict=True))
    others.folder.mkdir()
    lines = [",".join(kept), ",".join(cells[name] for name in kept)]
    (others.folder / "one.csv").write_text("\n".join(lines) + "\n")
    assert merge_results(store, others.folder) == {"one": 1}
    (found,) = [row for row in store.read("one") if row.seed == 5]
    assert (found.peak_memory_mb, found.op_paths, found.value) == (None, "", 0.5)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("experiment,colour\none,red\n", r"one\.csv:1: the row has 2 cells"),
        ("a,b\n1,2\n", r"one\.csv:1: the row has 2 cells"),
        ("", r"one\.csv:1: the table is empty"),
    ],
)
def test_what_is_no_table_of_results_is_refused_with_its_place(store, others, text, says):
    others.folder.mkdir()
    (others.folder / "one.csv").write_text(text)
    with pytest.raises(UsageError, match=says):
        merge_results(store, others.folder)


def test_a_folder_without_results_is_refused(store, tmp_path):
    with pytest.raises(UsageError, match="no results to merge"):
        merge_results(store, tmp_path / "nowhere")
