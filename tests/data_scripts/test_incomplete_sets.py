"""Sets of which some files cannot be had: prepared only on demand, never taken for complete."""

import shutil
from dataclasses import replace

import pytest
from rmem_cli.data_scripts.fetch import fetch
from rmem_cli.data_scripts.scientific_papers import PUBMED

from rmem_cli.data.prepared import open_prepared, read_prepared
from rmem_cli.errors import DataError


@pytest.fixture
def without_test_text(copy_folder):
    (copy_folder / "ptb.test.txt").unlink()
    return copy_folder


def test_without_leave_nothing_is_prepared_and_the_missing_file_is_listed(
    small_ptb, console, without_test_text, data_folder
):
    with pytest.raises(DataError, match=r"1 of the 3 files of ptb:\n  - ptb\.test\.txt is missing"):
        fetch(small_ptb, console, path=without_test_text)
    assert [path.name for path in (data_folder / "ptb").iterdir()] == [".lock"]


def test_with_leave_the_rest_is_prepared_and_the_gap_recorded(small_ptb, console, without_test_text):
    assert fetch(small_ptb, console, path=without_test_text, allow_missing=True)
    text = open_prepared("ptb", "word")
    assert (text.splits, text.missing) == (["train", "valid"], ["ptb.test.txt"])
    assert text.data_hash.endswith("-partial")
    with pytest.raises(DataError, match="no 'test': it was prepared without ptb"):
        text.tokens("test")
    assert "partial, without ptb.test.txt" in console.file.getvalue()


def test_a_later_fetch_completes_it(small_ptb, console, without_test_text, patience):
    fetch(small_ptb, console, path=without_test_text, allow_missing=True)
    assert fetch(small_ptb, console, patience=patience)
    assert open_prepared("ptb", "word").missing == []
    assert not fetch(small_ptb, console, path=without_test_text, allow_missing=True)


def test_what_is_here_is_not_replaced_by_less(small_ptb, console, without_test_text, tmp_path):
    fetch(small_ptb, console, path=without_test_text, allow_missing=True)
    before = read_prepared("ptb", "word").data_hash
    (without_test_text / "ptb.valid.txt").unlink()
    assert not fetch(small_ptb, console, path=without_test_text, allow_missing=True)
    assert read_prepared("ptb", "word").data_hash == before
    assert "would not become more complete" in console.file.getvalue()


def test_a_form_without_any_of_its_files_is_left_out(small_ptb, console, without_test_text):
    char, word = small_ptb.forms
    only_test = replace(small_ptb, forms=(replace(char, files=("ptb.test.txt",)), word))
    fetch(only_test, console, path=without_test_text, allow_missing=True)
    with pytest.raises(DataError, match=r"ptb \(char\) is not in"):
        open_prepared("ptb", "char")
    assert "ptb (char) is left out" in console.file.getvalue()


def test_a_form_whose_files_are_all_here_is_complete(small_ptb, console, without_test_text):
    char, word = small_ptb.forms
    without = {split: n for split, n in char.expected.counts.items() if split != "test"}
    training = replace(
        char, files=("ptb.train.txt", "ptb.valid.txt"), expected=replace(char.expected, counts=without)
    )
    fetch(replace(small_ptb, forms=(training, word)), console, path=without_test_text, allow_missing=True)
    assert open_prepared("ptb", "char").missing == []
    assert open_prepared("ptb", "word").missing == ["ptb.test.txt"]


def test_what_was_downloaded_is_kept_until_the_rest_comes(small_ptb, console, mirror, patience):
    text = mirror.answers.pop("/ptb.test.txt")
    fetch(small_ptb, console, patience=patience, allow_missing=True)
    mirror.answers["/ptb.test.txt"] = text
    fetch(small_ptb, console, patience=patience)
    assert mirror.paths().count("/ptb.train.txt") == 1
    assert open_prepared("ptb", "word").missing == []


def test_what_is_here_is_not_replaced_by_other_files(small_ptb, console, copy_folder, tmp_path):
    training, rest = tmp_path / "training", tmp_path / "rest"
    for folder, names in ((training, ["train"]), (rest, ["valid", "test"])):
        folder.mkdir()
        for name in names:
            shutil.copy(copy_folder / f"ptb.{name}.txt", folder)
    fetch(small_ptb, console, path=training, allow_missing=True)
    assert not fetch(small_ptb, console, path=rest, allow_missing=True)
    assert open_prepared("ptb", "word").splits == ["train"]


def test_a_sample_is_replaced_by_more_of_every_split_alone(tmp_path, console):
    def offered(*counts):
        for name, count in zip(("train", "val", "test"), counts, strict=True):
            (tmp_path / f"{name}.txt").write_text('{"article_text": ["a"], "abstract_text": ["b"]}\n' * count)
        changed = fetch(PUBMED, console, path=tmp_path, allow_missing=True)
        return changed, list(open_prepared("pubmed", "pairs").meta["counts"].values())

    assert offered(3, 2, 2) == (True, [3, 2, 2])
    assert offered(1, 1, 1) == (False, [3, 2, 2])
    assert offered(9, 1, 2) == (False, [3, 2, 2])
    assert offered(3, 2, 3) == (True, [3, 2, 3])


def test_what_was_set_aside_comes_back_where_its_place_is_empty(small_ptb, console, copy_folder, data_folder):
    fetch(small_ptb, console, path=copy_folder)
    for form, aside in (("char", ".old-char"), ("word", ".old-word")):
        shutil.copytree(data_folder / "ptb" / form, data_folder / "ptb" / aside)
    shutil.rmtree(data_folder / "ptb" / "char")  # as if killed between two renames
    assert not fetch(small_ptb, console)
    assert sorted(path.name for path in (data_folder / "ptb").iterdir()) == [".lock", "char", "word"]
