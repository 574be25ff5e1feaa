"""Folders that cannot be, in each variable and for each command that uses it."""

import subprocess
import sys

import pytest

from rmem_cli import paths
from rmem_cli.errors import UsageError

ROOTS = {
    "RMEM_DATA": paths.data_root,
    "RMEM_RUNS": paths.runs_root,
    "RMEM_RESULTS": paths.results_root,
    "RMEM_CACHE": paths.cache_root,
    "RMEM_NATIVE_CACHE": paths.native_root,
}
WRONG = {
    "~no-such-user/there": "there is no such home folder",
    "/dev/null": "that is not a folder",
    "file": "that is not a folder",
    "file/below": "a part of it is not a folder",
    "x" * 300: "that cannot be used",
    "loop": "that cannot be used",
    "  ": "that is blank",
}
COMMANDS = [
    ("RMEM_DATA", ["fetch", "--list"]),
    ("RMEM_DATA", ["fetch", "--check"]),
    ("RMEM_DATA", ["fetch", "copy"]),
    ("RMEM_DATA", ["train", "rum_ptb_char", "--scale", "smoke"]),
    ("RMEM_DATA", ["show", "rum_ptb_char"]),
    ("RMEM_RUNS", ["train", "small.yaml"]),
    ("RMEM_RUNS", ["eval", "small.yaml", "--row", "gru"]),
    ("RMEM_RESULTS", ["train", "small.yaml"]),
    ("RMEM_RESULTS", ["train", "small.yaml", "--dry-run"]),
    ("RMEM_RESULTS", ["report"]),
    ("RMEM_RESULTS", ["report", "small.yaml"]),
    ("RMEM_RESULTS", ["report", "--grid"]),
]


@pytest.fixture(autouse=True)
def folder(recipe, tmp_path):
    """The working folder, with things that are no folders."""
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    return tmp_path


@pytest.mark.parametrize("variable", ROOTS)
@pytest.mark.parametrize(("value", "why"), WRONG.items(), ids=lambda text: text[:12])
def test_what_cannot_be_a_folder_is_one_sentence_with_its_variable(monkeypatch, variable, value, why):
    monkeypatch.setenv(variable, value)
    with pytest.raises(UsageError, match=f"^{variable} is .*, but {why}.*; name a folder in {variable}$"):
        ROOTS[variable]()


@pytest.mark.parametrize(("variable", "command"), COMMANDS, ids=lambda each: " ".join(each)[:40])
@pytest.mark.parametrize("value", ["~no-such-user/there", "/dev/null", "x" * 300])
@pytest.mark.slow
def test_every_command_ends_with_that_sentence(rmem, monkeypatch, variable, command, value):
    monkeypatch.setenv(variable, value)
    ended = rmem(*command)
    assert ended.code == 2
    assert ended.message.count("\n") == 0
    assert ended.message.startswith(f"rmem: {variable} is {value!r}, but ")


@pytest.mark.parametrize("variable", ["RMEM_DATA", "RMEM_RUNS", "RMEM_NATIVE_CACHE", "RMEM_CACHE"])
def test_without_any_home_the_variable_is_named(monkeypatch, variable):
    def nobody(_):
        raise KeyError

    for name in (variable, "HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", nobody)
    with pytest.raises(UsageError, match=f"there is no (such )?home folder.*; name a folder in {variable}$"):
        ROOTS[variable]()
    monkeypatch.setenv(variable, "there")
    assert str(ROOTS[variable]()) == "there"


@pytest.mark.parametrize("variable", ROOTS)
def test_an_empty_variable_is_like_none_and_a_relative_path_is_one(monkeypatch, variable):
    monkeypatch.delenv(variable, raising=False)
    default = ROOTS[variable]()
    monkeypatch.setenv(variable, "")
    assert ROOTS[variable]() == default
    monkeypatch.setenv(variable, "not/there/yet")
    assert str(ROOTS[variable]()) == "not/there/yet"


def test_doctor_shows_folders_as_text_and_says_which_cannot_be(rmem, monkeypatch, folder):
    monkeypatch.setenv("RMEM_NATIVE", "off")
    monkeypatch.setenv("RMEM_DATA", "a[native]\x1b[31m[/foo]\u202e:smile:")
    monkeypatch.setenv("RMEM_RUNS", "file")
    monkeypatch.setenv("COLUMNS", "300")
    ended = rmem("doctor")
    assert ended.code == 0
    assert r"RMEM_DATA          a[native]\x1b[31m[/foo]\u202e:smile:" in ended.out
    assert "RMEM_RUNS          none: RMEM_RUNS is 'file', but that is not a folder" in ended.out
    assert not {"\x1b", "\u202e"} & set(ended.out + ended.err)


@pytest.mark.parametrize(
    "command", [["fetch", "copy"], ["fetch", "--check", "copy"], ["report"]], ids=" ".join
)
def test_folder_names_are_shown_as_text(rmem, monkeypatch, folder, command):
    name = "a[/foo]\x1b[31m\u202e"
    for variable in ("RMEM_DATA", "RMEM_RESULTS"):
        monkeypatch.setenv(variable, str(folder / name))
    if "copy" in command:
        monkeypatch.setattr("rmem_cli.data_scripts.generated.SIZES", {"train": 2, "valid": 1, "test": 1})
    ended = rmem(*command)
    assert r"a[/foo]\x1b[31m\u202e" in ended.err
    assert not {"\x1b", "\u202e"} & set(ended.out + ended.err)


def test_a_cache_that_cannot_be_leaves_the_pytorch_form_with_one_line(monkeypatch, process_timeout):
    monkeypatch.delenv("RMEM_NATIVE", raising=False)
    monkeypatch.setenv("RMEM_NATIVE_CACHE", "~no-such-user/\x1b")
    # In a process of its own, as what is loaded once is not looked for again.
    program = "from rmem_cli.ops.native.build import status; print(*vars(status('product')).values())"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=process_timeout
    )
    assert done.stdout.startswith(
        r"False RMEM_NATIVE_CACHE is '~no-such-user/\x1b', but there is no such home"
    )


def test_a_cache_of_rates_that_cannot_be_stops_no_training(rmem, monkeypatch):
    monkeypatch.setenv("RMEM_CACHE", "~no-such-user")
    assert rmem("train", "small.yaml", "--row", "gru").code == 0
    assert rmem("train", "small.yaml", "--dry-run").code == 0


def test_doctor_shows_long_folders_whole(rmem, tmp_path, monkeypatch):
    long = tmp_path / ("x" * 200)
    monkeypatch.setenv("RMEM_RUNS", str(long))
    monkeypatch.setenv("COLUMNS", "80")
    assert str(long) in "".join(rmem("doctor").out.split())
