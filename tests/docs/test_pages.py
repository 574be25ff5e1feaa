"""The documentation says what happens: each page is followed word for word, and prints what it shows."""

import pytest
import typer
from pages import DOCS, alike, blocks, follow, pages

from rmem_cli.app import app


@pytest.mark.pages
@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(DOCS)))
def test_a_page_prints_what_it_shows(page, tmp_path):
    text = page.read_text(encoding="utf-8")
    assert alike(follow(text, tmp_path)) == alike(text)


def test_each_command_has_a_section_and_an_example_that_is_run():
    text = (DOCS / "commands.md").read_text(encoding="utf-8")
    headings = [line.partition(":")[0] for line in text.splitlines() if line.startswith("## ")]
    named = {name for heading in headings for name in heading.removeprefix("## ").split(", ")}
    run = "".join(blocks(text, "console"))
    for name in typer.main.get_command(app).commands:
        assert name in named
        assert f"$ rmem {name} " in run


def test_the_page_about_results_has_every_table_and_total_of_the_scoreboard(monkeypatch):
    monkeypatch.syspath_prepend(DOCS)
    import hooks

    markdown = (DOCS / "results.md").read_text(encoding="utf-8")
    shown = hooks.on_page_markdown(markdown, None, None, None).splitlines()
    committed = (DOCS.parent / "results" / "scoreboard.md").read_text(encoding="utf-8").splitlines()
    counts = [line for line in committed if line.startswith(("|", "**"))]
    assert [line for line in counts if line not in shown] == []


def test_a_command_that_fails_is_no_example(tmp_path):
    with pytest.raises(ValueError, match="ended with 3"):
        follow("```console\n$ exit 3\n```\n", tmp_path)


def test_other_output_than_a_page_shows_is_noticed(tmp_path):
    page = "```console\n$ echo hello 3\nhello 4\n```\n"
    assert alike(follow(page, tmp_path)) == alike(page)
    page = page.replace("hello 4", "goodbye 4")
    assert alike(follow(page, tmp_path)) != alike(page)
