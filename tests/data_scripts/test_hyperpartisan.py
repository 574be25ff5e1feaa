import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rmem_cli.data_scripts.fetch import fetch
from rmem_cli.data_scripts.hyperpartisan import HYPERPARTISAN, prepare_pieces, ranks, with_twins

from rmem_cli.data.hyperpartisan import FOLDS, PIECES, TWINS, fold_of, open_hyperpartisan
from rmem_cli.data.texts import Texts
from rmem_cli.data.writer import write_prepared
from rmem_cli.errors import DataError, UsageError

ARTICLES = """<?xml version="1.0" encoding="UTF-8"?><articles>
<article id="7" title="One &amp; only">first <p>a <a href="x">link</a>
 here.</p></article>
<article id="8" title="Two"><p>second</p></article></articles>"""
LABELS = """<articles>
<article hyperpartisan="true" id="7"/><article hyperpartisan="false" id="{last}"/></articles>"""


@pytest.fixture
def write(tmp_path):
    def files(last="8", articles=ARTICLES):
        (tmp_path / "articles-training-byarticle-20181122.xml").write_text(articles)
        (tmp_path / "ground-truth-training-byarticle-20181122.xml").write_text(LABELS.format(last=last))
        return tmp_path

    return files


def test_articles_come_back_without_markup_and_with_their_labels(write, loosened, console):
    fetch(loosened(HYPERPARTISAN), console, path=write())
    news = open_hyperpartisan()
    assert list(news.texts) == ["first a link here.", "second"]
    assert list(news.titles) == ["One & only", "Two"]
    assert list(Texts(news.prepared, "id")) == ["7", "8"]
    assert news.labels.tolist() == [1, 0]
    assert news.prepared.details == {"true": 1, "false": 1}


def test_labels_of_other_articles_are_refused(write, loosened, console):
    with pytest.raises(DataError, match="do not describe the same articles"):
        fetch(loosened(HYPERPARTISAN), console, path=write(last="9"))


def test_articles_without_labels_are_refused_even_if_files_may_be_missing(write, loosened, console):
    folder = write()
    (folder / "ground-truth-training-byarticle-20181122.xml").unlink()
    with pytest.raises(DataError, match="needs both its files"):
        fetch(loosened(HYPERPARTISAN), console, path=folder, allow_missing=True)


def test_a_broken_file_is_one_sentence(write, loosened, console):
    with pytest.raises(DataError, match=r"articles-training.*is not right: "):
        fetch(loosened(HYPERPARTISAN), console, path=write(articles="<articles><article"))


def test_the_pieces_of_a_fold_come_from_the_articles_outside_of_it(tmp_path):
    articles, labels = "", ""
    for number, letter in enumerate("abcdefghijklmnopqrst"):
        articles += f'<article id="{number}" title="T">{letter * 3} {letter}</article>'
        labels += f'<article id="{number}" hyperpartisan="false"/>'
    files = {}
    for part, content in (("articles-training", articles), ("ground-truth-training", labels)):
        path = tmp_path / f"{part}-byarticle-20181122.xml"
        path.write_text(f"<articles>{content}</articles>")
        files[path.name] = path
    write_prepared("hyperpartisan", PIECES, prepare_pieces(files), sources=[], licence="", citation="")
    news = open_hyperpartisan(PIECES)
    for fold in range(FOLDS):
        tokenizer, pieces = news.tokenizer(fold), news.pieces(fold)
        known = set("".join(tokenizer.vocabulary[2:]))  # after the two special ones
        for article in news.split(fold)["train"]:
            letter = "abcdefghijklmnopqrst"[article]
            assert tokenizer.decode(pieces[article].tolist()) == f"T {letter * 3} {letter}"
        for part in ("valid", "test"):
            assert not known & {"abcdefghijklmnopqrst"[article] for article in news.split(fold)[part]}


@given(st.sets(st.text("0123456789", min_size=1), min_size=1).map(sorted), st.data())
def test_ranks_depend_on_ids_and_labels_alone(ids, data):
    labels = data.draw(st.lists(st.integers(0, 1), min_size=len(ids), max_size=len(ids)))
    order = data.draw(st.permutations(range(len(ids))))
    shuffled = ranks([ids[i] for i in order], [labels[i] for i in order])
    assert shuffled.tolist() == ranks(ids, labels)[list(order)].tolist()
    assert sorted(shuffled.tolist()) == list(range(len(ids)))


LONG = "word " * 60


def test_twins_are_what_begins_alike_and_have_the_least_of_their_ranks():
    texts = [f"{LONG}a", "other", f"{LONG.upper()} b, revised", "", f"x{LONG}", f"({LONG})", "", "other!"]
    own = np.array([7, 6, 5, 4, 3, 2, 1, 0], np.uint16)
    assert with_twins(own, texts).tolist() == [2, 0, 2, 1, 3, 2, 1, 0]


