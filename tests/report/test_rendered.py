"""The rendered tables beside the results are those of the results."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from rmem_cli.app import app

RESULTS = Path(__file__).parents[2] / "results"


@pytest.mark.skipif(not RESULTS.is_dir(), reason="only a checkout has results")
def test_they_are_up_to_date(tmp_path, monkeypatch):
    monkeypatch.setenv("RMEM_RESULTS", str(RESULTS))
    for arguments in ([], ["--grid"]):
        done = CliRunner().invoke(app, ["report", *arguments, "--format", "markdown", "--out", str(tmp_path)])
        assert done.exit_code == 0
    rendered = {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()}
    committed = {path.name: path.read_text(encoding="utf-8") for path in RESULTS.glob("*.md")}
    stale = [name for name, text in rendered.items() if committed.get(name) != text]
    assert not stale, "make results"
    assert set(committed) - set(rendered) == {"README.md"}
