"""Files of one's own: found from the recipe's folder, no part of a run's settings, refused with a cure."""

import pytest

from rmem_cli.recipe import load_recipe
from rmem_cli.recipe.problems import RecipeError
from rmem_cli.recipe.reader import read_recipe
from rmem_cli.tasks.text_config import DocumentClassificationSettings, LanguageModelSettings

TEXT = """\
name: own
title: A text of my own
task: {{kind: language_model, text: {text}, segment_length: 5}}
model: {{core: {{kind: lstm, hidden_size: 8}}}}
optimizer: {{kind: adam, lr: 1e-3}}
train: {{steps: 10, batch_size: 2}}
eval: [{{name: test, split: test, metrics: [loss]{more}}}]
seeds: [1]
rows: [{{id: lstm, title: LSTM}}]
"""


def loaded(folder, text="{file: my.txt}"):
    folder.mkdir(exist_ok=True)
    (folder / "own.yaml").write_text(TEXT.format(text=text, more=""))
    return load_recipe(folder / "own.yaml")


def refused(text="{file: my.txt}", more=""):
    with pytest.raises(RecipeError, match=r"own\.yaml:\d+:\d+: ") as error:
        read_recipe(TEXT.format(text=text, more=more).encode(), "own.yaml", "own")
    return str(error.value)


def test_files_are_named_from_the_folder_of_the_recipe_and_in_set_from_the_working_folder(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    recipe = loaded(tmp_path / "there")
    [spec] = recipe.runs()
    assert spec.settings.task.text.files == {"file": tmp_path / "there" / "my.txt"}
    [spec] = recipe.runs(overrides=["task.text.file=other.txt"])
    assert spec.settings.task.text.files == {"file": tmp_path / "other.txt"}
    relative = load_recipe("there/own.yaml").runs()[0]
    assert relative.settings.task.text.files == {"file": tmp_path / "there" / "my.txt"}


def test_where_a_file_is_and_how_it_is_read_are_no_part_of_the_settings_of_a_run(tmp_path):
    one, two = (loaded(tmp_path / folder).runs()[0] for folder in ("one", "two"))
    words = loaded(tmp_path / "three", "{train: a.txt, valid: b.txt, test: c.txt, tokens: words}").runs()[0]
    hashes = {spec.train_hash("data") for spec in (one, two, words)}
    assert len(hashes) == 1
    assert one.train_hash("other data") not in hashes
    assert len({spec.eval_hash(spec.settings.eval[0]) for spec in (one, two, words)}) == 1


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{file: a.txt, shares: [0.9, 0.05, 0.1]}", "shares add up to 1.05; make it 1"),
        ("{file: a.txt, shares: [0.9, 0.1]}", "task.text.shares: "),
        ("{file: a.txt, train: b.txt}", "needs either file, which is divided, or train"),
        ("{valid: b.txt}", "needs either file, which is divided, or train"),
        ("{file: a.txt, valid: b.txt}", "file is divided into all splits; leave out valid and test"),
        ("{train: a.txt, test: b.txt, shares: [0.8, 0.1, 0.1]}", "shares divide one file; call it file"),
        ("{file: a.txt, tokens: sentencepiece}", "size is missing, which sentencepiece needs"),
        ("{file: a.txt, size: 3}", "must be at least 4, not 3"),
        ("{file: ''}", "task.text.file: must not be empty"),
        ("{file: text, shares: [0.5, 0.5]}", "task.text.shares: must list at least 3, not 2"),
        ("{train: a.txt}", "the task has nothing in the split 'test' with these settings"),
    ],
)
def test_what_cannot_be_read_is_refused_before_any_file_is(text, sentence):
    assert sentence in refused(text)


def test_a_task_reads_one_text():
    with pytest.raises(ValueError, match="needs dataset and form"):
        LanguageModelSettings(segment_length=5)
    with pytest.raises(ValueError, match="name another text than text"):
        LanguageModelSettings(dataset="ptb", form="char", text={"file": "a.txt"}, segment_length=5)
    with pytest.raises(ValueError, match="fold: documents of your own have no folds"):
        DocumentClassificationSettings(documents={"file": "a.csv"}, fold=2, segment_length=5, segments=1)
    own = DocumentClassificationSettings(documents={"file": "a.csv"}, segment_length=5, segments=1)
    assert (own.dataset, own.data_sets()) == (None, [])


def test_an_evaluation_reads_no_other_files():
    assert "eval.test.task.text: reads other files than those that are learned" in refused(
        more=", task: {text: {file: other.txt}}"
    )
