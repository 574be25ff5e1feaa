"""A run, its folder and its files have one name each, whatever its row and its cell are called."""

from dataclasses import replace

import pytest

from rmem_cli.records.folder import run_path
from rmem_cli.results.row import ResultRow
from rmem_cli.results.run_names import file_name, may_begin_run_name, run_name

ROW = ResultRow(
    experiment="one", row="lstm", cell="length=30", scale="cpu", seed=1, protocol="test", split="test",
    part="", metric="accuracy", value=0.5, unit="fraction", examples=10, step=10, checkpoint="last",
    parameters=100, wall_seconds=1.0, peak_memory_mb=1.0, device="cpu", threads=1, op_paths="",
    dtype="float32", torch_version="2.13.0", rmem_version="0.1.0", git_commit="0" * 40, git_dirty="false",
    train_hash="a" * 12, eval_hash="b" * 12, data_hash="", status="ok", time="2026-01-02T03:04:05Z",
)  # fmt: skip


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
