"""Sections of papers get the part of the abstract that belongs to them."""

import io
import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rmem_cli.data_scripts.fetch import fetch
from rmem_cli.data_scripts.scientific_papers import PUBMED_SECTIONS
from rmem_cli.data_scripts.sections import common_words, published, read_sections

from rmem_cli.data.articles import open_words
from rmem_cli.data.pair_records import Pair
from rmem_cli.errors import DataError

LONG = "word " * 50 + "more"
PAPER = {
    "article_id": "p1",
    "article_text": ["not read here"],
    "abstract_text": [
        "<S> We ask why glands vary . </S>",
        "<S> two glands of nine grew . </S>",
        "<S> zebra </S>",
    ],
    "section_names": ["1. Introduction", "Results and Discussion", "Limitations of methods", "Funding"],
    "sections": [
        [LONG, "glands vary . we ask why ."],
        [LONG, "in results , two of nine glands grew ."],
        [LONG, "of two glands of nine grew none ."],
        [LONG, "zebra"],
    ],
}


def sections(tmp_path, paper, **options):
    (tmp_path / "train.txt").write_text(json.dumps(paper) + "\n")
    return list(read_sections(tmp_path / "train.txt", **({"whole": False} | options)))


@given(one=st.lists(st.sampled_from("abc")), other=st.lists(st.sampled_from("abcd")))
def test_common_words_are_those_of_the_longest_common_subsequence(one, other):
    table = [[0] * (len(other) + 1) for _ in range(len(one) + 1)]
    for i, left in enumerate(one):
        for j, right in enumerate(other):
            table[i + 1][j + 1] = table[i][j] + 1 if left == right else max(table[i][j + 1], table[i + 1][j])
    assert common_words(one, other) == table[-1][-1]


def test_a_sentence_belongs_to_the_section_with_the_sentence_that_is_most_like_it(tmp_path):
    """The second one to the limitations, whose head is not among those that are kept; zebras to none."""
    found = sections(tmp_path, PAPER)
    assert found == [
        Pair("p1", f"{' '.join(LONG.split())}\nglands vary . we ask why .", "We ask why glands vary .")
    ]


def test_where_sections_are_joined_each_has_the_whole_abstract(tmp_path):
    whole = "We ask why glands vary .\ntwo glands of nine grew .\nzebra"
    found = sections(tmp_path, PAPER, whole=True)
    assert [pair.summary for pair in found] == [whole, whole]
    assert "in results" in found[1].article


def test_short_sections_and_in_training_short_parts_are_left_out(tmp_path):
    paper = PAPER | {"sections": [["short"], *PAPER["sections"][1:]]}
    assert len(sections(tmp_path, paper, whole=True)) == 1
    assert len(sections(tmp_path, PAPER, least=4)) == 1
    assert sections(tmp_path, PAPER, least=6) == []
    papers = Counter()
    assert list(published(tmp_path / "train.txt", "train", papers)) == []
    assert len(list(published(tmp_path / "train.txt", "valid", papers))) == 1
    assert len(list(published(tmp_path / "train.txt", "test", papers))) == 2
    assert papers == {f"papers of {split}": 1 for split in ("train", "valid", "test")}


def test_papers_without_sections_have_none_and_what_is_broken_is_told_with_its_line(tmp_path):
    assert sections(tmp_path, PAPER | {"section_names": [], "sections": []}) == []
    for wrong in (
        {"sections": None},
        {"section_names": ["Introduction"]},
        {"sections": "text"},
        {"section_names": [1, 2, 3, 4]},
    ):
        with pytest.raises(DataError, match=r"train\.txt:1: section_names and sections are not .* Mend it"):
            sections(tmp_path, PAPER | wrong)
    with pytest.raises(DataError, match=r"train\.txt:1: article is not text, nor a list of sentences"):
        sections(tmp_path, PAPER | {"sections": [[1], ["a"], ["b"], ["c"]]})


@pytest.mark.data
def test_sections_of_the_real_sample_can_be_read_word_by_word(real_data):
    fetch(PUBMED_SECTIONS, Console(file=io.StringIO()), path=real_data / "pubmed", allow_missing=True)
    splits = open_words("pubmed_sections").published()
    assert {name for name, articles in splits.items() if len(articles) > 5} == {"train", "valid", "test"}
    test = list(splits["test"])
    assert len({article.id for article in test}) <= 10
    assert len({(article.id, str(article.reference)) for article in test}) == len({one.id for one in test})
