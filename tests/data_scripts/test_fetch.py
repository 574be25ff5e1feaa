import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace

import pytest
from rmem_cli.data_scripts.dataset import Form, dataset
from rmem_cli.data_scripts.fetch import fetch

from rmem_cli.data.prepared import check_prepared, open_prepared
from rmem_cli.data.writer import Expected
from rmem_cli.errors import DataError, UsageError


def test_a_fetch_prepares_every_form_and_keeps_nothing_else(small_ptb, console, patience, data_folder):
    assert fetch(small_ptb, console, patience=patience)
    assert sorted(path.name for path in (data_folder / "ptb").iterdir()) == [".lock", "char", "word"]
    sources = check_prepared("ptb", "char").meta["sources"]
    assert [source["file"] for source in sources] == [file.name for file in small_ptb.files]
    assert all(source["origin"].startswith("http://127.0.0.1") for source in sources)


def test_a_second_fetch_does_nothing(small_ptb, console, patience, mirror):
    fetch(small_ptb, console, patience=patience)
    requests = len(mirror.requests)
    assert not fetch(small_ptb, console, patience=patience)
    assert len(mirror.requests) == requests
    assert "is here and verified" in console.file.getvalue()


def test_a_whole_set_in_a_folder_that_cannot_be_written_is_here(
    small_ptb, console, patience, copy_folder, no_lock_in
):
    fetch(small_ptb, console, path=copy_folder)
    no_lock_in("ptb")
    assert not fetch(small_ptb, console, patience=patience)
    assert "is here and verified" in console.file.getvalue()


def test_a_set_that_is_not_whole_needs_a_folder_that_can_be_written(
    small_ptb, console, copy_folder, data_folder, no_lock_in
):
    fetch(small_ptb, console, path=copy_folder)
    (data_folder / "ptb" / "char" / "valid.bin").unlink()
    no_lock_in("ptb")
    with pytest.raises(DataError, match=r"Cannot use .*ptb: .*RMEM_DATA names another folder"):
        fetch(small_ptb, console, path=copy_folder)


def test_a_copy_that_is_offered_needs_a_folder_that_can_be_written(
    small_ptb, console, copy_folder, no_lock_in
):
    imported = replace(small_ptb, sources=())
    fetch(imported, console, path=copy_folder)
    no_lock_in("ptb")
    with pytest.raises(DataError, match="Cannot use"):
        fetch(imported, console, path=copy_folder)


def test_a_local_copy_gives_the_same_data_as_a_download(
    small_ptb, console, patience, copy_folder, monkeypatch, tmp_path
):
    fetch(small_ptb, console, patience=patience)
    downloaded = open_prepared("ptb", "word").data_hash
    monkeypatch.setenv("RMEM_DATA", str(tmp_path / "other"))
    fetch(small_ptb, console, path=copy_folder)
    assert open_prepared("ptb", "word").data_hash == downloaded


def test_a_copy_that_is_not_there_is_an_error_even_if_the_data_is_here(
    small_ptb, console, copy_folder, tmp_path
):
    fetch(small_ptb, console, path=copy_folder)
    with pytest.raises(DataError, match=r"There is nothing at .*nowhere: --from takes"):
        fetch(small_ptb, console, path=tmp_path / "nowhere")


def test_a_fetch_repairs_a_damaged_array(small_ptb, console, copy_folder, data_folder):
    fetch(small_ptb, console, path=copy_folder)
    array = data_folder / "ptb" / "char" / "valid.bin"
    array.write_bytes(bytes(array.stat().st_size))
    with pytest.raises(DataError, match=r"valid\.bin"):
        check_prepared("ptb", "char")
    assert fetch(small_ptb, console, path=copy_folder)
    check_prepared("ptb", "char")


def test_wrong_counts_are_refused_and_leave_nothing(small_ptb, console, copy_folder, data_folder):
    char, word = small_ptb.forms
    wrong = Expected({**char.expected.counts, "train": 7}, char.expected.distinct)
    broken = replace(small_ptb, forms=(Form("char", char.prepare, wrong), word))
    with pytest.raises(DataError, match="instead of train 7,"):
        fetch(broken, console, path=copy_folder)
    assert [path.name for path in (data_folder / "ptb").iterdir()] == [".lock"]


def test_what_arrived_before_a_failure_is_not_downloaded_again(small_ptb, console, patience, mirror):
    test_text = mirror.answers.pop("/ptb.test.txt")
    with pytest.raises(DataError):
        fetch(small_ptb, console, patience=patience)
    mirror.answers["/ptb.test.txt"] = test_text
    fetch(small_ptb, console, patience=patience)
    assert mirror.paths().count("/ptb.train.txt") == 1


