"""Texts of one's own become prepared data sets: once, by their content, without a symbol lost."""

import errno
import fcntl
import os
import threading
import time

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rmem_cli.data import own_text
from rmem_cli.data.decoded import decode, decoded
from rmem_cli.data.encoded import encode
from rmem_cli.data.own_text import open_own_text
from rmem_cli.errors import DataError, UsageError
from rmem_cli.recipe.own_files import SPLITS, OwnText

LINES = "".join(f"{number} lines of a text, {'x' * (number % 7)}\n" for number in range(200))


def written(folder, text=LINES, name="my.txt"):
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


def whole(prepared):
    return "".join(piece for split in SPLITS for piece in decoded(prepared, split))


@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(["a", "b", "é", "😀", "a\n", "😀\n"]), min_size=60, max_size=120))
def test_a_file_is_divided_in_order_and_nothing_is_lost(tmp_path, characters):
    text = "".join(characters)
    prepared = open_own_text(OwnText(file=written(tmp_path, text), shares=[0.5, 0.25, 0.25]))
    assert sum(prepared.meta["counts"].values()) == len(text)
    if prepared.vocabulary[0] != "<unk>":
        assert whole(prepared) == text


def test_a_split_ends_with_a_line_where_one_ends(tmp_path):
    prepared = open_own_text(OwnText(file=written(tmp_path)))
    texts = {split: "".join(decoded(prepared, split)) for split in SPLITS}
    assert "".join(texts.values()) == LINES
    assert all(text.endswith("\n") for text in texts.values())
    assert len(texts["train"]) == pytest.approx(0.9 * len(LINES), abs=40)


def test_files_for_each_split_are_read_whole(tmp_path):
    paths = {split: written(tmp_path, f"{split} ab\r\n", f"{split}.txt") for split in SPLITS}
    written(tmp_path, b"\xef\xbb\xbftrain ab\r\nvlidest", "train.txt")
    prepared = open_own_text(OwnText(**paths))
    assert "".join(decoded(prepared, "train")) == "train ab\nvlidest"
    assert "".join(decoded(prepared, "test")) == "test ab\n"


def test_a_text_is_prepared_once_and_known_by_its_content(tmp_path, monkeypatch):
    own = OwnText(file=written(tmp_path / "one"))
    prepared = open_own_text(own)
    changed = open_own_text(OwnText(file=written(tmp_path / "two", LINES.replace("7", "8"))))
    assert changed.data_hash != prepared.data_hash

    def again(own):
        raise AssertionError("prepared twice")

    monkeypatch.setattr(own_text, "_content", again)
    assert open_own_text(own).data_hash == prepared.data_hash
    moved = OwnText(file=written(tmp_path / "three"))
    assert open_own_text(moved).folder == prepared.folder
    with pytest.raises(AssertionError, match="twice"):
        open_own_text(OwnText(file=own.file, tokens="words"))
    written(tmp_path / "one", LINES + "more")
    with pytest.raises(AssertionError, match="twice"):
        open_own_text(own)


def test_what_was_damaged_is_prepared_anew(tmp_path):
    own = OwnText(file=written(tmp_path))
    prepared = open_own_text(own)
    (prepared.folder / "train.bin").write_bytes(b"")
    assert whole(open_own_text(own)) == LINES


def test_what_killed_processes_left_goes_when_something_is_prepared(tmp_path):
    own = OwnText(file=written(tmp_path))
    home = open_own_text(own).folder.parent
    (home / ".tmp-killed").mkdir()
    (home / ".old-char").mkdir()
    open_own_text(OwnText(file=own.file))
    assert len(list(home.iterdir())) == 4  # nothing was prepared
    (home / "char" / "train.bin").write_bytes(b"")
    open_own_text(own)
    assert sorted(path.name for path in home.iterdir()) == [".lock", "char"]


def test_a_text_that_changes_while_it_is_read_is_not_kept(tmp_path, monkeypatch):
    own, content = OwnText(file=written(tmp_path)), own_text._content

    def meanwhile(read):
        written(tmp_path, LINES + "more")
        return content(read)

    monkeypatch.setattr(own_text, "_content", meanwhile)
    with pytest.raises(DataError, match=r"my\.txt changed while it was read"):
        open_own_text(own)


def test_what_training_does_not_have_is_unknown(tmp_path):
    paths = {"train": written(tmp_path, "aab", "a.txt"), "valid": written(tmp_path, "abc", "b.txt")}
    prepared = open_own_text(OwnText(**paths))
    assert prepared.vocabulary == ["<unk>", "a", "b"]
    assert prepared.tokens("valid").tolist() == [1, 2, 0]
    assert encode(prepared, "xab").tolist() == [0, 1, 2]


