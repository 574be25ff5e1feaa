import json
import os
import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from rmem_cli.data import verified
from rmem_cli.data.description import content_hash
from rmem_cli.data.prepared import check_prepared, open_prepared
from rmem_cli.data.writer import Content, Expected, smallest_unsigned, write_prepared
from rmem_cli.errors import DataError, UsageError
from rmem_cli.paths import verified_root

ABOUT = {
    "sources": [{"file": "toy.txt", "origin": "here", "bytes": 3, "sha256": "0" * 64}],
    "licence": "free",
    "citation": "nobody",
}
CHUNKS = {"train": [[0, 1, 2], [2, 1]], "test": [[1]]}


@pytest.fixture(autouse=True)
def data_folder(tmp_path, monkeypatch):
    folder = tmp_path / "rmem-data"
    monkeypatch.setenv("RMEM_DATA", str(folder))
    return folder


def write_toy(chunks=CHUNKS, vocabulary=("a", "b", "\n"), **options):
    arrays = {split: iter([np.array(chunk, np.uint8) for chunk in of]) for split, of in chunks.items()}
    return write_prepared("toy", "char", Content(arrays, list(vocabulary), 2), **{**ABOUT, **options})


def edit_meta(folder, **changes):
    path = folder / "meta.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_what_was_written_is_read_back():
    prepared = write_toy()
    assert prepared.tokens("train").tolist() == [0, 1, 2, 2, 1]
    assert prepared.tokens("test").tolist() == [1]
    assert prepared.vocabulary == ["a", "b", "\n"]
    assert prepared.splits == ["train", "test"]
    assert prepared.meta["counts"] == {"train": 5, "test": 1}
    assert (prepared.meta["distinct"], prepared.meta["end_of_line"], prepared.meta["missing"]) == (3, 2, [])
    assert prepared.meta["sources"] == ABOUT["sources"]
    assert check_prepared("toy", "char").data_hash == prepared.data_hash


def test_symbols_beyond_the_vocabulary_are_damage():
    write_toy(chunks={"train": [[0, 1, 2, 3, 1]], "test": [[1]]})
    with pytest.raises(DataError, match=r"damaged \(train.bin holds 3, .* below 3\): `rmem fetch"):
        open_prepared("toy", "char").tokens("train")
    assert open_prepared("toy", "char").tokens("test").tolist() == [1]


def test_symbols_are_looked_through_once_and_not_for_every_batch():
    prepared = write_toy()
    prepared.tokens("train")
    (prepared.folder / "train.bin").write_bytes(bytes([0, 1, 2, 3, 1]))
    assert prepared.tokens("train").tolist() == [0, 1, 2, 3, 1]


def test_tokens_are_memory_mapped_and_cannot_be_changed():
    tokens = write_toy().tokens("train")
    assert isinstance(tokens, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        tokens[0] = 1


@given(
    st_numpy.arrays(
        st.sampled_from([np.uint8, np.uint16, np.uint32]),
        st_numpy.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=5),
    ),
    st.integers(1, 3),
)
def test_any_unsigned_array_comes_back_however_it_was_cut(array, pieces):
    chunks = [chunk for chunk in np.array_split(array, pieces) if len(chunk)]
    prepared = write_prepared("toy", "any", Content({"train": chunks}, []), **ABOUT)
    assert prepared.tokens("train").dtype == array.dtype
    np.testing.assert_array_equal(prepared.tokens("train"), array)


@pytest.mark.parametrize(
    ("values", "dtype"), [(1, "u1"), (256, "u1"), (257, "u2"), (65_536, "u2"), (65_537, "u4")]
)
def test_symbols_have_the_smallest_type_that_holds_them(values, dtype):
    assert smallest_unsigned(values) == np.dtype(dtype)


def test_the_data_hash_follows_symbols_and_vocabulary_and_nothing_else():
    first = write_toy().data_hash
    assert len(first) == 12
    assert write_toy(licence="other").data_hash == first
    assert write_toy(chunks={"train": [[0, 1, 2, 2], [1]], "test": [[1]]}).data_hash == first
    assert write_toy(chunks={**CHUNKS, "test": [[0]]}).data_hash != first
    assert write_toy(vocabulary=("a", "c", "\n")).data_hash != first


