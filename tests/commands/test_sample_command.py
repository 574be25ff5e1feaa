"""`rmem sample`."""

import json
import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from rmem_cli.commands import sample
from rmem_cli.recipe.schema import BeamSearchSettings

TEXT_RECIPE = """\
name: texts
title: A made-up text
paper: rum2019
task: {kind: language_model, dataset: ptb, form: char, segment_length: 12}
model:
  encoder: {kind: embedding, size: 8}
  core: {kind: rmt, hidden_size: 8, layers: 1, heads: 2, memory_tokens: 2, segment_length: 6}
optimizer: {kind: adam, lr: 0.03}
train: {steps: 40, batch_size: 4}
eval: [{name: test, split: test, metrics: [bpc]}]
seeds: [3, 4]
rows: [{id: rmt, title: RMT}, {id: lstm, title: LSTM, model.core: {kind: lstm, hidden_size: 8}}]
scales: {smoke: {train.steps: 2}}
"""


@pytest.fixture
def texts(tmp_path, monkeypatch, write_text):
    """The path of a recipe for a language model, its data there."""
    monkeypatch.chdir(tmp_path)
    write_text()
    (tmp_path / "texts.yaml").write_text(TEXT_RECIPE)
    return tmp_path / "texts.yaml"


@pytest.fixture
def trained(texts, rmem):
    assert rmem("train", texts, "--seed", "3").code == 0
    return texts


def test_a_trained_model_goes_on_with_a_text_on_stdout(rmem, trained):
    for row in ("rmt", "lstm"):
        arguments = ("sample", trained, "--row", row, "--prompt", "abc", "--tokens", 30)
        ended = rmem(*arguments)
        assert (ended.code, ended.err) == (0, "")
        assert ended.out.startswith("abc")
        assert len(ended.out) == 3 + 30 + 1
        assert rmem(*arguments).out == ended.out
        assert rmem(*arguments, "--number", 2).out != ended.out


def test_without_temperature_it_is_always_the_same(rmem, trained):
    arguments = ("sample", trained, "--row", "lstm", "--prompt", "abc", "--temperature", 0)
    first, second = (rmem(*arguments, "--number", number).out for number in (1, 2))
    assert first == second
    assert len(first) == 3 + 200 + 1
    assert rmem("sample", trained, "--row", "lstm", "--prompt", "abc", "--top-k", 1).out == first


@pytest.mark.parametrize("options", [(), ("--temperature", 0), ("--beam", 2)], ids=str)
def test_a_model_that_predicts_no_numbers_is_told_in_a_sentence(rmem, texts, options):
    diverged = ("--row", "lstm", "--set", "optimizer.lr=1e38", "--set", "train.steps=1")
    rmem("train", texts, "--seed", 3, *diverged)
    ended = rmem("sample", texts, *diverged, "--prompt", "abc", *options)
    assert ended.code == 4
    assert "the model predicts what is no number; a smaller optimizer.lr may help" in " ".join(
        ended.err.split()
    )


def test_next_to_no_temperature_draws_the_likeliest(rmem, trained):
    arguments = ("sample", trained, "--row", "lstm", "--prompt", "abc", "--tokens", 9, "--temperature")
    assert rmem(*arguments, "1e-320").out == rmem(*arguments, 0).out


def test_a_beam_goes_on_with_a_text_and_one_of_one_always_takes_the_likeliest_symbol(rmem, trained):
    for row in ("rmt", "lstm"):
        arguments = ("sample", trained, "--row", row, "--prompt", "abc", "--tokens", 9)
        greedy = rmem(*arguments, "--temperature", 0)
        assert rmem(*arguments, "--beam", 1).out == greedy.out
        found = rmem(*arguments, "--beam", 30)
        assert (found.code, found.err) == (0, "")
        assert len(found.out) == 3 + 9 + 1
        assert found.out == rmem(*arguments, "--beam", 30).out


def test_it_begins_at_the_beginning_without_a_prompt(rmem, trained):
    assert len(rmem("sample", trained, "--row", "rmt", "--tokens", 5).out) == 5 + 1


def test_what_cannot_be_sampled_is_refused_with_a_sentence(rmem, trained, recipe):
    one = ("sample", trained, "--row", "rmt")
    for arguments, code, message in [
        (("sample", trained), 2, "choose one with --row: rmt, lstm"),
        ((*one, "--seed", 4), 2, "has no checkpoint in"),
        (
            (*one, "--scale", "paper", "--set", "train.steps=7"),
            2,
            "`rmem train` with the same options trains it",
        ),
        ((*one, "--checkpoint", "best"), 2, "has no checkpoint 'best'"),
        ((*one, "--prompt", "a?"), 2, "'?' is none of the 8 symbols of ptb (char): '_' 'a'"),
        ((*one, "--tokens", 0), 2, "--tokens"),
        ((*one, "--beam", 0), 2, "--beam"),
        ((*one, "--beam", 10_001), 2, "--beam': it must be less than or equal to 10000"),
        ((*one, "--beam", 2, "--tokens", 1_000_001), 2, "a search goes on for 1,000,000 symbols at most"),
        ((*one, "--temperature", "nan"), 2, "'--temperature': it must be greater than or equal to 0"),
        ((*one, "--temperature", "inf"), 2, "--temperature is inf; give it a number"),
        ((*one, "--beam", 2, "--temperature", 1), 2, "draws nothing; leave out --temperature"),
        ((*one, "--beam", 2, "--number", 1), 2, "draws nothing; leave out --number"),
        (("sample", recipe, "--row", "gru"), 2, "only a language_model has text to go on with"),
    ]:
        ended = rmem(*arguments)
        assert (ended.code, ended.out) == (code, "")
        assert message in " ".join(ended.err.replace("│", " ").split())


