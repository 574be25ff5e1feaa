"""The documentation says what happens: each page is followed word for word, and prints what it shows."""

import pytest
from pages import DOCS, alike, follow, pages


@pytest.mark.pages
@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(DOCS)))
def test_a_page_prints_what_it_shows(page, tmp_path):
    text = page.read_text(encoding="utf-8")
    assert alike(follow(text, tmp_path)) == alike(text)


def test_a_command_that_fails_is_no_example(tmp_path):
    with pytest.raises(ValueError, match="ended with 3"):
        follow("```console\n$ exit 3\n```\n", tmp_path)


def test_other_output_than_a_page_shows_is_noticed(tmp_path):
    page = "```console\n$ echo hello 3\nhello 4\n```\n"
    assert alike(follow(page, tmp_path)) == alike(page)
    page = page.replace("hello 4", "goodbye 4")
    assert alike(follow(page, tmp_path)) != alike(page)
