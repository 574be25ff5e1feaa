"""A run, its folder and its files have one name each, whatever its row and its cell are called."""

from dataclasses import replace

import pytest
from result_rows import ROW

from rmem_cli.records.folder import run_path
from rmem_cli.results.run_names import file_name, may_begin_run_name, run_name


def test_a_run_is_named_as_its_folder_is(tmp_path):
    assert run_name(ROW) == "one/lstm/length=30/cpu-seed1-aaaaaaaaaaaa"
    assert run_name(replace(ROW, cell="")) == "one/lstm/cpu-seed1-aaaaaaaaaaaa"
    for cell in ("length=30", "", "..", "name=org/model", "é ?", "x" * 999):
        row = replace(ROW, cell=cell)
        assert run_path(row, row.train_hash, tmp_path) == tmp_path / run_name(row)
        assert may_begin_run_name(run_name(row))


@pytest.mark.parametrize("cell", ["name=org/model", "é ?", "x" * 999])
def test_the_files_of_any_run_can_be_written_and_keep_what_tells_runs_apart(tmp_path, cell):
    name = file_name(replace(ROW, cell=cell), ROW.train_hash)
    assert name.startswith("one-lstm-")
    assert name.endswith("-cpu-seed1-aaaaaaaaaaaa")
    (tmp_path / f"{name}-{ROW.eval_hash}.jsonl").write_text("")


def test_the_files_of_a_run_have_all_that_it_is_named_after():
    assert file_name(ROW, ROW.train_hash) == "one-lstm-length=30-cpu-seed1-aaaaaaaaaaaa"
    assert file_name(replace(ROW, cell=""), ROW.train_hash) == "one-lstm-cpu-seed1-aaaaaaaaaaaa"
