"""The HTML pages in a real Chromium: by sight, keyboard, print, without scripts, and by axe-core."""

import functools
import os
import shutil
import subprocess
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from browser import CHROMIUM, Browser
from typer.testing import CliRunner

from rmem_cli.app import app

RESULTS = Path(__file__).parents[2] / "results"
AXE = os.environ.get("RMEM_TEST_AXE", "")  # axe.min.js of the npm package axe-core
# Of each kind: the scoreboard; a published table; curves over a length; no published table; nothing run.
RECIPES = ["rum_recall", "rmt_1m_memorize", "quickstart", "rum_babi", "unknown_words"]
PAGES = ["index", *RECIPES, "unknown_words.summaries"]

pytestmark = [
    pytest.mark.skipif(not RESULTS.is_dir(), reason="only a checkout has results"),
    pytest.mark.skipif(CHROMIUM is None, reason="needs chromium"),
]


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """The address of the pages."""
    folder = tmp_path_factory.mktemp("site")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("RMEM_RESULTS", str(RESULTS))
        done = CliRunner().invoke(app, ["report", *RECIPES, "--format", "html", "--out", str(folder)])
    assert done.exit_code == 0

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    handler = functools.partial(Quiet, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def browser():
    opened = Browser()
    yield opened
    opened.close()


@pytest.fixture
def show(served, browser):
    return lambda name, **look: browser.page(f"{served}/{name}.html", **look)


@pytest.mark.parametrize("name", PAGES)
def test_a_page_logs_nothing_and_asks_for_nothing_but_its_own_files(show, served, name):
    page = show(name)
    assert page.complaints == []
    assert {address for address in page.requests if address != "data:,"} == {
        f"{served}/{file}" for file in (f"{name}.html", "style.css", "script.js")
    }


@pytest.mark.parametrize("width", [390, 1440])
@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_no_wider_than_the_window(show, name, width):
    wide = show(name, width=width).run("""
        document.querySelectorAll("details").forEach((each) => (each.open = true));
        const free = [...document.querySelectorAll("main *")].filter((each) => !each.closest(".scroll, pre"));
        return free.filter((each) => each.getBoundingClientRect().right > innerWidth + 1)
          .map((each) => each.outerHTML.slice(0, 200));
    """)
    assert wide == []


def test_columns_are_sorted_by_their_numbers_and_rows_filtered(show):
    found = show("index").run("""
        const table = document.querySelector("table"), head = table.tHead.rows[0].cells[2];
        const button = head.querySelector("button"), rows = [...table.tBodies[0].rows];
        const numbers = () => [...table.tBodies[0].rows].map((row) => Number(row.cells[2].textContent) || 0);
        button.click(); const up = numbers();
        button.click(); const down = numbers();
        const words = document.querySelector("input[type=search]");
        words.value = "RUM2017"; words.dispatchEvent(new Event("input"));
        return { up, down, sort: head.getAttribute("aria-sort"),
                 shown: rows.filter((row) => !row.hidden).map((row) => row.cells[0].textContent.trim()),
                 total: table.tFoot.rows[0].cells[0].textContent.trim() };
    """)
    known = [number for number in found["up"] if number]
    assert known == sorted(known)
    assert [number for number in found["down"] if number] == sorted(known, reverse=True)
    assert (found["sort"], found["total"]) == ("descending", "all of these")
    assert found["shown"]
    assert all(name.startswith("rum2017") for name in found["shown"])


def test_a_link_opens_the_run_it_names(show):
    page = show("rum_recall")
    opened = page.run("""
        const link = [...document.querySelectorAll("a[href^='#run-']")][0];
        link.click();
        await new Promise((done) => setTimeout(done, 200));
        return document.querySelector(link.getAttribute("href")).open;
    """)
    assert opened is True


FOCUSED = """
    const one = document.activeElement, style = getComputedStyle(one), box = one.getBoundingClientRect();
    return { tag: one.tagName, text: (one.textContent || "").trim().slice(0, 40), sorts: !!one.closest("th"),
             outline: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2,
             seen: box.right > 0 && box.bottom > 0 && box.width > 0 && box.height > 0 };
"""


def test_the_keyboard_reaches_sorting_and_filter_and_shows_where_it_is(show):
    page = show("index")
    stops = []
    for _ in range(14):
        page.press("Tab")
        stops.append(page.run(FOCUSED))
    assert stops[0]["text"] == "Skip to the tables"
    assert all(stop["outline"] and stop["seen"] for stop in stops), stops
    assert [stop["tag"] for stop in stops if stop["sorts"]] == ["BUTTON"] * sum(
        stop["sorts"] for stop in stops
    )
    assert {"INPUT", "BUTTON"} <= {stop["tag"] for stop in stops}


def test_enter_sorts_what_has_the_focus_and_typing_filters(show):
    page = show("index")
    for _ in range(12):
        page.press("Tab")
        if (stop := page.run(FOCUSED))["tag"] == "INPUT":
            page.type("rum20")
        if stop["sorts"] and stop["text"] == "cells":
            page.press("Enter")
            break
    found = page.run("""
        const table = document.querySelector("table");
        return { sorted: table.querySelector("th[aria-sort]").textContent.trim(),
                 rows: [...table.tBodies[0].rows].filter((row) => !row.hidden).length,
                 of: table.tBodies[0].rows.length,
                 said: document.querySelector("[role=status]").textContent };
    """)
    assert found["sorted"] == "cells"
    assert 0 < found["rows"] < found["of"]
    assert found["said"] == f"{found['rows']} of {found['of']} rows"


def test_the_skip_link_leads_past_the_navigation(show):
    page = show("rum_recall")
    page.press("Tab")
    page.press("Enter")
    assert page.run("return location.hash") == "#main"
    page.press("Tab")
    assert page.run("return !!document.activeElement.closest('main')") is True


@pytest.mark.parametrize("name", PAGES)
def test_without_scripts_everything_can_be_read_and_nothing_does_nothing(show, name):
    found = show(name, scripts=False).run("""
        const rows = [...document.querySelectorAll("tbody tr")].filter((row) => !row.closest("details"));
        return { read: document.querySelector("main").innerText.length > 500,
                 rows: rows.length, hidden: rows.filter((row) => !row.offsetParent).length,
                 controls: document.querySelectorAll("button, input, select").length };
    """)
    assert found["read"]
    assert found["rows"] > 0 or name.endswith(".summaries")  # which are texts
    assert (found["hidden"], found["controls"]) == (0, 0)


@pytest.mark.parametrize("scripts", [True, False])
def test_print_has_all_rows_and_no_controls(show, scripts):
    page = show("rum_recall", scripts=scripts)
    if scripts:
        page.run("""
            const words = document.querySelector("input[type=search]");
            words.value = "no such row"; words.dispatchEvent(new Event("input"));
        """)
    page.media("print")
    found = page.run("""
        const seen = (each) => each.checkVisibility();
        const rows = [...document.querySelectorAll("tbody tr")];
        const summaries = [...document.querySelectorAll("dt")];
        const controls = [...document.querySelectorAll("input, select, nav, .skip")];
        return { unseen: rows.filter((row) => !seen(row)).length, facts: summaries.filter(seen).length,
                 all: summaries.length, controls: controls.filter(seen).length };
    """)
    assert found["unseen"] == found["controls"] == 0
    assert found["facts"] == found["all"] > 0


@pytest.mark.skipif(shutil.which("pdftotext") is None, reason="needs pdftotext")
def test_what_is_printed_has_every_row(show, tmp_path):
    page = show("rum_recall")
    rows = page.run("""
        return [...document.querySelectorAll("tbody th")].map((each) => each.firstChild.textContent.trim());
    """)
    (tmp_path / "it.pdf").write_bytes(page.pdf())
    subprocess.run(["pdftotext", "-raw", "it.pdf"], cwd=tmp_path, check=True)
    text = " ".join((tmp_path / "it.txt").read_text(encoding="utf-8").split())
    assert [row for row in rows if row and " ".join(row.split()) not in text] == []
    assert "Rows with" not in text


CONTRAST = """
    const light = (colour) => {
      const [r, g, b] = colour.match(/[\\d.]+/g).map(Number).map((each) => each / 255)
        .map((each) => (each <= 0.03928 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4));
      return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const style = getComputedStyle(document.body);
    return [light(style.backgroundColor), light(style.color)];
"""


def test_pages_are_dark_for_who_prefers_that(show):
    ground, text = show("rum_recall", dark=True).run(CONTRAST)
    assert ground < 0.05 < 0.5 < text
    ground, text = show("rum_recall").run(CONTRAST)
    assert text < 0.05 < 0.5 < ground


@pytest.mark.skipif(not AXE, reason="RMEM_TEST_AXE names no axe.min.js")
@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_no_serious_fault(show, name, dark):
    page = show(name, dark=dark)
    page.load(Path(AXE).read_text(encoding="utf-8"))
    found = page.run("""
        document.querySelectorAll("details").forEach((each) => (each.open = true));
        const result = await axe.run();
        return result.violations.filter((each) => ["serious", "critical"].includes(each.impact))
          .map((each) => [each.id, each.nodes.slice(0, 3).map((node) => node.html.slice(0, 200))]);
    """)
    assert found == []
