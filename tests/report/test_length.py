"""How long and how wide a report of the committed results is."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from rmem_cli.app import app

RESULTS = Path(__file__).parents[2] / "results"


@pytest.mark.skipif(not RESULTS.is_dir(), reason="only a checkout has results")
@pytest.mark.parametrize(("arguments", "most"), [([], 60), (["rmt_copy"], 40)])
def test_a_report_fits_on_a_screen(monkeypatch, arguments, most):
    monkeypatch.setenv("RMEM_RESULTS", str(RESULTS))
    monkeypatch.delenv("COLUMNS", raising=False)
    done = CliRunner().invoke(app, ["report", *arguments])
    assert done.exit_code == 0
    assert 10 < len(done.stdout.splitlines()) <= most


@pytest.mark.skipif(not RESULTS.is_dir(), reason="only a checkout has results")
@pytest.mark.parametrize(("columns", "width"), [("100", 100), ("", 110), ("0", 110), ("wide", 110)])
def test_a_report_that_is_no_terminals_is_as_wide_as_columns_says(monkeypatch, columns, width):
    monkeypatch.setenv("RMEM_RESULTS", str(RESULTS))
    monkeypatch.setenv("COLUMNS", columns)
    done = CliRunner().invoke(app, ["report", "rum_babi"])
    assert max(map(len, done.stdout.splitlines())) == width