def test_missing_data_names_the_commands_that_get_it():
    with pytest.raises(DataError, match=r"`rmem fetch toy`.*`rmem fetch toy --from PATH`"):
        open_prepared("toy", "char")


def test_an_unknown_split_lists_those_there_are():
    with pytest.raises(UsageError, match="has no 'valid'; there are: train, test"):
        write_toy().tokens("valid")


@pytest.mark.parametrize("look", [open_prepared, check_prepared])
def test_a_changed_byte_is_found_on_opening(look):
    path = write_toy().folder / "train.bin"
    open_prepared("toy", "char")
    path.write_bytes(bytes([0, 1, 2, 2, 0]))
    with pytest.raises(DataError, match=r"train\.bin has sha256 .*`rmem fetch toy` makes it anew"):
        look("toy", "char")


@pytest.fixture
def settled(monkeypatch):
    """Files count as settled at once."""
    monkeypatch.setattr(verified, "_SETTLED_SECONDS", -1)


@pytest.fixture
def reads(monkeypatch):
    """The names of the files that are read as a whole."""
    read = []
    sha256_of = verified.sha256_of
    monkeypatch.setattr(verified, "sha256_of", lambda path: read.append(path.name) or sha256_of(path))
    return read


def test_what_was_found_right_is_read_as_a_whole_once(settled, reads):
    write_toy()
    open_prepared("toy", "char")
    assert reads == ["train.bin", "test.bin"]
    open_prepared("toy", "char")
    assert len(reads) == 2


def test_a_change_that_keeps_size_and_time_is_found(settled):
    path = write_toy().folder / "train.bin"
    open_prepared("toy", "char")
    times = path.stat()
    path.write_bytes(bytes([0, 1, 2, 2, 0]))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    with pytest.raises(DataError, match=r"train\.bin has sha256"):
        open_prepared("toy", "char")


def test_a_file_that_has_just_changed_is_not_taken_as_known(reads):
    write_toy()
    open_prepared("toy", "char")
    open_prepared("toy", "char")
    assert len(reads) == 4


@pytest.mark.parametrize("note", ["", "{", "[]", "null", "\ud800", "[" * 100_000])
def test_a_damaged_note_only_means_that_the_data_is_read_again(settled, reads, note):
    write_toy()
    open_prepared("toy", "char")
    (place,) = verified_root().iterdir()
    place.write_bytes(note.encode("utf-8", "surrogatepass"))
    open_prepared("toy", "char")
    assert len(reads) == 4


def test_a_cache_that_cannot_be_written_stops_nothing(settled, reads):
    write_toy()
    verified_root().parent.mkdir(parents=True, exist_ok=True)
    verified_root().write_text("a file in its place")
    open_prepared("toy", "char")
    open_prepared("toy", "char")
    assert len(reads) == 4


def test_data_with_sentencepiece_names_the_command_that_makes_it_anew():
    arrays = {"train": [np.array([0, 1], np.uint8)]}
    folder = write_prepared("toy", "sentencepiece-2", Content(arrays, ["a", "b"]), **ABOUT).folder
    (folder / "train.bin").write_bytes(b"\0\0")
    with pytest.raises(DataError, match="`rmem fetch toy --sentencepiece 2` makes it anew"):
        open_prepared("toy", "sentencepiece-2")


@pytest.mark.parametrize("length", [0, 4, 6])
def test_a_wrong_size_is_found_on_opening(length):
    (write_toy().folder / "train.bin").write_bytes(bytes(length))
    with pytest.raises(DataError, match=r"train\.bin holds . bytes instead of 5.*rmem fetch --check"):
        open_prepared("toy", "char")


def test_an_array_that_is_gone_is_found_on_opening():
    (write_toy().folder / "test.bin").unlink()
    with pytest.raises(DataError, match=r"test\.bin is missing"):
        open_prepared("toy", "char")


