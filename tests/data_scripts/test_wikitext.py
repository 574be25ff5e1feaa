import io
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rmem_cli.data_scripts.fetch import fetch
from rmem_cli.data_scripts.wikitext import WIKITEXT2, WIKITEXT103, prepare_words

from rmem_cli.data.prepared import open_prepared, read_prepared
from rmem_cli.errors import DataError

WORD = st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1, max_size=4)
TEXT = st.lists(st.lists(WORD, max_size=5).map(lambda words: f" {' '.join(words)} \n"), min_size=1).map(
    "".join
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("texts")


def prepare(folder, **texts):
    for split, text in texts.items():
        (folder / f"{split}.txt").write_bytes(text.encode())
    content = prepare_words({f"wiki.{split}.tokens": folder / f"{split}.txt" for split in texts})
    symbols = {split: [int(s) for chunk in chunks for s in chunk] for split, chunks in content.arrays.items()}
    return content, symbols


def test_the_vocabulary_is_that_of_transformer_xl(folder):
    """`<eos>` is symbol 0 whatever its frequency; then by frequency, ties by first appearance."""
    text = " \n = B a = \n \n a c c c <unk> \n"
    content, symbols = prepare(folder, train=text, valid=" c \n", test="B")
    assert content.vocabulary == ["<eos>", "c", "=", "a", "B", "<unk>"]
    assert symbols["train"] == [0, 2, 4, 3, 2, 0, 0, 3, 1, 1, 1, 5, 0]
    assert symbols["valid"] == [1, 0]
    assert symbols["test"] == [4, 0]
    assert content.end_of_line == 0


@given(TEXT)
def test_decoding_gives_back_the_words_of_each_line(folder, text):
    content, symbols = prepare(folder, train=text, valid=text, test=text)
    expected = [word for line in text.split("\n")[:-1] for word in (*line.split(), "<eos>")]
    assert [content.vocabulary[symbol] for symbol in symbols["test"]] == expected


def test_without_the_training_text_there_are_only_counts(folder):
    content, symbols = prepare(folder, valid=" a b \n \n", test=" c \n")
    assert (symbols, content.vocabulary) == ({}, [])
    assert content.unstored == {"valid": 4, "test": 2}


MEASURED = """
import resource, sys
from pathlib import Path
from rmem_cli.data_scripts.wikitext import prepare_words
from rmem_cli.data.writer import write_prepared
folder = Path(sys.argv[1])
usage = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before = usage()
files = {path.name: path for path in folder.glob("*.tokens")}
write_prepared("made_up", "word", prepare_words(files), sources=[], licence="", citation="")
print(usage() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory is counted in kilobytes on Linux only")
def test_preparation_streams(tmp_path, process_timeout):
    """Ten megabytes (1.8 million words) need far less memory than their words as a list would."""
    maker = Path(__file__).with_name("made_up_wikitext.py")
    subprocess.run([sys.executable, maker, tmp_path, "10000000"], check=True, timeout=process_timeout)
    measured = subprocess.run(
        [sys.executable, "-c", MEASURED, tmp_path],
        check=True,
        timeout=process_timeout,
        capture_output=True,
        text=True,
    )
    assert int(measured.stdout) < 130_000


@pytest.mark.data
def test_the_real_wikitext2_has_the_published_counts(real_data):
    fetch(WIKITEXT2, Console(file=io.StringIO()), path=real_data / "wikitext-2")
    text = open_prepared("wikitext2", "word")
    assert [len(text.tokens(split)) for split in text.splits] == [2_088_628, 217_646, 245_569]
    assert len(text.vocabulary) == 33_278
    assert text.vocabulary[:4] == ["<eos>", "the", ",", "."]
    assert text.tokens("train").dtype == "uint16"
    unread = [text.vocabulary[symbol] for symbol in text.tokens("train")[:9]]
    assert unread == ["<eos>", "=", "Valkyria", "Chronicles", "III", "=", "<eos>", "<eos>", "Senjō"]


@pytest.mark.data
def test_the_real_wikitext103_without_its_training_text_is_counted_and_refused(real_data):
    console = Console(file=io.StringIO())
    with pytest.raises(
        DataError, match=r"1 of the 3 files.*\n  - wiki\.train\.tokens is missing \(sha1:b749"
    ):
        fetch(WIKITEXT103, console, path=real_data / "wikitext-103")
    fetch(WIKITEXT103, console, path=real_data / "wikitext-103", allow_missing=True)
    partial = read_prepared("wikitext103", "word")
    assert partial.meta["counts"] == {"valid": 217_646, "test": 245_569}
    assert partial.missing == ["wiki.train.tokens"]
    assert {source["file"]: source["sha256"][:8] for source in partial.meta["sources"]} == {
        "wiki.valid.tokens": "9aee9f52",
        "wiki.test.tokens": "56db52eb",
    }
    with pytest.raises(DataError, match=r"only counts .* without wiki\.train\.tokens"):
        open_prepared("wikitext103", "word")
