"""A recipe of files of one's own goes through every command, from the file to the table."""

import json

import pytest

RECIPE = """\
name: own
title: Data of my own
task: {task}
model: {model}
optimizer: {{kind: adam, lr: 0.01}}
train: {{steps: 3, batch_size: 2, eval_every: 3, validation: {{metric: loss}}}}
eval: [{{name: test, split: test, metrics: [loss{metrics}]}}]
seeds: [1]
rows: [{{id: one, title: One}}]
"""
TEXT = "{kind: language_model, text: {file: my.txt}, segment_length: 8}"
DOCUMENTS = """{kind: document_classification, segment_length: 4, segments: 2, \
documents: {file: my.csv, tokens: words, shares: [0.6, 0.2, 0.2]}}"""
PAIRS = "{kind: summarization, pairs: {file: my.jsonl, shares: [0.6, 0.2, 0.2]}, vocabulary: 20}"
SEQUENCE = "{core: {kind: lstm, hidden_size: 4}}"
POINTER = """{architecture: pointer_generator, core: {kind: lstm, hidden_size: 4}, \
pointer_generator: {size: 4}}"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Writes a recipe beside the files that it may name, in a folder that is not the working one."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "my.txt").write_text("a line of a text\n" * 40)
    labels = ("good", "bad", "neither")
    (folder / "my.csv").write_text(
        "text,label\n" + "".join(f"a b {n} c d,{labels[n % 3]}\n" for n in range(15))
    )
    pairs = ({"id": f"p{n}", "article": f"the article {n}.", "summary": "an article."} for n in range(15))
    (folder / "my.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in pairs))

    def write(task, model=SEQUENCE, metrics=""):
        (folder / "own.yaml").write_text(RECIPE.format(task=task, model=model, metrics=metrics))
        return folder / "own.yaml"

    return write


def test_a_text_goes_from_its_file_to_a_table_and_speaks(rmem, own):
    recipe = own(TEXT, metrics=", bpc")
    assert rmem("validate", recipe).code == 0
    planned = rmem("train", recipe, "--dry-run", "--json")
    assert json.loads(planned.out)["rows"][0]["steps"] == 3
    trained = rmem("train", recipe)
    assert trained.code == 0
    assert "preparing" not in trained.err  # the plan did
    assert "bpc" in rmem("report", recipe).out
    assert rmem("eval", recipe).code == 0
    said = rmem("sample", recipe, "--prompt", "a line", "--tokens", "5")
    assert said.out.startswith("a line")
    assert len(said.out) == len("a line") + 5 + 1
    assert "runs to do: 0 of 1" in rmem("train", recipe).err


def test_a_file_that_changes_is_other_data_and_a_new_run(rmem, own):
    recipe = own(TEXT)
    assert rmem("train", recipe).code == 0
    text = recipe.with_name("my.txt")
    text.write_text(text.read_text() + "one more line\n")
    assert "runs to do: 1 of 1" in rmem("train", recipe, "--dry-run").err


def test_a_split_that_is_shorter_than_a_segment_is_refused(rmem, own):
    ended = rmem("train", own(TEXT.replace("segment_length: 8", "segment_length: 50")))
    assert ended.code == 2
    assert (
        "my.txt has 34 symbols for valid, fewer than a segment of 50; give more text, or lower" in ended.err
    )


def test_a_text_that_is_not_there_is_a_sentence(rmem, own):
    recipe = own(TEXT.replace("my.txt", "none.txt"))
    assert rmem("validate", recipe).code == 0
    for arguments in ([], ["--dry-run"]):
        ended = rmem("train", recipe, *arguments)
        assert ended.code == 3
        assert "There is no file" in ended.err
        assert "Traceback" not in ended.err


def test_documents_of_three_classes_are_learned(rmem, own):
    ended = rmem("train", own(DOCUMENTS, metrics=", accuracy"))
    assert ended.code == 0
    assert "accuracy" in ended.out
    refused = rmem("train", own(DOCUMENTS, metrics=", f1"))
    assert refused.code == 2
    assert "measures f1, which is of two classes, and there are 3; take accuracy" in refused.err


def test_summaries_of_own_pairs_are_learned_and_written(rmem, own):
    recipe = own(PAIRS, POINTER)
    assert rmem("train", recipe).code == 0
    assert rmem("sample", recipe, "--article", "p14", "--tokens", "3").code == 0
    unknown = rmem("sample", recipe, "--article", "p99")
    assert unknown.code == 2
    assert "own-my-" in unknown.err


def test_articles_without_a_word_are_told_before_anything_is_trained(rmem, own):
    recipe = own(PAIRS, POINTER)
    pair = json.dumps({"id": "p", "article": " ", "summary": "an article."})
    recipe.with_name("my.jsonl").write_text(f"{pair}\n" * 15)
    ended = rmem("train", recipe)
    assert ended.code == 3
    assert "no article of train is left: 9 have no text and 0 no summary" in " ".join(ended.err.split())
    assert "batch_size" not in ended.err
