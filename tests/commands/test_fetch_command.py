import hashlib
import json
from dataclasses import replace

import pytest
import typer
from rmem_cli.data_scripts import ptb
from rmem_cli.data_scripts.dataset import Form, SourceFile, dataset_names
from typer.testing import CliRunner

from rmem_cli.commands.fetch import fetch
from rmem_cli.errors import DataError, UsageError

TEXT = b" a cat sat \n"
RECIPE = """
name: mine
title: Mine
paper: rum2019
task: {kind: language_model, dataset: ptb, form: word, segment_length: 5}
model:
  encoder: {kind: embedding, size: 4}
  core: {kind: lstm, hidden_size: 4}
  head: {kind: linear}
optimizer: {kind: adam, lr: 1.0e-3}
train: {steps: 1, batch_size: 1, eval_every: 1}
eval:
  - {name: test, split: test, batch_size: 1, metrics: [loss]}
seeds: [1]
rows:
  - {id: lstm, title: LSTM}
scales:
  smoke: {train.steps: 1}
"""


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
    assert "\tchar: no" in rmem_fetch("ptb", "--list").stdout
    (about,) = json.loads(rmem_fetch("ptb", "--list", "--json").stdout)
    assert about["bytes"] == 3 * len(TEXT)
    assert "LDC" in about["licence"]
    assert "Marcus" in about["citation"]
    rmem_fetch("ptb", "--from", small)
    assert "char: complete, word: complete" in rmem_fetch("ptb", "--list").stdout


def test_the_list_names_the_recipes_that_use_a_set(rmem_fetch, tmp_path, monkeypatch):
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "mine.yaml").write_text(RECIPE)
    (tmp_path / "recipes" / "broken.yaml").write_text("name: [")
    monkeypatch.chdir(tmp_path)
    about = {one["name"]: one["recipes"] for one in json.loads(rmem_fetch("--list", "--json").stdout)}
    assert "mine" in about["ptb"]
    assert "mine" not in about["wikitext2"]


def test_the_list_shows_every_set_and_whether_it_can_be_told_its_size(rmem_fetch):
    listed = rmem_fetch("--list").stdout
    for name in dataset_names():
        assert f"\n{name}\t" in f"\n{listed}"
    assert "Copy\tgenerated" in listed
    assert "880.2 MB packed" in listed
    assert "0 of 40 complete" in listed
    assert "Science Daily\tsize not known" in listed


def test_what_is_partial_is_listed_and_checked_as_such(rmem_fetch, small):
    (small / "ptb.test.txt").unlink()
    refused = rmem_fetch("ptb", "--from", small)
    assert isinstance(refused.exception, DataError)
    (outcome,) = json.loads(rmem_fetch("ptb", "--from", small, "--allow-missing", "--json").stdout)
    assert outcome["forms"]["word"]["missing"] == ["ptb.test.txt"]
    assert outcome["forms"]["word"]["data_hash"].endswith("-partial")
    assert "char: partial, word: partial" in rmem_fetch("ptb", "--list").stdout
    assert "is right, but partial: without ptb.test.txt" in rmem_fetch("--check").stderr


def test_pieces_are_made_listed_and_checked(rmem_fetch, small):
    made = rmem_fetch("ptb", "--from", small, "--sentencepiece", "8")
    assert made.exit_code == 0
    assert "ptb (sentencepiece-8): " in made.stderr
    assert "sentencepiece-8: complete" in rmem_fetch("ptb", "--list").stdout
    assert "ptb (sentencepiece-8) is right" in rmem_fetch("--check").stderr


def test_pieces_of_what_is_no_text_are_refused_before_anything_is_fetched(rmem_fetch, tmp_path):
    refused = rmem_fetch("mnist", "--sentencepiece", "8")
    assert isinstance(refused.exception, UsageError)
    assert not (tmp_path / "rmem-data").exists()


def test_sets_of_ones_own_are_listed_and_checked(rmem_fetch, tmp_path):
    (tmp_path / "any.jsonl").write_text('{"article": "a cat .", "summary": "cat ."}\n')
    assert rmem_fetch("own_articles_cats", "--from", tmp_path / "any.jsonl").exit_code == 0
    assert "own_articles_cats\t" in rmem_fetch("--list").stdout
    assert "own_articles_cats (pairs) is right" in rmem_fetch("--check").stderr
    (tmp_path / "rmem-data" / "own_articles_cats" / "pairs" / "train_id.bin").unlink()
    assert isinstance(rmem_fetch("--check").exception, DataError)


def test_check_names_words_that_were_made_of_other_articles(rmem_fetch, tmp_path):
    articles = tmp_path / "any.jsonl"
    articles.write_text('{"article": "a cat .", "summary": "cat ."}\n')
    rmem_fetch("own_articles_cats", "--from", articles)
    articles.write_text('{"article": "a dog .", "summary": " "}\n')
    assert isinstance(rmem_fetch("own_articles_cats", "--from", articles).exception, DataError)
    checked = rmem_fetch("--check")
    assert isinstance(checked.exception, DataError)
    assert "own_articles_cats (words) was made from other pairs than are here now" in str(checked.exception)


def test_check_passes_what_is_right_and_names_what_is_damaged(rmem_fetch, small, tmp_path):
    rmem_fetch("ptb", "--from", small)
    assert rmem_fetch("--check").exit_code == 0
    (tmp_path / "rmem-data" / "ptb" / "word" / "valid.bin").write_bytes(bytes(4))
    run = rmem_fetch("--check", "--json")
    assert isinstance(run.exception, DataError)
    assert "valid.bin" in str(run.exception)
    assert [outcome["ok"] for outcome in json.loads(run.stdout)] == [True, False]


def test_the_list_tells_damage_that_leaves_the_size(rmem_fetch, small, tmp_path):
    rmem_fetch("ptb", "--from", small)
    array = tmp_path / "rmem-data" / "ptb" / "word" / "valid.bin"
    assert "char: complete, word: complete" in rmem_fetch("ptb", "--list").stdout
    array.write_bytes(bytes(array.stat().st_size))
    assert "char: complete, word: damaged" in rmem_fetch("ptb", "--list").stdout


def test_the_list_and_what_follows_read_no_content_that_was_checked(rmem_fetch, small, tmp_path, monkeypatch):
    monkeypatch.setattr("rmem_cli.data.verified._SETTLED_SECONDS", 0.0)
    rmem_fetch("ptb", "--from", small)
    rmem_fetch("ptb", "--check")
    monkeypatch.setattr("rmem_cli.data.verified.sha256_of", pytest.fail)
    assert "char: complete, word: complete" in rmem_fetch("ptb", "--list").stdout


@pytest.mark.parametrize("path", ["", " "])
def test_an_empty_path_is_refused(rmem_fetch, path):
    run = rmem_fetch("ptb", "--from", path)
    assert (run.exit_code, run.stdout) == (2, "")
    assert "it is empty; name a file or a folder" in run.stderr


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
        (["--list", "--from", "x"], "do not go with --list"),
        (["--check", "--allow-missing"], "do not go with --list or --check"),
    ],
)
def test_a_wrong_command_is_refused_in_a_sentence(rmem_fetch, arguments, message):
    error = rmem_fetch(*arguments).exception
    assert isinstance(error, UsageError)
    assert message in str(error)
