from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmem_cli.data.tokenizers import (
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


def test_words_have_the_symbols_of_their_places_and_unknown_ones_a_symbol_of_their_own():
    tokenizer = VocabularyTokenizer(["a", "<unk>", "fox", "is"])
    assert tokenizer.encode("a fox  is\ta wolf") == [0, 2, 3, 0, 1]
    assert VocabularyTokenizer(list("ab "), "characters").encode("b a") == [1, 2, 0]


def test_without_an_unknown_symbol_an_unknown_word_is_refused():
    with pytest.raises(DataError, match="'wolf' is not in the vocabulary"):
        VocabularyTokenizer(["a", "fox"]).encode("a wolf")


def test_a_vocabulary_has_frequent_symbols_first_and_the_others_in_the_order_of_unicode():
    assert build_vocabulary(Counter("bab")) == ["b", "a"]
    assert build_vocabulary(Counter("abécb")) == ["b", "a", "c", "é"]


@pytest.mark.parametrize("name", ["words", "basic_english"])
def test_a_text_is_split_as_torchtext_does(name):
    from torchtext.data.utils import get_tokenizer

    theirs = get_tokenizer(None if name == "words" else name)
    assert [splitter(name)(text) for text in TEXTS] == [list(theirs(text)) for text in TEXTS]


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


def test_training_again_gives_the_same_model(pieces):
    assert SentencePieceTokenizer.train(TEXTS * 5, 40).model == pieces.model
    assert SentencePieceTokenizer(pieces.model).encode(TEXTS[1]) == pieces.encode(TEXTS[1])


def test_what_is_no_model_is_refused():
    with pytest.raises(DataError, match="not a sentencepiece model"):
        SentencePieceTokenizer(b"not a model")


def test_too_many_pieces_for_the_text_are_refused():
    with pytest.raises(
        UsageError, match=r"cannot make 9,999 pieces of this text: Vocabulary size too high [^\[]*\d\.$"
    ):
        SentencePieceTokenizer.train(TEXTS, 9999)


@pytest.mark.parametrize("size", [1_900_000_000, 3_000_000_000])
def test_more_pieces_than_sentencepiece_counts_are_refused(size):
    with pytest.raises(
        UsageError, match=rf"cannot make {size:,} pieces of a text; 1,000,000,000 are the most"
    ):
        SentencePieceTokenizer.train(TEXTS, size)


@pytest.mark.parametrize("failure", [DataError("byte 5 is wrong"), KeyboardInterrupt()])
def test_what_reading_the_texts_fails_with_comes_through_sentencepiece(failure):
    def texts():
        yield from TEXTS
        raise failure

    with pytest.raises(type(failure)) as raised:
        SentencePieceTokenizer.train(texts(), 40)
    assert raised.value is failure


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=30)), st.integers(1, 9))
def test_lines_are_whole_however_the_text_comes(pieces_of_text, longest):
    text = "".join(pieces_of_text)
    lines = list(whole_lines(pieces_of_text, longest))
    assert "".join(lines) == text.replace("\n", "")
    assert all(len(line) <= longest for line in lines)
    if all(len(line) <= longest for line in text.split("\n")):
        expected = text.split("\n")
        assert lines == (expected[:-1] if expected[-1] == "" else expected)
