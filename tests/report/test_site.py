"""The HTML pages: complete, small, nothing from elsewhere."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rmem_cli.app import app
from rmem_cli.report.wording import duration, memory, parameters

RESULTS = Path(__file__).parents[2] / "results"
NAMES = ["rum_recall", "rmt_copy", "rmt_1m_memorize"]

pytestmark = pytest.mark.skipif(not RESULTS.is_dir(), reason="only a checkout has results")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("RMEM_RESULTS", str(RESULTS))
        done = CliRunner().invoke(app, ["report", *NAMES, "--format", "html", "--out", str(folder)])
    assert (done.exit_code, done.stdout) == (0, "")
    return folder


def test_every_page_is_there_and_all_of_it_is_small(site):
    files = {path.name: path.stat().st_size for path in site.iterdir()}
    assert set(files) == {"index.html", "style.css", "script.js", *(f"{name}.html" for name in NAMES)}
    assert sum(files.values()) < 1_000_000


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not found, which runs the pages' script")
def test_amounts_are_sorted_by_their_size_whatever_their_units(site):
    ordered = [
        [duration(seconds) for seconds in (4.2, 30.0, 720, 2700, 12240, 777600)],
        [memory(megabytes) for megabytes in (9.0, 480.0, 1200.0, 20000.0)],
        [parameters(number) for number in (950, 17_900, 2_450_000)],
        ["-1.5", "1e-05", "0.25 (3)", "1,234", "diverged", "not run"],
    ]
    page = "const document = {querySelectorAll: () => []}, location = {}, addEventListener = () => {};"
    script = (
        (site / "script.js").read_text(encoding="utf-8").replace('"use strict";', f'"use strict"; {page}')
    )
    mixed = [column[::-1] for column in ordered]
    sort = f"console.log(JSON.stringify({json.dumps(mixed)}.map((texts) => texts.sort(compare))));"
    done = subprocess.run(["node", "-e", script + sort], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == ordered


def test_nothing_is_asked_of_anywhere_and_every_link_has_an_end(site):
    for page in site.glob("*.html"):
        text = page.read_text(encoding="utf-8")
        targets = [html.unescape(found) for found in re.findall(r'(?:href|src)="([^"]*)"', text)]
        ids = set(map(html.unescape, re.findall(r'id="([^"]*)"', text)))
        assert len(ids) == len(re.findall(r'id="([^"]*)"', text))
        for target in targets:
            assert target == "data:," or target.removeprefix("#") in ids or (site / target).is_file(), target
    assert "url(" not in (site / "style.css").read_text()


def test_a_name_leads_to_its_runs_with_command_environment_and_recipe(site):
    text = (site / "rmt_copy.html").read_text(encoding="utf-8")
    assert '<a href="#run-rmt_half_6seg">' in text
    run = text[text.index('id="run-rmt_half_6seg"') :].split("</details>")[0]
    assert "rmem train rmt_copy --row rmt_half_6seg --scale cpu" in run
    assert "torch_version" in run
    assert "segment_length: 4" in run


def test_learning_curves_of_all_seeds_and_curves_over_a_length_are_drawn(site):
    text = (site / "rmt_1m_memorize.html").read_text(encoding="utf-8")
    assert text.count('class="line c') >= 9
    assert re.search(r'class="line c0 published"[^>]*><title>RMT trained on 1 segment, published', text)
