"""The words of articles and summaries: found, counted, kept when work is stopped."""

import json
import os
import re

import numpy as np
import pytest
from rmem_cli.data_scripts.dataset import dataset
from rmem_cli.data_scripts.fetch import fetch
from rmem_cli.data_scripts.own_articles import OWN_ARTICLES

from rmem_cli.data import words
from rmem_cli.data.articles import SPECIAL, Article, open_words
from rmem_cli.data.prepared import open_prepared
from rmem_cli.data.task_tokenizers import ArticleTokenizer
from rmem_cli.data.words import SPLIT_ALREADY, WRITTEN, in_sentences
from rmem_cli.errors import DataError
from rmem_cli.tasks.sources import Sources


def write(folder, **splits):
    folder.mkdir(exist_ok=True)
    for split, pairs in splits.items():
        records = ({"id": str(n), "article": a, "summary": s} for n, (a, s) in enumerate(pairs))
        text = "".join(json.dumps(record) + "\n" for record in records)
        (folder / f"{split}.jsonl").write_text(text)
    return folder


def imported(tmp_path, console, **splits):
    fetch(OWN_ARTICLES, console, path=write(tmp_path / "own", **splits))
    return open_words("own_articles")


ONE = [("An article.", "A summary.")]


def test_written_text_becomes_words_in_lower_case_with_their_punctuation():
    assert WRITTEN.lines("It rained, he said\n\n Why?") == [
        ["it", "rained", ",", "he", "said", "."],
        ["why", "?"],
    ]


def test_text_that_is_split_already_keeps_its_words():
    assert SPLIT_ALREADY.lines("16.2% of Them ,\n( 296 - 331 )") == [
        ["16.2%", "of", "them", ","],
        [*"(", "296", "-", "331", ")"],
    ]


@pytest.mark.parametrize(
    ("lines", "sentences"),
    [
        ([["a", "."], ["b"]], [["a", "."], ["b"]]),
        ([["a", ".", "b", "!", "c"]], [["a", "."], ["b", "!"], ["c"]]),
        ([["a", "b"]], [["a", "b"]]),
        ([], []),
    ],
)
def test_a_summary_of_one_line_is_parted_at_its_full_stops(lines, sentences):
    assert in_sentences(lines) == sentences


def test_articles_of_ones_own_come_back_word_by_word(tmp_path, console):
    pairs = [("The cat\nsat.", "A cat. It sat"), ("Dogs!", "One line\nand another")]
    found = imported(tmp_path, console, train=pairs, valid=ONE, test=ONE).published()["train"]
    assert list(found) == [
        Article("0", ["the", "cat", ".", "sat", "."], [["a", "cat", "."], ["it", "sat", "."]]),
        Article("1", ["dogs", "!"], [["one", "line", "."], ["and", "another", "."]]),
    ]


@pytest.mark.parametrize("block", [1, 2, 3, 100])
def test_the_size_of_blocks_changes_nothing(tmp_path, console, monkeypatch, block):
    pairs = [(f"word{n} and word{n % 3}", f"word{n}") for n in range(7)]
    whole = imported(tmp_path, console, train=pairs, valid=ONE, test=ONE).prepared.data_hash
    monkeypatch.setattr(words, "_BLOCK", block)
    monkeypatch.setenv("RMEM_DATA", str(tmp_path / "anew"))
    assert imported(tmp_path, console, train=pairs, valid=ONE, test=ONE).prepared.data_hash == whole


def test_what_lacks_an_article_or_a_summary_is_left_out_and_counted(tmp_path, console):
    pairs = [("", "s"), ("a", " \n "), ("b", ""), ("kept", "too"), ("\n", "x")]
    found = imported(tmp_path, console, train=pairs, valid=ONE, test=ONE)
    assert [article.id for article in found.published()["train"]] == ["3"]
    assert found.prepared.details["without_article"] == 2
    assert found.prepared.details["without_summary"] == 2
    said = console.file.getvalue()
    assert "2 without an article are left out" in said
    assert "2 without a summary are left out" in said


