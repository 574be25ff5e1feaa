"""Learning curves among the results: read right, or refused with the line; never read in part."""

from dataclasses import replace

import pytest

from rmem_cli.errors import UsageError
from rmem_cli.results.curves import Curves
from rmem_cli.results.row import ResultRow
from rmem_cli.results.run_names import file_name
from rmem_cli.results.store import ResultStore

ROW = ResultRow(
    experiment="recall", row="lstm", cell="", scale="cpu", seed=1, protocol="test", split="test", part="",
    metric="accuracy", value=0.5, unit="fraction", examples=10, step=20, checkpoint="last", parameters=7,
    wall_seconds=1.25, peak_memory_mb=None, device="cpu", threads=2, op_paths="", dtype="float32",
    torch_version="2.13.0", rmem_version="0.1.0", git_commit="", git_dirty="", train_hash="0123456789ab",
    eval_hash="ba9876543210", data_hash="", status="ok", time="2026-01-02T03:04:05Z",
)  # fmt: skip
TEXT = """\
step,split,metric,value
5,train,loss,3.25
10,valid,loss,2.5
10,valid,accuracy,0.25
15,train,loss,nan
20,valid,loss,1e-05
20,valid,accuracy,1.0
"""


@pytest.fixture
def read(tmp_path):
    """Reads a text as the curve of the row."""

    def read_text(text, row=ROW):
        name = file_name(row, row.train_hash)
        ResultStore(tmp_path).write_curve(name, text)
        return Curves(tmp_path)(row)

    return read_text


def test_a_curve_holds_the_finite_values_of_each_split_and_metric(read):
    curve = read(TEXT)
    assert curve.series["train", "loss"] == [(5, 3.25)]
    assert curve.validation("loss") == [(10, 2.5), (20, 1e-05)]
    assert curve.validation("accuracy") == [(10, 0.25), (20, 1.0)]
    assert curve.last_step == 20


def test_a_curve_that_is_not_there_is_none(tmp_path):
    assert Curves(tmp_path)(ROW) is None


@pytest.mark.parametrize("text", ["", "step,split,metric,value\n"])
def test_a_run_that_ended_before_it_measured_anything_has_an_empty_curve(read, text):
    curve = read(text, replace(ROW, status="diverged", step=3, value=None))
    assert (curve.last_step, curve.validation("loss")) == (0, [])


def test_a_curve_with_a_byte_order_mark_other_line_ends_and_quotes_is_the_same(read):
    quoted = "\ufeff" + TEXT.replace(",valid,", ',"valid",').replace("\n", "\r\n")
    assert read(quoted) == read(TEXT)


@pytest.mark.parametrize(
    ("damage", "line", "what"),
    [
        (lambda text: text.replace("2.5", "x"), 3, "'10,valid,loss,x' is not step,split,metric,value"),
        (lambda text: text.replace("2.5", "2,5"), 3, "is not step,split,metric,value"),
        (lambda text: text.replace("10,valid,loss", "10,vblid,loss"), 3, "is not step"),
        (lambda text: text.replace("10,valid,loss", "10,valid,lpss"), 7, "metrics of valid are not all at"),
        (lambda text: text.replace("10,valid,loss", "30,valid,loss"), 6, "step 20 comes after step 30"),
        (lambda text: text.replace("10,valid,loss,2.5\n", ""), 6, "metrics of valid are not all at the same"),
        (
            lambda text: text.replace("5,train,loss,3.25\n", 2 * "5,train,loss,3.25\n"),
            3,
            "step 5 comes after",
        ),
        (
            lambda text: text.replace("split,metric", "metric,split"),
            1,
            "header is not step,split,metric,value",
        ),
        (lambda text: text.partition("\n")[2], 1, "the header is not"),
        (lambda text: text[:-2], 7, "the line has no end, as if the file had been cut"),
        (lambda text: text[:-3], 7, "the line has no end"),
        (lambda text: text.partition("15,")[0], 4, "it ends before step 20, which has a result"),
        (lambda text: "", 1, "it ends before step 20"),
        (lambda text: text.replace("train", "\0rain"), 2, "is not step"),
        (lambda text: text.replace("train", '"train'), 2, "unexpected end of data"),
    ],
)
def test_a_damaged_curve_is_refused_with_its_line_and_a_cure(read, damage, line, what):
    with pytest.raises(UsageError) as caught:
        read(damage(TEXT))
    assert f"recall-lstm-cpu-seed1-0123456789ab.csv:{line}: " in str(caught.value)
    assert what in str(caught.value)
    assert "restore the file with git" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_curve_in_another_encoding_is_refused_with_its_line(tmp_path, read):
    read(TEXT)
    (path,) = (tmp_path / "curves").iterdir()
    path.write_bytes(TEXT.replace("2.5", "\xe9").encode("latin-1"))
    with pytest.raises(UsageError, match=r"csv:3: this is not text in UTF-8"):
        Curves(tmp_path)(ROW)