def test_articles_without_twins_keep_their_ranks():
    own = np.array([2, 0, 1], np.uint16)
    assert with_twins(own, ["a", "b", "ab"]).tolist() == own.tolist()


@pytest.fixture
def write_pieces(tmp_path):
    """Writes articles of one word each, three times over, as pieces."""

    def write(words, *, twins):
        articles = "".join(
            f'<article id="{number}" title="">{" ".join([word] * 3)}</article>'
            for number, word in enumerate(words)
        )
        labels = "".join(f'<article id="{number}" hyperpartisan="false"/>' for number in range(len(words)))
        files = {}
        for part, content in (("articles-training", articles), ("ground-truth-training", labels)):
            path = tmp_path / f"{part}-byarticle-20181122.xml"
            path.write_text(f"<articles>{content}</articles>")
            files[path.name] = path
        form = PIECES + TWINS if twins else PIECES
        content = prepare_pieces(files, twins=twins)
        write_prepared("hyperpartisan", form, content, sources=[], licence="", citation="")
        return open_hyperpartisan(form)

    return write


def test_twins_are_held_out_together_and_unknown_to_the_tokenizer_that_reads_them_then(write_pieces):
    words = [letter * 3 for letter in "abcdefghijklmnopqrst"]
    words += words[:8]  # so that every fold has some
    apart, together = (write_pieces(words, twins=twins) for twins in (False, True))
    assert any(_split_twins(apart, words))
    for fold in range(FOLDS):
        split = together.split(fold)
        known = set("".join(together.tokenizer(fold).vocabulary[2:]))
        in_training = {words[article] for article in split["train"]}
        for part in ("valid", "test"):
            held_out = {words[article] for article in split[part]}
            assert not held_out & in_training
            assert not known & set("".join(held_out))
        assert not {words[article] for article in split["valid"]} & {words[a] for a in split["test"]}
        assert sorted(np.concatenate(list(split.values())).tolist()) == list(range(len(words)))


def _split_twins(news, words):
    """Whether each article stands on another side of some fold than the first of its word."""
    folds = fold_of(news.prepared.array("rank"))
    return [folds[number] != folds[words.index(word)] for number, word in enumerate(words)]


@pytest.mark.data
@pytest.mark.slow
def test_the_real_twins_are_three_pairs_of_which_each_stood_on_both_sides_of_a_fold(real_data):
    fetch(HYPERPARTISAN, Console(file=io.StringIO()), path=real_data / "hyperpartisan")
    apart, together = open_hyperpartisan(), open_hyperpartisan(f"articles{TWINS}")
    ids = np.array(list(Texts(apart.prepared, "id")))
    own, common = (news.prepared.array("rank") for news in (apart, together))
    moved = np.flatnonzero(own != common)
    pairs = {tuple(sorted([ids[one], ids[np.flatnonzero(own == common[one])[0]]])) for one in moved}
    assert pairs == {("0000065", "0000121"), ("0000383", "0000384"), ("0000386", "0000580")}
    assert all(fold_of(own)[one] != fold_of(common)[one] for one in moved)
    texts = list(together.texts)
    assert texts == list(apart.texts)
    for fold in range(FOLDS):
        split = together.split(fold)
        held_out = {texts[article] for part in ("valid", "test") for article in split[part]}
        assert not held_out & {texts[article] for article in split["train"]}
        assert len(split["valid"]) + len(split["test"]) == [130, 130, 126, 130, 129][fold]
    assert len(open_hyperpartisan(f"pieces{TWINS}").pieces(0)) == 645


@pytest.mark.data
@pytest.mark.slow
def test_the_real_articles_have_the_published_counts_and_folds(real_data):
    fetch(HYPERPARTISAN, Console(file=io.StringIO()), path=real_data / "hyperpartisan")
    news = open_hyperpartisan()
    assert (int(news.labels.sum()), int((news.labels == 0).sum())) == (238, 407)
    assert news.titles[0] == "Kucinich: Reclaiming the money power"
    held_out = []
    for fold in range(FOLDS):
        split = news.split(fold)
        assert [len(split[part]) for part in ("train", "valid", "test")] == [516, 64, 65]
        assert sorted(np.concatenate(list(split.values())).tolist()) == list(range(645))
        held_out += [*split["valid"], *split["test"]]
        assert all(abs(news.labels[part].mean() - 238 / 645) < 0.02 for part in split.values())
    assert sorted(held_out) == list(range(645))
    with pytest.raises(UsageError, match="no fold 5"):
        news.split(5)
