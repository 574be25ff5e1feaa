import hashlib
import json
from dataclasses import replace

import pytest
import typer
from rmem_cli.data_scripts import ptb
from rmem_cli.data_scripts.dataset import Form, SourceFile
from typer.testing import CliRunner

from rmem_cli.commands.fetch import fetch
from rmem_cli.errors import DataError, UsageError

TEXT = b" a cat sat \n"


@pytest.fixture(autouse=True)
def small(tmp_path, monkeypatch):
    """A folder that holds all of `ptb`, which is a miniature here."""
    monkeypatch.setenv("RMEM_DATA", str(tmp_path / "rmem-data"))
    checksum = "sha256:" + hashlib.sha256(TEXT).hexdigest()
    files = tuple(SourceFile(file.name, len(TEXT), checksum) for file in ptb.PTB.files)
    forms = tuple(Form(form.name, form.prepare, None) for form in ptb.PTB.forms)
    monkeypatch.setattr(ptb, "PTB", replace(ptb.PTB, files=files, forms=forms, sources=()))
    folder = tmp_path / "copy"
    folder.mkdir()
    for file in files:
        (folder / file.name).write_bytes(TEXT)
    return folder


@pytest.fixture
def rmem_fetch():
    app = typer.Typer()
    app.command()(fetch)

    def run(*arguments):
        return CliRunner().invoke(app, [str(argument) for argument in arguments])

    return run


def test_an_import_prepares_and_a_second_one_says_it_is_there(rmem_fetch, small):
    first = rmem_fetch("ptb", "--from", small)
    assert (first.exit_code, first.stdout) == (0, "")
    assert "ptb (char): 10 / 10 / 10 symbols" in first.stderr
    second = rmem_fetch("ptb")
    assert second.exit_code == 0
    assert "is here and verified" in second.stderr


def test_json_goes_to_stdout_alone(rmem_fetch, small):
    run = rmem_fetch("ptb", "--from", small, "--json")
    (outcome,) = json.loads(run.stdout)
    assert (outcome["name"], outcome["changed"]) == ("ptb", True)
    assert outcome["forms"]["word"]["counts"] == {"train": 4, "valid": 4, "test": 4}


def test_the_list_tells_size_licence_citation_and_whether_it_is_here(rmem_fetch, small):
    assert "char: no" in rmem_fetch("--list").stdout
    (about,) = json.loads(rmem_fetch("--list", "--json").stdout)
    assert about["bytes"] == 3 * len(TEXT)
    assert "LDC" in about["licence"]
    assert "Marcus" in about["citation"]
    rmem_fetch("ptb", "--from", small)
    assert "char: yes, word: yes" in rmem_fetch("--list").stdout


def test_check_passes_what_is_right_and_names_what_is_damaged(rmem_fetch, small, tmp_path):
    rmem_fetch("ptb", "--from", small)
    assert rmem_fetch("--check").exit_code == 0
    (tmp_path / "rmem-data" / "ptb" / "word" / "valid.bin").write_bytes(bytes(4))
    run = rmem_fetch("--check", "--json")
    assert isinstance(run.exception, DataError)
    assert "valid.bin" in str(run.exception)
    assert [outcome["ok"] for outcome in json.loads(run.stdout)] == [True, False]


def test_check_of_nothing_is_fine_but_a_named_set_must_be_there(rmem_fetch):
    assert rmem_fetch("--check").exit_code == 0
    assert isinstance(rmem_fetch("--check", "ptb").exception, DataError)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Name a data set"),
        (["pbt"], "did you mean 'ptb'"),
        (["--list", "--check"], "exclude each other"),
        (["ptb", "ptb2", "--from", "x"], "2 are named"),
        (["--list", "--from", "x"], "goes with a name alone"),
    ],
)
def test_a_wrong_command_is_refused_in_a_sentence(rmem_fetch, arguments, message):
    error = rmem_fetch(*arguments).exception
    assert isinstance(error, UsageError)
    assert message in str(error)