@pytest.mark.parametrize("prompt", ["hello \udcff", "\ud83d"])
def test_a_prompt_that_is_no_text_is_refused_before_anything_is_read(rmem, prompt):
    ended = rmem("sample", "nothing.yaml", "--prompt", prompt)
    assert (ended.code, "--prompt is no text in UTF-8, from \\ud" in ended.message) == (2, True)


def test_a_search_may_be_as_large_as_its_settings_say():
    with pytest.raises(ValidationError) as error:
        BeamSearchSettings(beam=sample._WIDEST + 1, longest=sample._LONGEST + 1)
    assert error.value.error_count() == 2
    assert BeamSearchSettings(beam=sample._WIDEST, longest=sample._LONGEST)


def test_a_run_whose_results_were_taken_over_goes_on_from_the_checkpoint_of_the_equal_run(rmem, trained):
    twin = trained.with_name("twin.yaml")
    twin.write_text(TEXT_RECIPE.replace("name: texts", "name: twin"))
    assert "taken over from equal runs in other tables: 2" in rmem("train", twin, "--seed", "3").err
    for row in ("rmt", "lstm"):
        ours, theirs = (rmem("sample", path, "--row", row, "--tokens", 30) for path in (twin, trained))
        assert (ours.code, ours.out) == (0, theirs.out)
    assert "has no checkpoint in" in rmem("sample", twin, "--row", "rmt", "--seed", 4).err


def test_it_is_listed(rmem):
    assert "sample" in rmem("--help").out


ARTICLES = """\
name: articles
title: Summaries
task: {kind: summarization, dataset: cnn_dailymail, vocabulary: 20, source_length: 8, target_length: 6}
model:
  architecture: pointer_generator
  core: {kind: lstm, hidden_size: 6}
  pointer_generator: {size: 4}
optimizer: {kind: adam, lr: 0.02}
train: {steps: 15, batch_size: 4}
eval:
  - {name: test, split: test, metrics: [loss]}
  - name: summaries
    split: test
    metrics: [rouge_1, repeated_trigrams]
    summaries: {beam: 2, shortest: 2, longest: 7}
seeds: [1]
rows: [{id: lstm, title: LSTM}]
scales: {smoke: {train.steps: 2}}
"""


def test_an_article_is_summarized_by_its_text_or_its_id(rmem, tmp_path, monkeypatch, write_summaries):
    monkeypatch.chdir(tmp_path)
    write_summaries()
    (tmp_path / "articles.yaml").write_text(ARTICLES)
    assert rmem("train", "articles.yaml").code == 0
    (line,) = (Path(os.environ["RMEM_RESULTS"]) / "summaries").iterdir()
    first = json.loads(line.read_text().splitlines()[0])
    by_id = rmem("sample", "articles.yaml", "--article", first["id"])
    assert (by_id.code, by_id.err, by_id.out) == (0, "", first["summary"] + "\n")
    # The text of the first article of the test, as `write_summaries` makes it, in capitals.
    (tmp_path / "article.txt").write_text("W0 W1 TEST0\nW3 W4\n")
    by_text = rmem("sample", "articles.yaml", "--source", "article.txt")
    assert (by_text.code, by_text.out) == (0, by_id.out)
    short = rmem("sample", "articles.yaml", "--source", "article.txt", "--tokens", 2, "--beam", 1)
    assert len(short.out.split()) <= 2
    (tmp_path / "empty.txt").write_text(" \n")
    (tmp_path / "latin.txt").write_bytes("caf\xe9".encode("latin-1"))
    refused = {
        ("--article", "none"): "cnn_dailymail has no article of id 'none'",
        ("--source", "empty.txt"): "the article has no word",
        ("--source", "latin.txt"): "--source latin.txt is not text in UTF-8",
        ("--source", "missing.txt"): r"--source missing.txt cannot be read (No such file or directory)",
        ("--source", "."): "--source . cannot be read (Is a directory)",
        ("--source", "article.txt", "--article", "1"): "leave out --article beside --source",
        ("--source", "article.txt", "--tokens", 1_000_001): "goes on for 1,000,000 symbols at most; lower",
        ("--source", "article.txt", "--top-k", 3): "leave out --top-k",
        ("--source", "article.txt", "--prompt", "a"): "leave out --prompt",
        (): "give it an article to say something about, by --source or --article",
    }
    for arguments, said in refused.items():
        ended = rmem("sample", "articles.yaml", *arguments)
        assert ended.code == 2, arguments
        assert said in " ".join(ended.err.split()), arguments


def test_a_language_model_says_nothing_about_articles(rmem, trained):
    ended = rmem("sample", trained, "--row", "lstm", "--article", "1")
    assert ended.code == 2
    assert "says nothing about articles; leave out --source and --article" in " ".join(ended.err.split())