def test_two_fetches_at_once_do_the_work_once(small_ptb, console, patience, mirror):
    outcomes = []
    started = threading.Barrier(2)

    def one():
        started.wait()
        outcomes.append(fetch(small_ptb, console, patience=patience))

    threads = [threading.Thread(target=one) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(outcomes) == [False, True]
    assert sorted(mirror.paths()) == ["/ptb.test.txt", "/ptb.train.txt", "/ptb.valid.txt"]


FETCHED = """
import sys
from dataclasses import replace
from rich.console import Console
from rmem_cli.data_scripts.dataset import Source, SourceFile
from rmem_cli.data_scripts.fetch import fetch
from rmem_cli.data_scripts.ptb import PTB

files = tuple(SourceFile(file.name, None, "") for file in PTB.files)
sources = tuple(Source(file, (f"{sys.argv[1]}/{file.name}",)) for file in files)
forms = tuple(replace(form, expected=None) for form in PTB.forms)
print(fetch(replace(PTB, files=files, sources=sources, forms=forms), Console(stderr=True)))
"""


def test_two_processes_at_once_do_the_work_once(small_ptb, mirror, process_timeout):
    def slowly(body):
        return lambda handler: (mirror.released.wait(0.3), handler.send_ranges(body))

    mirror.answers = {path: slowly(body) for path, body in mirror.answers.items()}
    command = [sys.executable, "-c", FETCHED, mirror.url]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    running = [subprocess.Popen(command, **pipes) for _ in range(2)]
    outcomes = [process.communicate(timeout=process_timeout) for process in running]
    assert sorted(out for out, _ in outcomes) == ["False\n", "True\n"], outcomes
    assert sorted(mirror.paths()) == ["/ptb.test.txt", "/ptb.train.txt", "/ptb.valid.txt"]


KILLED = """
import os, signal, sys
from dataclasses import replace
from pathlib import Path
from rich.console import Console
from rmem_cli.data_scripts import fetch as module
from rmem_cli.data_scripts.dataset import Form, SourceFile
from rmem_cli.data_scripts.ptb import PTB, prepare_characters
from rmem_cli.data.writer import Content

def prepare(files):
    content = prepare_characters(files)
    def train():
        yield from content.arrays["train"]
        os.kill(os.getpid(), signal.SIGKILL)
    return Content({**content.arrays, "train": train()}, content.vocabulary)

copy = Path(sys.argv[1])
files = tuple(SourceFile(file.name, None, "") for file in PTB.files)
module.fetch(replace(PTB, files=files, forms=(Form("char", prepare, None),)), Console(stderr=True), path=copy)
"""


def test_a_preparation_that_was_killed_is_not_taken_for_done(
    small_ptb, console, copy_folder, data_folder, process_timeout
):
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(copy_folder)], env=os.environ, timeout=process_timeout, check=False
    )
    assert killed.returncode == -signal.SIGKILL
    assert list((data_folder / "ptb").rglob("train.bin")), "it was killed before it wrote anything"
    with pytest.raises(DataError, match="rmem fetch ptb"):
        open_prepared("ptb", "char")
    assert fetch(small_ptb, console, path=copy_folder)
    assert sorted(path.name for path in (data_folder / "ptb").iterdir()) == [".lock", "char", "word"]


def test_what_a_fetch_left_that_was_killed_at_its_very_end_is_removed_by_the_next(
    small_ptb, console, patience, data_folder, monkeypatch
):
    def killed(downloads):
        raise KeyboardInterrupt

    with monkeypatch.context() as at_the_end:
        at_the_end.setattr("rmem_cli.data_scripts.fetch._discard_downloads", killed)
        with pytest.raises(KeyboardInterrupt):
            fetch(small_ptb, console, patience=patience)
    (data_folder / "ptb" / ".tmp-old").mkdir()
    assert not fetch(small_ptb, console, patience=patience)
    assert sorted(path.name for path in (data_folder / "ptb").iterdir()) == [".lock", "char", "word"]


def test_an_unusable_data_folder_is_one_sentence(small_ptb, console, data_folder, copy_folder):
    data_folder.write_text("a file in the way")
    with pytest.raises(UsageError, match=r"RMEM_DATA is .*, but that is not a folder"):
        fetch(small_ptb, console, path=copy_folder)


def test_no_data_set_brings_torch_with_it():
    program = (
        "import sys, rmem_cli.data.tokenizers, rmem_cli.data_scripts.pieces as _\n"
        "from rmem_cli.data_scripts.dataset import dataset, dataset_names\n"
        "print([dataset(name).name for name in dataset_names()] == dataset_names(), 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "True False\n"


def test_an_unknown_name_leads_to_the_closest():
    with pytest.raises(UsageError, match="did you mean 'ptb'"):
        dataset("pbt")
