"""The rendered tables beside the results, and the scoreboard of the README, are those of the results."""

import pytest
from readme import ROOT, with_scoreboard
from typer.testing import CliRunner

from rmem_cli.app import app

RESULTS = ROOT / "results"


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
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert with_scoreboard(readme, rendered["scoreboard.md"]) == readme, "make results"


@pytest.mark.parametrize("scoreboard", ["", "| \\1 | \\`--all\\` |\n"])
def test_a_scoreboard_replaces_what_is_between_the_markers_and_nothing_else(scoreboard):
    before, after = "# rmem\n<!-- scoreboard: made -->\n", "<!-- end of scoreboard -->\nmore\n"
    assert with_scoreboard(f"{before}old\n\nold\n{after}", scoreboard) == before + scoreboard + after


def test_a_readme_without_markers_is_refused():
    with pytest.raises(ValueError, match="markers"):
        with_scoreboard("# rmem\n", "| a |\n")