@pytest.mark.parametrize(
    "changes",
    [
        {"format": 99},
        {"vocabulary": "abc"},
        {"vocabulary": ["a", "b", "c"]},
        {"distinct": None},
        {"name": "another"},
        {"data_hash": "0123456789ab"},
        {"arrays": {"train": {"dtype": "object", "shape": [5], "sha256": ""}}},
        {"arrays": {"train": {"dtype": "u1", "shape": [-5], "sha256": ""}}},
        {"arrays": {"train": 5}},
        {"end_of_line": 1},
        {"end_of_line": 3},
        {"end_of_line": True},
        {"end_of_line": "2"},
        {"missing": ["valid"]},
        {"missing": [1]},
        {"counts": {"train": 4, "test": 1}},
        {"counts": {"train": 5.0, "test": 1}},
        {"counts": {}},
        {"format": True},
        {"distinct": 4},
        {"details": {"answer_length": 3}},
        {"details": None},
        {"licence": "other"},
    ],
)
def test_a_meta_json_that_is_not_right_is_refused(changes):
    edit_meta(write_toy().folder, **changes)
    with pytest.raises(DataError, match=r"is damaged .*rmem fetch --check"):
        open_prepared("toy", "char")


@pytest.mark.parametrize(
    "changes",
    [
        {"dtype": "<u2"},
        {"dtype": ">u1"},
        {"dtype": [["a", "u1"]]},
        {"shape": [1, 5]},
        {"shape": []},
        {"shape": [5.0]},
        {"shape": [True, 5]},
        {"shape": [10**30]},
        {"sha256": 5},
    ],
)
def test_an_array_that_is_described_wrongly_is_refused(changes):
    folder = write_toy().folder
    arrays = json.loads((folder / "meta.json").read_text())["arrays"]
    edit_meta(folder, arrays={**arrays, "train": {**arrays["train"], **changes}})
    with pytest.raises(DataError, match=r"is damaged .*rmem fetch toy"):
        open_prepared("toy", "char")


@pytest.mark.parametrize("name", ["../train", "a/b", "", "a\0b"])
def test_an_array_does_not_lie_elsewhere(name):
    folder = write_toy().folder
    arrays = json.loads((folder / "meta.json").read_text())["arrays"]
    edit_meta(folder, arrays={**arrays, name: arrays["train"]})
    with pytest.raises(DataError, match=r"describes the array .* wrongly"):
        open_prepared("toy", "char")


def test_data_of_an_earlier_rmem_opens_as_before():
    prepared = write_toy()
    path = prepared.folder / "meta.json"
    meta = json.loads(path.read_text())
    del meta["description_hash"]
    path.write_text(json.dumps(meta))
    assert open_prepared("toy", "char").data_hash == prepared.data_hash


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "\x00", "[" * 100_000, '{"format": ' + "9" * 5000 + "}", "\ufeff{}"]
)
def test_a_meta_json_that_is_not_json_is_refused(text):
    (write_toy().folder / "meta.json").write_text(text)
    with pytest.raises(DataError, match="is damaged"):
        open_prepared("toy", "char")


def test_a_folder_without_meta_json_is_refused():
    (write_toy().folder / "meta.json").unlink()
    with pytest.raises(DataError, match="is damaged"):
        open_prepared("toy", "char")


def test_an_unfinished_folder_is_not_taken_for_the_data(data_folder):
    folder = write_toy().folder
    shutil.move(folder, data_folder / "toy" / ".tmp-killed")
    with pytest.raises(DataError, match="is not in"):
        open_prepared("toy", "char")


def test_writing_again_replaces_and_leaves_nothing_beside(data_folder):
    write_toy()
    write_toy(chunks={"train": [[1]]})
    assert open_prepared("toy", "char").splits == ["train"]
    assert [path.name for path in (data_folder / "toy").iterdir()] == ["char"]


def test_a_failed_preparation_leaves_the_earlier_data_as_it_was(data_folder):
    before = write_toy().data_hash
    with pytest.raises(DataError, match="instead of train 5 with 4 distinct"):
        write_toy(chunks={"train": [[1]]}, expected=Expected({"train": 5}, 4))
    assert check_prepared("toy", "char").data_hash == before
    assert [path.name for path in (data_folder / "toy").iterdir()] == ["char"]


def test_an_empty_array_is_refused():
    with pytest.raises(
        DataError, match="Nothing was found for 'test': its source file is empty; give one that"
    ):
        write_toy(chunks={"train": [[1]], "test": []})


def test_the_data_hash_does_not_depend_on_the_order_of_the_splits():
    assert content_hash({"a": "1", "b": "2"}, []) == content_hash({"b": "2", "a": "1"}, [])