def test_words_beyond_a_size_are_unknown(tmp_path):
    own = OwnText(train=written(tmp_path, "b a c\na a b\n\nd"), tokens="words", size=4)
    prepared = open_own_text(own)
    assert prepared.vocabulary == ["<unk>", "<eos>", "a", "b"]
    assert "".join(decoded(prepared, "train")) == "b a <unk> \na a b \n\n<unk> \n"
    assert encode(prepared, "a z\nb").tolist() == [2, 0, 1, 3]


def test_pieces_are_read_and_written_as_text(tmp_path):
    prepared = open_own_text(OwnText(file=written(tmp_path), tokens="sentencepiece", size=40))
    assert len(prepared.vocabulary) == 40
    assert "".join(decoded(prepared, "valid")) in LINES.replace(" \n", "\n")
    prompt = "12 lines of\na text"
    assert "".join(decode(prepared, iter([encode(prepared, prompt)]))) == prompt


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", r"my\.txt has no text for train: what is read is empty; give"),
        (b" \n \n", r"my\.txt has no text for train: what is read is empty; give"),
        (b"text", r"my\.txt has no text for valid: "),
        (b"abc d\xe9f\n" * 10, r"my\.txt is not UTF-8 text \(byte 5: .*\); save it as such"),
        (b"abc\n" * 300_000 + b"\xff", r"my\.txt is not UTF-8 text \(byte 1,200,000: "),
        (
            b"abc\n" * 300_000 + b"\xff\n" + b"abc\n" * 300_000,
            r"my\.txt is not UTF-8 text \(byte 1,200,000: ",
        ),
        (
            "text\n".encode("utf-16-le") * 20,
            r"my\.txt is not text: byte 1 is NUL, as in UTF-16; save it as UTF-8\.",
        ),
        (b"abc\n" * 300_000 + b"a\0\n" + b"abc\n" * 300_000, r"my\.txt is not text: byte 1,200,001 is NUL"),
        (b"\xef\xbb\xbf" + b"abc\n" * 300_000 + b"a\0\n", r"my\.txt is not text: byte 1,200,004 is NUL"),
        ("text\n".encode("utf-16") * 20, r"my\.txt is not UTF-8 text \(byte 0: "),
    ],
)
@pytest.mark.parametrize(("tokens", "size"), [("characters", None), ("words", None), ("sentencepiece", 16)])
def test_what_is_no_text_is_told_in_a_sentence(tmp_path, content, sentence, tokens, size):
    with pytest.raises(DataError, match=sentence):
        open_own_text(OwnText(file=written(tmp_path, content), tokens=tokens, size=size))
    assert not list((tmp_path / "rmem-data").rglob("meta.json"))


def test_a_file_that_is_not_there_is_told_in_a_sentence(tmp_path):
    with pytest.raises(
        DataError, match=r"There is no file .*none\.txt; a recipe names files as from its own"
    ):
        open_own_text(OwnText(file=str(tmp_path / "none.txt")))
    with pytest.raises(DataError, match="cannot be read"):
        open_own_text(OwnText(file=str(tmp_path)))
    with pytest.raises(UsageError, match="sentencepiece cannot make 4,000 pieces of this text"):
        open_own_text(OwnText(file=written(tmp_path), tokens="sentencepiece", size=4000))
    with pytest.raises(UsageError, match=r"cannot make 3,000,000,000 pieces of a text; 1,000,000,000 are"):
        open_own_text(OwnText(file=written(tmp_path), tokens="sentencepiece", size=3_000_000_000))


def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/zero", tmp_path):
        with pytest.raises(DataError, match=f"{path} cannot be read as a file: it is a folder, a pipe or"):
            open_own_text(OwnText(file=str(path)))


def test_a_file_system_without_locks_is_told_and_no_other_kind_of_lock_taken(tmp_path, monkeypatch):
    def no_locks(*_):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with pytest.raises(
        DataError, match=r"Cannot use .*: Function not implemented; its file system has no locks"
    ):
        open_own_text(OwnText(file=written(tmp_path)))


def test_a_text_that_is_being_prepared_is_waited_for(tmp_path, monkeypatch):
    taken, content = threading.Event(), own_text._content

    def slowly(own):
        taken.set()
        time.sleep(0.3)
        return content(own)

    monkeypatch.setattr(own_text, "_content", slowly)
    own = OwnText(file=written(tmp_path))
    first = threading.Thread(target=open_own_text, args=(own,))
    first.start()
    taken.wait()
    monkeypatch.setattr(own_text, "_content", None)  # not prepared again
    assert whole(open_own_text(own)) == LINES
    first.join()


def test_lines_may_be_longer_than_what_is_read_at_a_time(tmp_path):
    text = "ab " * 500_000
    prepared = open_own_text(OwnText(train=written(tmp_path, text)))
    assert np.array_equal(prepared.tokens("train")[:4], encode(prepared, "ab a"))
    assert prepared.meta["counts"] == {"train": len(text)}