@pytest.mark.parametrize("split", ["train", "valid", "test"])
def test_a_split_of_which_nothing_is_left_is_told(tmp_path, console, split):
    splits = {"train": ONE, "valid": ONE, "test": ONE} | {split: [("", "s"), ("a", ""), ("b", "\n")]}
    sentence = (
        f"Of own_articles, no article of {split} is left: 1 have no text and 2 no summary. Fill them in, or "
        f"give others for {split}."
    )
    with pytest.raises(DataError, match=f"^{re.escape(sentence)}$"):
        imported(tmp_path, console, **splits)


def test_of_tags_of_html_what_is_seen_is_taken_and_said(tmp_path, console):
    page = "<!doctype html><html><head><style>p {color: red}</style><script>x = '</p>'</script></head>"
    page += "<body><p>Cats &amp; dogs</p><p>rain<br>down</p></body></html>"
    found = imported(tmp_path, console, train=[(page, "1 < 2 and 3 > 2")], valid=ONE, test=ONE)
    (article,) = found.published()["train"]
    assert article.source == ["cats", "&", "dogs", ".", "rain", ".", "down", "."]
    assert article.reference == [["1", "<", "2", "and", "3", ">", "2", "."]]
    assert "1 texts with tags of HTML" in console.file.getvalue()


def test_an_article_of_a_hundred_thousand_words_is_kept_whole(tmp_path, console):
    long = " ".join(f"w{n}" for n in range(100_000))
    found = imported(tmp_path, console, train=[(long, "s")], valid=ONE, test=ONE).published()["train"]
    assert (found.lengths[0], found[0].source[-2]) == (100_001, "w99999")


def test_work_that_was_stopped_goes_on_behind_the_last_block(tmp_path, console, monkeypatch):
    pairs = [(f"word{n}", f"said{n}") for n in range(10)]
    folder = write(tmp_path / "own", train=pairs, valid=ONE, test=ONE)
    monkeypatch.setattr(words, "_BLOCK", 2)
    made = []
    original = words._Block.of.__func__

    def of(cls, rows, splitting):
        if len(made) == 3:
            raise KeyboardInterrupt
        made.append(1)
        return original(cls, rows, splitting)

    monkeypatch.setattr(words._Block, "of", classmethod(of))
    with pytest.raises(KeyboardInterrupt):
        fetch(OWN_ARTICLES, console, path=folder)
    monkeypatch.setattr(words._Block, "of", classmethod(lambda cls, *a: made.append(1) or original(cls, *a)))
    assert fetch(OWN_ARTICLES, console)
    assert len(made) == 3 + (5 - 3) + 2
    assert len(open_words("own_articles").published()["train"]) == 10
    assert not list(open_prepared("own_articles", "words").folder.parent.glob(".work-*"))
    assert not fetch(OWN_ARTICLES, console)


@pytest.mark.parametrize("size", [0, 100, -30])
def test_a_block_that_a_power_cut_has_cut_short_is_made_anew(tmp_path, console, monkeypatch, size):
    def stopped(*_):
        raise KeyboardInterrupt

    splits = {"train": [(f"word{n}", f"said{n}") for n in range(6)], "valid": ONE, "test": ONE}
    monkeypatch.setattr(words, "_BLOCK", 2)
    with monkeypatch.context() as patch:
        patch.setattr(words, "_arrays", stopped)
        with pytest.raises(KeyboardInterrupt):
            imported(tmp_path, console, **splits)
    home = open_prepared("own_articles", "pairs").folder.parent
    (block,) = home.glob(".work-words/*/train/000001.npz")
    block.write_bytes(block.read_bytes()[:size])
    made, original = [], words._Block.of.__func__
    monkeypatch.setattr(words._Block, "of", classmethod(lambda cls, *a: made.append(1) or original(cls, *a)))
    found = imported(tmp_path, console, **splits).published()["train"]
    assert [article.source[0] for article in found] == [f"word{n}" for n in range(6)]
    assert len(made) == 1


def test_a_block_has_reached_the_disk_before_it_has_its_name(tmp_path, console, monkeypatch):
    flushed, sync = [], os.fsync

    def note(descriptor):
        sync(descriptor)
        flushed.append(os.fstat(descriptor).st_ino)

    monkeypatch.setattr(os, "fsync", note)
    block = words._Block.of(iter([("1", "An article.", "A summary.")]), WRITTEN)
    block.save(tmp_path / "000000.npz")
    assert flushed[0] == (tmp_path / "000000.npz").stat().st_ino
    assert words._Block.load(tmp_path / "000000.npz").words == block.words


