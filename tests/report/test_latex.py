"""LaTeX of reports: what was written comes out literally, and it compiles."""

import shutil
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rmem_cli.app import app
from rmem_cli.report import latex
from rmem_cli.report.page import Cell, Column, Grid, Page

RESULTS = Path(__file__).parents[2] / "results"
ODD = r"50 % of $x_1^2$ & {a} \b #c ~ <script> | [d] -- `e` 'f' \"g\" ± λ → Ω *"
compiles = pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex")


def compiled(folder):
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "it.tex"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=120)


def odd_page():
    column = Column(Cell(ODD), [Cell(ODD, (1,), (ODD,), is_best=True), Cell("[x]")])
    return Page("odd", ODD, ODD, [ODD], [Grid(ODD, [column, column], ODD)], [ODD], [ODD])


@compiles
def test_odd_characters_compile_and_come_out_literally(tmp_path):
    with (tmp_path / "it.tex").open("w", encoding="utf-8") as file:
        latex.write([odd_page()], file)
    done = compiled(tmp_path)
    assert done.returncode == 0, done.stdout[-2000:]
    if shutil.which("pdftotext"):
        subprocess.run(["pdftotext", "-raw", "it.pdf"], cwd=tmp_path, check=True)
        text = (tmp_path / "it.txt").read_text(encoding="utf-8")
        for word in ("50 %", "<script>", "{a}", "#c", "[d]", "U+03A9"):
            assert word in text


@compiles
@pytest.mark.skipif(not RESULTS.is_dir(), reason="only a checkout has results")
def test_the_tables_of_all_results_compile(tmp_path, monkeypatch):
    monkeypatch.setenv("RMEM_RESULTS", str(RESULTS))
    names = sorted(path.stem for path in RESULTS.glob("*.csv"))
    done = CliRunner().invoke(app, ["report", *names, "--all", "--explain", "--format", "latex"])
    assert done.exit_code == 0
    (tmp_path / "it.tex").write_text(done.stdout, encoding="utf-8")
    ended = compiled(tmp_path)
    assert ended.returncode == 0, ended.stdout[-2000:]


def test_verdicts_are_words_and_tables_have_rules():
    import io

    file = io.StringIO()
    latex.write([odd_page()], file)
    assert [file.getvalue().count(rule) for rule in (r"\toprule", r"\midrule", r"\bottomrule")] == [1, 1, 1]
