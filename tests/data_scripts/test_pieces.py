import numpy as np
import pytest
from filelock import Timeout
from rmem_cli.data_scripts.copy_reverse import COPY
from rmem_cli.data_scripts.fetch import fetch
from rmem_cli.data_scripts.pieces import prepare_pieces

from rmem_cli.data.prepared import check_prepared, open_prepared
from rmem_cli.data.tokenizers import SentencePieceTokenizer, open_pieces
from rmem_cli.errors import DataError, UsageError
from rmem_cli.files import lock_of


@pytest.fixture
def pieces(small_ptb, console, copy_folder):
    fetch(small_ptb, console, path=copy_folder)
    return prepare_pieces(small_ptb, 20, console)


def test_pieces_decode_to_the_lines_of_the_text(pieces):
    tokens, tokenizer = pieces.tokens("train"), open_pieces(pieces)
    ends = np.flatnonzero(tokens == pieces.meta["end_of_line"])
    lines = [tokenizer.decode(part.tolist()) for part in np.split(tokens, ends + 1)[:-1]]
    assert lines == ["a cat sat on <unk> N mats", "the cat is a cat"]
    assert (pieces.splits, len(pieces.vocabulary)) == (["train", "valid", "test"], 20)
    check_prepared("ptb", "sentencepiece-20")


def test_pieces_that_are_here_are_not_made_again(pieces, small_ptb, console):
    before = (pieces.folder / "meta.json").stat().st_mtime_ns
    prepare_pieces(small_ptb, 20, console)
    assert (pieces.folder / "meta.json").stat().st_mtime_ns == before
    assert "ptb (sentencepiece-20) is here" in console.file.getvalue()


def test_pieces_in_a_folder_that_cannot_be_written_are_here_or_refused(
    pieces, small_ptb, console, no_lock_in
):
    no_lock_in("ptb")
    assert prepare_pieces(small_ptb, 20, console) == pieces
    with pytest.raises(DataError, match="Cannot use"):
        prepare_pieces(small_ptb, 19, console)


def test_nobody_else_is_at_work_at_the_set_while_pieces_are_made(pieces, small_ptb, console, monkeypatch):
    train = SentencePieceTokenizer.train

    def is_locked(*arguments):
        with pytest.raises(Timeout):
            lock_of(pieces.folder.parent / ".lock").acquire()
        return train(*arguments)

    monkeypatch.setattr(SentencePieceTokenizer, "train", is_locked)
    assert len(prepare_pieces(small_ptb, 19, console).vocabulary) == 19


def test_pieces_need_the_text_and_a_set_that_is_text(small_ptb, console):
    with pytest.raises(DataError, match="rmem fetch ptb"):
        prepare_pieces(small_ptb, 20, console)
    with pytest.raises(UsageError, match="copy is not plain text"):
        prepare_pieces(COPY, 25, console)


def test_more_pieces_than_the_text_gives_are_refused(pieces, small_ptb, console):
    with pytest.raises(UsageError, match="cannot make 9,999 pieces"):
        prepare_pieces(small_ptb, 9999, console)
    with pytest.raises(DataError, match="is not in"):
        open_prepared("ptb", "sentencepiece-9999")