def test_blocks_of_other_articles_are_not_taken(tmp_path, console, monkeypatch):
    def stopped(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(words, "_arrays", stopped)
        with pytest.raises(KeyboardInterrupt):
            imported(tmp_path, console, train=[("old", "old")], valid=ONE, test=ONE)
    prepared = open_prepared("own_articles", "pairs")
    (prepared.folder / "meta.json").unlink()
    found = imported(tmp_path, console, train=[("new", "new")], valid=ONE, test=ONE)
    assert found.published()["train"][0].source == ["new", "."]


def test_words_are_made_anew_where_the_pairs_are_others(tmp_path, console):
    before = imported(tmp_path, console, train=ONE, valid=ONE, test=ONE).prepared.meta["sources"]
    (open_prepared("own_articles", "pairs").folder / "meta.json").unlink()
    after = imported(tmp_path, console, train=[("other", "other")], valid=ONE, test=ONE)
    assert after.prepared.meta["sources"] != before
    assert after.published()["train"][0].source == ["other", "."]


def test_one_file_with_all_articles_is_the_split_train(tmp_path, console):
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "articles.csv").write_text("article,summary\none,first\ntwo,second\n")
    fetch(OWN_ARTICLES, console, path=tmp_path / "own")
    assert list(open_words("own_articles").splits) == ["train"]


def test_lines_of_two_text_files_belong_together(tmp_path, console):
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "articles.source").write_text("One\nTwo\r\nThree\n")
    (tmp_path / "own" / "articles.target").write_text("1\n2\n3")
    own = dataset("own_articles_numbers")
    fetch(own, console, path=tmp_path / "own")
    split = open_words("own_articles_numbers").splits["train"]
    assert [split.article(place).reference for place in range(3)] == [
        [["1", "."]],
        [["2", "."]],
        [["3", "."]],
    ]


def test_two_text_files_of_unequal_length_are_refused_with_the_line(tmp_path, console):
    (tmp_path / "articles.source").write_text("One\nTwo\n")
    (tmp_path / "articles.target").write_text("1\n")
    with pytest.raises(DataError, match=r"articles\.target:2: this line is missing.*give each file as many"):
        fetch(OWN_ARTICLES, console, path=tmp_path)


def test_arrays_that_do_not_belong_together_are_refused(tmp_path, console, write_summaries):
    from rmem_cli.data.writer import Content, write_prepared

    write_summaries(train=4, valid=2, test=2)
    prepared = open_prepared("cnn_dailymail", "words")
    arrays = {name: [np.array(prepared.array(name))] for name in prepared.meta["arrays"]}
    arrays["train_source_words"] = [arrays["train_source_words"][0] + np.uint32(1)]
    write_prepared("cnn_dailymail", "words", Content(arrays, []), sources=[], licence="", citation="")
    with pytest.raises(DataError, match="the arrays of train do not belong together"):
        open_words("cnn_dailymail")


@pytest.mark.data
def test_the_real_sample_of_news_is_split_into_words(real_data, console):
    fetch(dataset("cnn_dailymail"), console, path=real_data / "cnn_dailymail", allow_missing=True)
    found = open_words("cnn_dailymail")
    assert {name: len(split) for name, split in found.splits.items()} == {"train": 100, "valid": 1000}
    assert 500 < found.splits["valid"].lengths.mean() < 900
    assert all(article.reference for article in map(found.splits["valid"].article, range(1000)))


def test_an_article_with_tags_is_read_alike_from_a_file_and_from_the_data(tmp_path, console):
    page = "<html><head><style>p {color: red}</style></head><p>Cats &amp; dogs</p><p>rain<br>down</p></html>"
    found = imported(tmp_path, console, train=[(page, "a summary.")], valid=ONE, test=ONE)
    (article,) = found.published()["train"]
    tokenizer = ArticleTokenizer([*SPECIAL, "cats", "dogs", "rain", "down", ".", "&"], found.splitting)
    assert Sources(tokenizer, source_length=100).article_of(page).source == article.source
    assert "".join(tokenizer.decode(tokenizer.encode(page))).split() == article.source
