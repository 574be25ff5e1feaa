import hashlib
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rmem_cli.data_scripts.fetch import fetch
from rmem_cli.data_scripts.ptb import PTB, prepare_characters, prepare_words

from rmem_cli.data.prepared import open_prepared
from rmem_cli.errors import DataError

WORD = st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1, max_size=5)
LINE = st.lists(WORD, max_size=6).map(lambda words: " " + " ".join(words) + " ")
TEXT = st.lists(LINE, min_size=1, max_size=8).map(lambda lines: "\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("texts")


def prepared_texts(prepare, folder, train, other):
    """Vocabulary, and the symbols of a train, valid and test text."""
    texts = {"ptb.train.txt": train, "ptb.valid.txt": other, "ptb.test.txt": train}
    for name, text in texts.items():
        (folder / name).write_bytes(text.encode())
    content = prepare({name: folder / name for name in texts})
    return content, {
        split: [int(s) for chunk in chunks for s in chunk] for split, chunks in content.arrays.items()
    }


@given(TEXT)
def test_decoding_characters_gives_back_the_normalised_text(folder, text):
    content, symbols = prepared_texts(prepare_characters, folder, text, text)
    normalised = "".join(line.strip().replace(" ", "_") + "\n" for line in text.split("\n")[:-1])
    for split in ("train", "valid", "test"):
        assert "".join(content.vocabulary[symbol] for symbol in symbols[split]) == normalised
    assert content.vocabulary[content.end_of_line] == "\n"


@given(TEXT)
def test_decoding_words_gives_back_the_words_and_an_end_for_each_line(folder, text):
    content, symbols = prepared_texts(prepare_words, folder, text, text)
    expected = [word for line in text.split("\n")[:-1] for word in (*line.split(), "<eos>")]
    assert [content.vocabulary[symbol] for symbol in symbols["valid"]] == expected
    assert content.vocabulary[content.end_of_line] == "<eos>"


def test_characters_are_ordered_by_frequency_then_code_point(folder):
    content, symbols = prepared_texts(prepare_characters, folder, " cab b \n", "a\n")
    assert content.vocabulary == ["b", "\n", "_", "a", "c"]
    assert symbols["train"] == [4, 3, 0, 2, 0, 1]


def test_words_are_ordered_by_frequency_then_first_appearance(folder):
    content, symbols = prepared_texts(prepare_words, folder, " z b a b \n", "a\n")
    assert content.vocabulary == ["b", "z", "a", "<eos>"]
    assert symbols["valid"] == [2, 3]


def test_special_words_are_spelled_out_in_characters(folder):
    content, symbols = prepared_texts(prepare_characters, folder, " <unk> N \n", "\n")
    assert "".join(content.vocabulary[symbol] for symbol in symbols["train"]) == "<unk>_N\n"


def test_the_last_line_counts_without_its_newline_and_empty_lines_too(folder):
    _, with_newline = prepared_texts(prepare_characters, folder, "a b\n\nb\n", "a\n")
    _, without = prepared_texts(prepare_characters, folder, "a b\n\nb", "a")
    assert with_newline == without
    assert len(with_newline["train"]) == len("a_b\n\nb\n")


@pytest.mark.parametrize(("prepare", "unknown"), [(prepare_characters, "x"), (prepare_words, "xa")])
def test_a_symbol_the_training_text_lacks_is_named(folder, prepare, unknown):
    with pytest.raises(DataError, match=rf"ptb\.valid\.txt holds '{unknown}'"):
        prepared_texts(prepare, folder, "a b\n", "a xa\n")


def test_text_that_is_not_utf8_is_refused(folder):
    for split in ("train", "valid", "test"):
        (folder / f"ptb.{split}.txt").write_bytes(b"caf\xe9\n")
    with pytest.raises(DataError, match="not UTF-8"):
        prepare_characters({file.name: folder / file.name for file in PTB.files})


# sha256 of the character files in circulation: every symbol, newline included, with a space after it.
CHARACTER_FILES = {
    "train": "e313d91425e06c4f0a8fb6e881dcce0c291f2a0e9f4dda54833069b122f91da9",
    "valid": "21661f63ec355085879458b6524644d4add5573541b4be14fb52ab2e2e995eb8",
    "test": "1ef5607ac3c463b16e38bfe7900dd3bfc91de5a96e0f21e7eab5188b465b8ebe",
}


@pytest.mark.data
def test_the_real_penn_treebank_has_the_published_counts_and_characters(real_data):
    fetch(PTB, Console(file=io.StringIO()), path=real_data / "ptb")
    char, word = open_prepared("ptb", "char"), open_prepared("ptb", "word")
    assert [len(char.tokens(split)) for split in ("train", "valid", "test")] == [5_017_482, 393_042, 442_423]
    assert [len(word.tokens(split)) for split in ("train", "valid", "test")] == [929_589, 73_760, 82_430]
    assert (len(char.vocabulary), len(word.vocabulary)) == (50, 10_000)
    assert (str(char.tokens("train").dtype), str(word.tokens("train").dtype)) == ("uint8", "uint16")
    for split, sha256 in CHARACTER_FILES.items():
        spaced = "".join(char.vocabulary[symbol] + " " for symbol in char.tokens(split).tolist())
        assert hashlib.sha256(spaced.encode()).hexdigest() == sha256
