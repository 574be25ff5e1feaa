"""Experiments of one's own need no paper and no scale for tests, and say what data they cannot read."""

import pytest

from rmem_cli.recipe.problems import RecipeError
from rmem_cli.recipe.reader import read_recipe
from rmem_cli.report.build import build_table
from rmem_cli.report.layout import View, page

TEXT = """\
name: own
title: An experiment of my own
{paper}task: {{kind: associative_recall, length: 10}}
model: {{core: {{kind: lstm, hidden_size: 8}}}}
optimizer: {{kind: adam, lr: 1e-3}}
train: {{steps: 10, batch_size: 8}}
eval: [{{name: test, split: test, examples: 20, metrics: [accuracy]}}]
seeds: [1]
rows: [{{id: lstm, title: LSTM}}]
{more}"""


def read(paper="", more=""):
    return read_recipe(TEXT.format(paper=paper, more=more).encode(), "own.yaml", "own")


@pytest.mark.parametrize("paper", ["", "paper: null\n", "paper:\n"])
@pytest.mark.parametrize("more", ["", "scales: {cpu: {train.steps: 5}}\n", "scales: {}\n"])
def test_a_recipe_needs_no_paper_and_no_scale(paper, more):
    recipe = read(paper, more)
    assert recipe.paper is None
    assert [spec.row for spec in recipe.runs()] == ["lstm"]
    written = page(build_table(recipe, []), View())
    assert (written.title, written.lines) == ("own: An experiment of my own", [])
    assert "published" not in " ".join([*written.footnotes, *written.remarks]).lower()


@pytest.mark.parametrize(
    "dataset", ["/data/x.txt", "x.txt", "../ptb", "~/x", "a/b", "''", "'C:\\x.txt'", "'my text'"]
)
@pytest.mark.parametrize("field", ["dataset", "form"])
def test_a_path_is_no_data_set(field, dataset):
    names = {"dataset": "ptb", "form": "char"} | {field: dataset}
    task = f"{{kind: language_model, dataset: {names['dataset']}, form: {names['form']}, segment_length: 5}}"
    wrong = TEXT.format(paper="", more="").replace("{kind: associative_recall, length: 10}", task)
    with pytest.raises(
        RecipeError, match=rf"own.yaml:\d+:\d+: task.{field}: must be a name that `rmem fetch --list`"
    ):
        read_recipe(wrong.replace(", examples: 20", "").encode(), "own.yaml", "own")


@pytest.mark.parametrize(
    ("task", "key"),
    [("language_model, form: char, segment_length: 5", "text"), ("summarization", "pairs")],
)
def test_a_path_is_answered_with_the_key_that_names_files_of_that_task(task, key):
    wrong = TEXT.format(paper="", more="").replace(
        "{kind: associative_recall, length: 10}", f"{{kind: {task}, dataset: a/b}}"
    )
    with pytest.raises(RecipeError, match=rf"task.dataset: .* named by {key}: {{file"):
        read_recipe(wrong.replace(", examples: 20", "").encode(), "own.yaml", "own")
