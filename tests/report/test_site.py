"""The HTML pages: complete, small, nothing from elsewhere; and in a real browser, where there is one."""

import functools
import html
import json
import os
import re
import shutil
import subprocess
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rmem_cli.app import app

RESULTS = Path(__file__).parents[2] / "results"
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
AXE = os.environ.get("RMEM_TEST_AXE", "")  # axe.min.js of the npm package axe-core
NAMES = ["rum_recall", "rmt_copy", "rmt_1m_memorize"]

pytestmark = pytest.mark.skipif(not RESULTS.is_dir(), reason="only a checkout has results")
in_a_browser = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")


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
    assert "rmem train rmt_copy --scale cpu --row rmt_half_6seg" in run
    assert "torch_version" in run
    assert "segment_length: 4" in run


def test_learning_curves_of_all_seeds_and_curves_over_a_length_are_drawn(site):
    text = (site / "rmt_1m_memorize.html").read_text(encoding="utf-8")
    assert text.count('class="line c') >= 9
    assert re.search(r'class="line c0 published"[^>]*><title>RMT trained on 1 segment, published', text)


@pytest.fixture(scope="module")
def served(site):
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(site))
    handler.log_message = lambda *_: None
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def found_in_browser(served, site, name, script):
    """What a script finds on a page, and what the browser says of it."""
    page = (site / name).read_text(encoding="utf-8")
    shutil.copy(AXE, site / "axe.js") if AXE else None
    axe = '<script src="axe.js"></script>' if AXE else ""
    told = f"""{axe}<script type="module">
    let found;
    try {{ found = await (async () => {{ {script} }})(); }} catch (error) {{ found = String(error); }}
    const told = document.createElement("pre"); told.id = "told"; told.textContent = JSON.stringify(found);
    document.body.replaceChildren(told);
    </script></body>"""
    (site / f"tried-{name}").write_text(page.replace("</body>", told), encoding="utf-8")
    done = subprocess.run(
        [
            CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr",
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--virtual-time-budget=20000",
            "--dump-dom", f"{served}/tried-{name}",
        ],
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    (site / f"tried-{name}").unlink()
    assert "CONSOLE" not in done.stderr
    return json.loads(html.unescape(re.search(r'<pre id="told">(.*?)</pre>', done.stdout, re.DOTALL)[1]))


@in_a_browser
@pytest.mark.parametrize("name", ["index.html", "rum_recall.html", "rmt_1m_memorize.html"])
def test_in_a_browser_a_page_logs_nothing_and_fits_a_phone(served, site, name):
    script = """
    document.body.style.width = "390px";
    const wide = [...document.querySelectorAll("main *")].filter((each) =>
      !each.closest(".scroll") && !each.closest("pre") && each.getBoundingClientRect().right > 391);
    return wide.map((each) => each.outerHTML.slice(0, 200));
    """
    assert found_in_browser(served, site, name, script) == []


@in_a_browser
def test_in_a_browser_columns_are_sorted_by_their_numbers_and_rows_filtered(served, site):
    script = """
    const table = document.querySelector("table"), head = table.tHead.rows[0].cells[2];
    const button = head.querySelector("button"), rows = [...table.tBodies[0].rows];
    const numbers = () => [...table.tBodies[0].rows].map((row) => Number(row.cells[2].textContent) || 0);
    button.click(); const up = numbers();
    button.click(); const down = numbers();
    const words = document.querySelector("input[type=search]");
    words.value = "RUM2017"; words.dispatchEvent(new Event("input"));
    button.focus();
    return { up, down, sort: head.getAttribute("aria-sort"), focused: document.activeElement === button,
             shown: rows.filter((row) => !row.hidden).map((row) => row.cells[0].textContent.trim()),
             total: table.tFoot.rows[0].cells[0].textContent.trim() };
    """
    found = found_in_browser(served, site, "index.html", script)
    known = [number for number in found["up"] if number]
    assert known == sorted(known)
    assert [number for number in found["down"] if number] == sorted(known, reverse=True)
    assert (found["sort"], found["focused"], found["total"]) == ("descending", True, "all of these")
    assert found["shown"]
    assert all(name.startswith("rum2017") for name in found["shown"])


@in_a_browser
def test_in_a_browser_a_link_opens_the_run_it_names(served, site):
    script = """
    location.hash = "#run-rmt_half_6seg";
    await new Promise((done) => setTimeout(done, 200));
    return document.getElementById("run-rmt_half_6seg").open;
    """
    assert found_in_browser(served, site, "rmt_copy.html", script) is True


@in_a_browser
@pytest.mark.skipif(not AXE, reason="RMEM_TEST_AXE names no axe.min.js")
@pytest.mark.parametrize("name", ["index.html", "rum_recall.html", "rmt_1m_memorize.html"])
def test_in_a_browser_axe_finds_no_serious_fault(served, site, name):
    script = """
    document.querySelectorAll("details").forEach((each) => (each.open = true));
    const result = await axe.run();
    return result.violations.filter((each) => ["serious", "critical"].includes(each.impact))
      .map((each) => [each.id, each.nodes.slice(0, 3).map((node) => node.html.slice(0, 200))]);
    """
    assert found_in_browser(served, site, name, script) == []
