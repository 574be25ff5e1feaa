from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmem_cli.data.tokenizers import (
    ByteTokenizer,
    SentencePieceTokenizer,
    VocabularyTokenizer,
    build_vocabulary,
    splitter,
    whole_lines,
)
from rmem_cli.errors import DataError, UsageError

TEXTS = [
    "The quick brown fox, it's said, jumps over the lazy dog.",
    "the dog barks; the fox runs (and runs)!",
    "a fox is a fox",
]
ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]))


@given(ANY_TEXT)
def test_bytes_come_back(text):
    tokenizer = ByteTokenizer()
    assert tokenizer.decode(tokenizer.encode(text)) == text


@given(st.lists(ANY_TEXT, min_size=1))
def test_characters_come_back(texts):
    tokenizer = VocabularyTokenizer.train(texts, split="characters")
    assert [tokenizer.decode(tokenizer.encode(text)) for text in texts] == texts


def test_words_come_back_and_unknown_ones_are_marked(tmp_path):
    VocabularyTokenizer.train(TEXTS).save(tmp_path / "words.json")
    tokenizer = VocabularyTokenizer.load(tmp_path / "words.json")
    assert tokenizer.decode(tokenizer.encode(TEXTS[2])) == TEXTS[2]
    assert tokenizer.decode(tokenizer.encode("a wolf")) == "a <unk>"


def test_without_an_unknown_symbol_an_unknown_word_is_refused():
    with pytest.raises(DataError, match="'wolf' is not in the vocabulary"):
        VocabularyTokenizer(["a", "fox"]).encode("a wolf")


@pytest.mark.parametrize("size", [None, 5])
@pytest.mark.parametrize("split", ["words", "basic_english"])
def test_a_vocabulary_and_its_symbols_are_those_of_torchtext(split, size):
    from torchtext.data.utils import get_tokenizer
    from torchtext.vocab import Vocab

    theirs = get_tokenizer(None if split == "words" else split)
    counts = Counter(word for text in TEXTS for word in theirs(text))
    vocabulary = Vocab(counts, max_size=size, specials=["<unk>", "<pad>"])
    ours = VocabularyTokenizer.train(TEXTS, size, split, specials=["<unk>", "<pad>"])
    assert ours.vocabulary == vocabulary.itos
    for text in [*TEXTS, "an unseen dog"]:
        assert ours.encode(text) == [vocabulary.stoi[word] for word in theirs(text)]


def test_words_that_are_as_frequent_stand_in_the_order_of_unicode():
    assert build_vocabulary(Counter("bab"), specials=()) == ["b", "a"]
    assert build_vocabulary(Counter("ba"), size=1) == ["<unk>", "a"]


def test_an_unknown_way_of_splitting_is_refused():
    with pytest.raises(UsageError, match="no way of splitting text called 'nonsense'"):
        splitter("nonsense")


@pytest.fixture(scope="module")
def pieces():
    return SentencePieceTokenizer.train(TEXTS * 5, 40)


def test_pieces_come_back(pieces):
    assert [pieces.decode(pieces.encode(text)) for text in TEXTS] == TEXTS
    assert pieces.vocabulary[:2] == ["<unknown>", "</s>"]
    assert len(pieces.vocabulary) == 40


def test_a_saved_model_is_the_same_and_so_is_one_trained_again(pieces, tmp_path):
    pieces.save(tmp_path / "model")
    assert SentencePieceTokenizer.load(tmp_path / "model").encode(TEXTS[1]) == pieces.encode(TEXTS[1])
    assert SentencePieceTokenizer.train(TEXTS * 5, 40).model == pieces.model


def test_what_is_no_model_is_refused(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        SentencePieceTokenizer.load(tmp_path / "nothing")
    (tmp_path / "model").write_bytes(b"not a model")
    with pytest.raises(DataError, match="not a sentencepiece model"):
        SentencePieceTokenizer.load(tmp_path / "model")


def test_too_many_pieces_for_the_text_are_refused():
    with pytest.raises(
        UsageError, match=r"cannot make 9,999 pieces of this text: Vocabulary size too high [^\[]*\d\.$"
    ):
        SentencePieceTokenizer.train(TEXTS, 9999)


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=30)), st.integers(1, 9))
def test_lines_are_whole_however_the_text_comes(pieces_of_text, longest):
    text = "".join(pieces_of_text)
    lines = list(whole_lines(pieces_of_text, longest))
    assert "".join(lines) == text.replace("\n", "")
    assert all(len(line) <= longest for line in lines)
    if all(len(line) <= longest for line in text.split("\n")):
        expected = text.split("\n")
        assert lines == (expected[:-1] if expected[-1] == "" else expected)
