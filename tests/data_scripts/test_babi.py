import io
import os
import re
import tarfile
from pathlib import Path

import pytest
from rich.console import Console
from rmem_cli.data_scripts.babi import BABI
from rmem_cli.data_scripts.fetch import fetch

from rmem_cli.data.babi import SIZES, TASKS, Babi
from rmem_cli.data.prepared import check_prepared, open_prepared
from rmem_cli.errors import DataError

MISSING = "en-10k/qa3_three-supporting-facts_train.txt"


def test_every_task_has_a_form_of_each_size_made_of_its_own_files():
    assert [form.name for form in BABI.forms] == [f"{size}-qa{task}" for size in SIZES for task in TASKS]
    for form in BABI.forms:
        size, _, task = form.name.rpartition("-")
        train, test = form.files
        assert train.startswith(f"{size}/{task}_")
        assert test.startswith(f"en/{task}_")
        assert test.endswith("_test.txt")


@pytest.fixture(scope="module")
def real_babi(tmp_path_factory):
    """The real tasks prepared once: what fetching them said, with and without leave to be incomplete."""
    console, path = Console(file=io.StringIO()), Path(os.environ["RMEM_TEST_DATA"]) / "babi"
    folder = tmp_path_factory.mktemp("babi")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RMEM_DATA", str(folder))
        with pytest.raises(DataError) as refusal:
            fetch(BABI, console, path=path)
        fetch(BABI, console, path=path, allow_missing=True)
        yield (str(refusal.value), console.file.getvalue(), path), folder


@pytest.fixture
def real_tasks(real_babi, monkeypatch, data_folder):
    """The prepared tasks as the data of this test."""
    said, folder = real_babi
    monkeypatch.setenv("RMEM_DATA", str(folder))
    return said


@pytest.mark.data
@pytest.mark.slow
def test_the_real_tasks_have_their_questions_and_the_missing_file_is_named(real_tasks):
    refusal, said, _ = real_tasks
    assert f"1 of the 60 files of babi:\n  - {MISSING} is missing (git-blob:9b2b" in refusal
    assert f"partial, without {MISSING}" in said
    for form in BABI.forms:
        prepared, size = open_prepared("babi", form.name), 10_000 if "10k" in form.name else 1_000
        partial = form.name == "en-10k-qa3"
        assert prepared.meta["counts"] == {"test": 1_000} if partial else {"train": size, "test": 1_000}
        assert prepared.data_hash.endswith("-partial") == partial
    with pytest.raises(DataError, match=f"prepared without {MISSING}"):
        Babi(3, "en-10k").lines("train")
    check_prepared("babi", "en-10k-qa20")


@pytest.mark.data
@pytest.mark.slow
def test_every_real_task_comes_back_line_by_line(real_tasks):
    _, _, path = real_tasks
    with tarfile.open(path / "tasks_1-20_v1-2.tar.gz") as archive:
        for member in archive:
            found = re.fullmatch(r"tasks_1-20_v1-2/(en|en-10k)/qa(\d+)_.+_(train|test)\.txt", member.name)
            if found:
                size, task, split = found.groups()
                lines = Babi(int(task), size).lines(split)
                assert "".join(f"{line}\n" for line in lines) == archive.extractfile(member).read().decode()
