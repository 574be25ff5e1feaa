import io
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rmem_cli.data_scripts.enwik8 import ENWIK8, prepare_bytes, prepare_txl
from rmem_cli.data_scripts.fetch import fetch
from rmem_cli.data_scripts.text8 import prepare_characters

from rmem_cli.data.decoded import decoded
from rmem_cli.data.prepared import open_prepared
from rmem_cli.data.writer import write_prepared
from rmem_cli.errors import DataError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("texts")


def symbols_of(content):
    return {
        split: np.concatenate([*chunks, np.empty(0, np.uint8)]) for split, chunks in content.arrays.items()
    }


@st.composite
def texts(draw):
    """A text of some bytes whose held-out parts have no byte that its beginning has not."""
    alphabet = draw(st.binary(min_size=1, max_size=5))
    return alphabet + b"".join(draw(st.lists(st.sampled_from([bytes([b]) for b in alphabet]), min_size=6)))


@given(texts())
def test_the_bytes_of_all_parts_are_the_text(folder, text):
    (folder / "enwik8").write_bytes(text)
    content = prepare_bytes({"enwik8": folder / "enwik8"}, held_out=2)
    symbols = symbols_of(content)
    back = b"".join("".join(content.vocabulary[s] for s in symbols[p]).encode("latin-1") for p in symbols)
    assert back == text
    assert [len(symbols[part]) for part in ("train", "valid", "test")] == [len(text) - 4, 2, 2]


def transformer_xl(text, held_out):
    """Its published preparation and loader, in plain Python: line by line, no symbol for the line's end."""
    parts = [text[: -2 * held_out], text[-2 * held_out : -held_out], text[-held_out:]]
    read = [[byte for line in part.split(b"\n") for byte in line] for part in parts]
    first, counts = {}, {}
    for position, byte in enumerate(read[0]):
        first.setdefault(byte, position)
        counts[byte] = counts.get(byte, 0) + 1
    vocabulary = sorted(counts, key=lambda byte: (-counts[byte], first[byte]))
    return vocabulary, [[vocabulary.index(byte) for byte in part] for part in read]


@given(texts().filter(lambda text: text[:-4].strip(b"\n")))
def test_the_form_txl_is_what_the_loader_of_transformer_xl_reads(folder, text):
    (folder / "enwik8").write_bytes(text)
    content = prepare_txl({"enwik8": folder / "enwik8"}, held_out=2)
    vocabulary, parts = transformer_xl(text, 2)
    symbols = symbols_of(content)
    assert [ord(character) for character in content.vocabulary] == vocabulary
    assert [symbols[part].tolist() for part in ("train", "valid", "test")] == parts
    assert content.end_of_line is None


def test_a_held_out_byte_that_training_lacks_is_refused(folder):
    (folder / "text8").write_bytes(b"aaaa" + b"bb" + b"aa")
    with pytest.raises(DataError, match="byte 98 is in the valid part"):
        prepare_characters({"text8": folder / "text8"}, held_out=2)


def test_a_text_too_short_for_its_parts_is_refused(folder):
    (folder / "text8").write_bytes(b"aaaa")
    with pytest.raises(DataError, match="too few to hold out"):
        prepare_characters({"text8": folder / "text8"}, held_out=2)


def test_bytes_decode_to_text_across_blocks(folder, monkeypatch):
    monkeypatch.setattr("rmem_cli.data.decoded._BLOCK", 3)
    text = "ağ€\n𐍈" * 10
    (folder / "enwik8").write_bytes(text.encode() * 2)
    held_out = len(text.encode()) // 2
    content = prepare_bytes({"enwik8": folder / "enwik8"}, held_out=held_out)
    prepared = write_prepared("enwik8", "bytes", content, sources=[], licence="", citation="")
    assert "".join(decoded(prepared, "train")) == text


@pytest.mark.data
def test_the_real_enwik8_has_the_published_sizes_in_a_minute(real_data):
    before = time.monotonic()
    fetch(ENWIK8, Console(file=io.StringIO()), path=real_data / "enwik8")
    assert time.monotonic() - before < 60
    whole, txl = open_prepared("enwik8", "bytes"), open_prepared("enwik8", "txl")
    assert [len(whole.tokens(split)) for split in whole.splits] == [90_000_000, 5_000_000, 5_000_000]
    assert [len(txl.tokens(split)) for split in txl.splits] == [88_982_818, 4_945_742, 4_943_417]
    assert (len(whole.vocabulary), len(txl.vocabulary)) == (205, 204)
    assert whole.tokens("test").dtype == txl.tokens("test").dtype == "uint8"
    assert "".join(decoded(whole, "train"))[:10] == "<mediawiki"
