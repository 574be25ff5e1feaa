"""Where documents begin in a text of words."""

import io
import re
import zipfile

import pytest
from rich.console import Console
from rmem_cli.data_scripts.dataset import unwritten
from rmem_cli.data_scripts.fetch import fetch
from rmem_cli.data_scripts.wikitext import WIKITEXT2, prepare_words

from rmem_cli.data.documents import document_starts
from rmem_cli.data.prepared import open_prepared
from rmem_cli.data.writer import write_prepared


@pytest.fixture
def lines_that_begin_documents(tmp_path):
    """The lines of a text that begin documents; each is told by the word after its mark."""

    def find(*lines):
        path = tmp_path / "wiki.train.tokens"
        path.write_text("".join(f" {line} \n" for line in lines))
        content = prepare_words({"wiki.train.tokens": path})
        prepared = write_prepared("made_up", "word", content, sources=[], licence="none", citation="none")
        words = [prepared.vocabulary[symbol] for symbol in prepared.tokens("train")]
        begun = []
        for start in document_starts(prepared, "train"):
            end = words.index("<eos>", start)
            assert start == 0 or words[start - 1] == "<eos>"
            begun.append(" ".join(words[start:end]))
        return begun

    return find


def test_a_document_begins_at_a_title_between_empty_lines(lines_that_begin_documents):
    text = ["", "= A b c =", "", "text a", "", "= = Part = =", "", "text", "= B =", "", "= C ="]
    assert lines_that_begin_documents(*text) == ["= A b c =", "= C ="]  # no line is empty before B


def test_a_text_may_begin_and_end_with_a_title(lines_that_begin_documents):
    assert lines_that_begin_documents("= A =", "", "= B =") == ["= A =", "= B ="]


@pytest.mark.parametrize(
    ("line", "title"),
    [
        ("= E = m c =", True),
        ("= = ( album ) =", True),
        ("= C = =", True),
        ("= = A = =", False),
        ("= = = A = = =", False),
        ("= = E = m = =", False),
        ("= =", False),
        ("=", False),
        ("= A", False),
        ("A =", False),
        ("A = B", False),
        ("= 1 henry and capacitance C", False),
    ],
)
def test_marks_inside_a_title_do_not_hide_it_and_sections_are_no_documents(
    lines_that_begin_documents, line, title
):
    assert lines_that_begin_documents("", "= First =", "", line, "") == ["= First =", *[line] * title]


def test_a_line_of_text_that_looks_like_a_title_begins_no_document(lines_that_begin_documents):
    """As in the articles on filters and on sports, whose formulas and legends are broken into lines."""
    text = ["", "= A =", "", "Key : Pld", "= Played , W =", "Wins , L", "", "= x =", "y", "", "z", "= x ="]
    assert lines_that_begin_documents(*text) == ["= A ="]


def test_a_text_without_lines_or_marks_has_no_documents(lines_that_begin_documents):
    assert lines_that_begin_documents("", "text", "") == []
    assert list(document_starts(unwritten("wikitext103", "word"), "train")) == []


@pytest.mark.data
def test_wikitext2_has_as_many_documents_as_titles_in_its_files(real_data):
    fetch(WIKITEXT2, Console(file=io.StringIO()), path=real_data / "wikitext-2")
    text = open_prepared("wikitext2", "word")
    archive = zipfile.ZipFile(real_data / "wikitext-2" / "wikitext-2-v1.zip")
    for split, articles in (("train", 600), ("valid", 60), ("test", 60)):  # as its authors count them
        raw = "\n" + archive.read(f"wikitext-2/wiki.{split}.tokens").decode()
        titles = re.findall(r"(?<=\n \n) = [^=].*[^=] = (?=\n \n)", raw)
        assert len(document_starts(text, split)) == len(titles) == articles
