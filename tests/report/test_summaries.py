"""Scores of summaries are told with their intervals and what scored them, and samples can be read."""

import io
from dataclasses import replace

import pytest

from rmem_cli.errors import UsageError
from rmem_cli.recipe import load_recipe
from rmem_cli.report.build import build_table
from rmem_cli.report.experiments import Experiments
from rmem_cli.report.formats import FORMATS
from rmem_cli.report.scoreboard import build_scoreboard
from rmem_cli.results.store import ResultStore
from rmem_cli.results.summaries import Summary, read_samples, samples_name

RECIPE = """\
name: articles
title: Summaries
paper: rum2019
published: [see2017.cnn_daily_mail]
task: {kind: summarization, dataset: cnn_dailymail}
model:
  architecture: pointer_generator
  core: {kind: lstm, hidden_size: 6}
  pointer_generator: {size: 4}
optimizer: {kind: adam, lr: 0.02}
train: {steps: 15, batch_size: 4}
eval: [{name: summaries, split: test, metrics: [rouge_1, rouge_1_recall, repeated_trigrams], summaries: {}}]
seeds: [1, 2]
rows:
  - {id: lstm, title: LSTM, published: see2017.cnn_daily_mail.pointer_generator}
  - {id: lead, title: Lead, eval.summaries.summaries.lead: 3}
scales: {smoke: {train.steps: 2}}
"""
SCORER = "rouge-score 0.1.2, Porter stems"
MARKUP = "<script>alert('said')</script> & \x1b[31m"


@pytest.fixture
def recipe(tmp_path):
    (tmp_path / "articles.yaml").write_text(RECIPE)
    return load_recipe(str(tmp_path / "articles.yaml"))


@pytest.fixture
def rows(recipe, results):
    """Two seeds, whose intervals differ; the recall has one without."""
    found = []
    ends = {"rouge_1": [(0.25, 0.35), (0.27, 0.39)], "rouge_1_recall": [(0.1, 0.6), (None, None)]}
    for name, intervals in ends.items():
        made = results(recipe, "lstm", [0.3, 0.34], protocol="summaries", name=name, examples=110)
        found += [
            replace(row, low=low, high=high, settings=SCORER)
            for row, (low, high) in zip(made, intervals, strict=True)
        ]
    made = results(recipe, "lstm", [0.1, 0.2], protocol="summaries", name="repeated_trigrams", examples=110)
    return found + [replace(row, low=0.05, high=0.25) for row in made]


def bounds(table, name):
    section = next(one for one in table.sections if one.metric == name and one.protocol)
    return next(line for line in section.lines if line.id == "lstm").ours["paper"].bounds


def test_the_interval_over_articles_is_the_mean_of_the_seeds_ends(recipe, rows):
    table = build_table(recipe, rows)
    found = bounds(table, "rouge_1")
    assert (found.rule, found.examples) == ("bootstrap", 110)
    assert (found.low, found.high) == (pytest.approx(0.26), pytest.approx(0.37))
    assert bounds(table, "rouge_1_recall") is None  # a seed of an older version has none


@pytest.mark.parametrize("form", ["terminal", "markdown", "latex", "csv", "json"])
def test_every_form_shows_the_intervals(recipe, rows, form):
    file = io.StringIO()
    FORMATS[form].write([build_table(recipe, rows)], file)
    text = file.getvalue().replace("{[}", "[").replace("{]}", "]")
    if form in ("csv", "json"):
        assert "0.26" in text
        assert "0.37" in text
    else:
        for end in ("[0.2600,", "0.3700]", "[0.0500,", "0.2500]"):  # the last two of another metric
            assert end in text


def test_what_scored_and_that_the_papers_scored_otherwise_are_footnotes(recipe, rows):
    table = build_table(recipe, rows)
    notes = " ".join(table.footnotes)
    assert f"scored by {SCORER}" in notes
    assert "the papers' ROUGE is that of ROUGE-1.5.5 by pyrouge" in notes
    assert "95 % interval of the mean over 110 articles, by bootstrap" in notes
    assert "Wilson" not in notes


def test_where_samples_are_is_said_even_briefly(recipe, rows):
    name = samples_name(rows[0])
    file = io.StringIO()
    FORMATS["terminal"].write([build_table(recipe, rows)], file)
    told = " ".join(file.getvalue().split())
    assert "samples of summaries, of the first articles of each split" in told
    assert "and 1 more" in told
    assert f"summaries/{name}.jsonl" in "".join(table_remarks(recipe, rows))


def table_remarks(recipe, rows):
    return build_table(recipe, rows).remarks


@pytest.fixture
def site(tmp_path, recipe, rows):
    store = ResultStore(tmp_path / "results")
    store.write(rows)
    said = [
        Summary(
            place,
            f"id {place}",
            f"the reference {place}\n<b>&",
            MARKUP,
            {"rouge_1": 0.125, "rouge_1_recall": 1},
        )
        for place in range(20)
    ]
    store.write_samples(samples_name(rows[0]), "".join(one.to_line() for one in said))
    experiments = Experiments(store.folder)
    experiments.recipe = {"articles": recipe}.__getitem__
    table = experiments.table("articles")
    (tmp_path / "site").mkdir()
    experiments.site(
        tmp_path / "site", ["articles"], [table], build_scoreboard([recipe], [table], lambda _: None)
    )
    return tmp_path / "site"


def test_the_pages_have_one_of_samples_with_nothing_of_them_read_as_markup(site):
    page = (site / "articles.summaries.html").read_text(encoding="utf-8")
    assert 'href="articles.summaries.html"' in (site / "articles.html").read_text(encoding="utf-8")
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(&#39;said&#39;)&lt;/script&gt; &amp; \\x1b[31m" in page
    assert "the reference 0<br>&lt;b&gt;&amp;" in page
    assert "LSTM, paper scale" in page
    assert "rouge_1 0.125" in page
    assert "recall" not in page
    assert page.count("<h2>Article") == 5
    assert len(page) < 50_000


def test_without_samples_there_is_no_such_page(tmp_path, recipe, rows):
    assert read_samples(tmp_path, rows[0]) == []
    experiments = Experiments(tmp_path / "results")
    experiments.recipe = {"articles": recipe}.__getitem__
    ResultStore(tmp_path / "results").write(rows)
    (tmp_path / "site").mkdir()
    table = experiments.table("articles")
    board = build_scoreboard([recipe], [table], lambda _: None)
    experiments.site(tmp_path / "site", ["articles"], [table], board)
    assert not (tmp_path / "site" / "articles.summaries.html").exists()
    assert "summaries.html" not in (tmp_path / "site" / "articles.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("line", ["{}", "x", '{"place": "0"}', "[]", '{"place": 0, "id": 1}', "\0"])
def test_a_line_of_samples_that_is_none_is_named_with_a_cure(tmp_path, rows, line):
    file = tmp_path / "summaries" / f"{samples_name(rows[0])}.jsonl"
    file.parent.mkdir()
    whole = Summary(0, "a", "b", "c", {"rouge_1": 0.5})
    file.write_text(whole.to_line() + line + "\n")
    with pytest.raises(UsageError, match=r"jsonl:2: the line is not a summary with its scores; restore"):
        read_samples(tmp_path, rows[0])
    file.write_text(whole.to_line())
    assert read_samples(tmp_path, rows[0]) == [whole]
