import subprocess
import sys
from dataclasses import fields, replace

import numpy as np
import pytest

from rmem_cli.results.row import COLUMNS, ResultRow, timestamp

ROW = ResultRow(
    experiment="rum_recall", row="lstm", cell="", scale="paper", seed=1, protocol="test", split="test",
    part="", metric="accuracy", value=0.1, unit="fraction", examples=20000, step=None, checkpoint="best",
    parameters=17950, wall_seconds=1.5, peak_memory_mb=None, device="cpu", threads=2,
    op_paths="rotation=fast", dtype="float32", torch_version="2.13.0", rmem_version="0.1.0", git_commit="",
    git_dirty="", train_hash="0123456789ab", eval_hash="ba9876543210", data_hash="", status="ok",
    time="2026-01-02T03:04:05Z",
)  # fmt: skip


def test_the_header_names_the_columns_in_the_agreed_order():
    assert ",".join(COLUMNS) == (
        "experiment,row,cell,scale,seed,protocol,split,part,metric,value,unit,examples,step,checkpoint,parameters,"
        "wall_seconds,peak_memory_mb,device,threads,op_paths,dtype,torch_version,rmem_version,git_commit,"
        "git_dirty,train_hash,eval_hash,data_hash,status,time,low,high,settings,processes,compiled"
    )


def test_a_row_read_from_its_text_is_the_same_row():
    assert ResultRow.from_text(ROW.to_text()) == ROW


def test_values_are_written_with_every_digit():
    text = dict(zip(COLUMNS, replace(ROW, value=0.1 + 0.2, wall_seconds=1e-7).to_text(), strict=True))
    assert (text["value"], text["wall_seconds"], text["step"]) == ("0.30000000000000004", "1e-07", "")


def test_numpy_numbers_are_written_as_plain_numbers():
    text = dict(zip(COLUMNS, replace(ROW, value=np.float32(0.5), seed=np.int64(3)).to_text(), strict=True))
    assert (text["value"], text["seed"]) == ("0.5", "3")


def test_the_key_is_what_was_measured_and_not_how_it_came_out():
    in_key = {"experiment", "row", "cell", "scale", "seed", "protocol", "split", "part", "metric"}
    in_key |= {"train_hash", "eval_hash"}
    for field in fields(ResultRow):
        other = {int: 7, str: "diverged" if field.name == "status" else "other"}.get(field.type, 7)
        changed = replace(ROW, **{field.name: other})
        assert (changed.key != ROW.key) == (field.name in in_key), field.name


def test_an_unknown_status_is_refused():
    with pytest.raises(ValueError, match="status is 'fine', not one of ok, diverged"):
        replace(ROW, status="fine")


def test_a_cell_of_the_wrong_kind_is_named():
    cells = ROW.to_text()
    cells[COLUMNS.index("seed")] = "one"
    with pytest.raises(ValueError, match="column 'seed' holds 'one', not a whole number"):
        ResultRow.from_text(cells)


def test_a_value_in_another_unit_than_its_metric_is_refused_where_it_would_be_averaged():
    cells = ROW.to_text()
    cells[COLUMNS.index("value")], cells[COLUMNS.index("unit")] = "98.2", "percent"
    with pytest.raises(ValueError, match=r"column 'unit' holds 'percent'.*accuracy are in 'fraction'"):
        ResultRow.from_text(cells)


def test_a_row_without_a_unit_is_read_as_those_of_tables_without_the_column():
    assert ResultRow.from_text(replace(ROW, unit="").to_text()).unit == ""


def test_a_timestamp_is_utc_with_whole_seconds():
    assert len(timestamp()) == len("2026-01-02T03:04:05Z")
    assert timestamp().endswith("Z")


def test_the_row_is_imported_without_anything_heavy():
    heavy = {"torch", "pandas", "numpy", "pydantic", "yaml"}
    code = f"import sys, rmem_cli.results.row; print(*{heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
