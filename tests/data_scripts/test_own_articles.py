"""Articles of one's own: what is imported is what was offered last, and nothing is guessed."""

import json
import os
import sys

import pytest
from rmem_cli.data_scripts.dataset import dataset
from rmem_cli.data_scripts.fetch import fetch

from rmem_cli.data.pairs import FORM, Pairs
from rmem_cli.data.prepared import open_prepared
from rmem_cli.errors import DataError, UsageError


def lines(*articles):
    return "".join(json.dumps({"article": each, "summary": "said ."}) + "\n" for each in articles)


@pytest.fixture
def imported(console):
    def imported(path, name="own_articles_mine"):
        changed = fetch(dataset(name), console, path=path)
        return changed, list(Pairs(open_prepared(name, FORM)).split("train")[0])

    return imported


def test_other_articles_of_the_same_name_take_the_place_of_the_old_ones(tmp_path, imported):
    file = tmp_path / "articles.jsonl"
    file.write_text(lines("one ."))
    assert imported(tmp_path) == (True, ["one ."])
    assert imported(tmp_path) == (False, ["one ."])
    file.write_text(lines("two .", "three ."))
    assert imported(tmp_path) == (True, ["two .", "three ."])
    words = open_prepared("own_articles_mine", "words")
    assert words.meta["sources"][0]["data_hash"] == open_prepared("own_articles_mine", FORM).data_hash


def test_a_whole_set_is_not_replaced_by_other_articles_of_some_splits(tmp_path, imported, console):
    for split in ("train", "valid", "test"):
        (tmp_path / f"{split}.jsonl").write_text(lines(f"{split} ."))
    assert imported(tmp_path) == (True, ["train ."])
    (tmp_path / "test.jsonl").unlink()
    (tmp_path / "train.jsonl").write_text(lines("another .", "and another ."))
    assert not fetch(dataset("own_articles_mine"), console, path=tmp_path, allow_missing=True)
    assert open_prepared("own_articles_mine", FORM).meta["counts"] == {"train": 1, "valid": 1, "test": 1}
    assert "would not become more complete" in console.file.getvalue()


@pytest.mark.parametrize("name", ["mine.jsonl", "my.csv", "data"])
def test_a_single_file_may_have_any_name(tmp_path, imported, name):
    text = "article,summary\none .,said .\n" if name == "my.csv" else lines("one .")
    (tmp_path / name).write_text(text)
    assert imported(tmp_path / name) == (True, ["one ."])


def test_a_folder_without_articles_is_told_how_to_name_them(tmp_path, imported):
    (tmp_path / "mine.jsonl").write_text(lines("one ."))
    with pytest.raises(DataError, match=r"train\.jsonl is missing\n(.|\n)*or all of them as articles\.jsonl"):
        imported(tmp_path)


@pytest.mark.parametrize(
    "names",
    [
        ("new/train.jsonl", "old/train.jsonl", "old/valid.jsonl", "old/test.jsonl"),
        ("train.jsonl", "train.csv", "valid.jsonl", "test.jsonl"),
        ("articles.jsonl", "train.jsonl", "valid.jsonl", "test.jsonl"),
    ],
)
def test_of_several_files_that_could_be_meant_none_is_chosen(tmp_path, imported, names):
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(lines(name))
    with pytest.raises(DataError, match=r"several files that could be meant: .*Name a folder") as refused:
        imported(tmp_path)
    assert names[0] in str(refused.value)


@pytest.mark.parametrize("name", ["", "../../x", "/../ptb", "a b", "\033", "x" * 101])
def test_a_name_that_leads_elsewhere_is_refused(name):
    with pytest.raises(UsageError, match="letters, digits, _ and - are a name"):
        dataset(f"own_articles_{name}")


@pytest.mark.skipif(sys.platform != "linux", reason="file systems of macOS take no name that is no text")
def test_a_folder_whose_name_is_no_text_can_be_imported_from(tmp_path, imported):
    folder = tmp_path / os.fsdecode(b"named_\xff")
    folder.mkdir()
    (folder / "articles.jsonl").write_text(lines("one ."))
    assert imported(folder) == (True, ["one ."])
    assert "named_\\udcff" in open_prepared("own_articles_mine", FORM).meta["sources"][0]["origin"]
