"""What is said about articles is decoded, scored and kept, whatever interrupts it."""

import json
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from rmem_cli.errors import InterruptedRunError, UsageError
from rmem_cli.evaluation.rouge import Rouge, sentences
from rmem_cli.recipe import load_recipe
from rmem_cli.recipe.problems import RecipeError
from rmem_cli.recipe.schema import SummariesSettings
from rmem_cli.results.bootstrap import bootstrap_interval
from rmem_cli.results.metrics import REPEATED_TRIGRAMS, ROUGE
from rmem_cli.results.summaries import SHOWN, Summary, read_samples, samples

METRICS = [*ROUGE, REPEATED_TRIGRAMS]
RECIPE = f"""\
name: articles
title: Summaries
task: {{kind: summarization, dataset: cnn_dailymail, vocabulary: 20, source_length: 8, target_length: 6}}
model:
  architecture: pointer_generator
  core: {{kind: lstm, hidden_size: 6}}
  pointer_generator: {{size: 4}}
optimizer: {{kind: adam, lr: 0.02}}
train: {{steps: 15, batch_size: 4}}
eval:
  - name: summaries
    split: test
    batch_size: 3
    metrics: [{", ".join(METRICS)}]
    summaries: {{beam: 3, shortest: 1, longest: 7}}
seeds: [1]
rows: [{{id: lstm, title: LSTM}}]
scales: {{smoke: {{train.steps: 2}}}}
"""


@pytest.fixture
def spec(tmp_path, write_summaries):
    """The run, with fields changed as by --set; the first call writes the articles."""
    (tmp_path / "articles.yaml").write_text(RECIPE)

    def make(*sets, **articles):
        if not (tmp_path / "work").exists():
            write_summaries(**articles)
        return load_recipe(str(tmp_path / "articles.yaml")).runs(overrides=sets)[0]

    return make


@pytest.fixture
def decoded(lab):
    """The lines of the run folder's file, the first of which says what decoded."""

    def lines(spec):
        return (lab.folder(spec) / "summaries-summaries.jsonl").read_text().splitlines(keepends=True)

    return lines


def stop_after(calls):
    """Says stop when it has been asked so often."""
    asked = iter(range(calls))
    return lambda: next(asked, None) is None


def shown(spec, row):
    return read_samples(Path(os.environ["RMEM_RESULTS"]), row)


def test_rows_are_means_over_articles_with_their_intervals_and_what_scored_them(lab, spec, decoded):
    run = spec()
    lab.train(run)
    said = [Summary.from_line(line) for line in decoded(run)[1:]]
    assert sorted(one.place for one in said) == list(range(20))
    rows = {row.metric: row for row in lab.rows("articles")}
    assert list(rows) == METRICS
    for name, row in rows.items():
        scores = [one.scores[name] for one in sorted(said, key=lambda one: one.place)]
        assert row.value == pytest.approx(sum(scores) / 20)
        assert (row.low, row.high) == bootstrap_interval(scores)
        assert row.examples == 20
        assert row.settings == ("rouge-score 0.1.2, Porter stems" if name in ROUGE else "")
    one = said[0]
    texts = ([line.split(" ") for line in text.split("\n")] for text in (one.reference, one.summary))
    assert Rouge(stemming=True)(*texts).items() <= one.scores.items()


def test_decoding_that_is_stopped_goes_on_and_ends_with_the_same_text(lab, spec, decoded, same):
    run = spec()
    lab.train(run)
    undisturbed, rows = decoded(run), same(lab.rows("articles"))
    kept = shown(run, lab.rows("articles")[0])
    for batches in (0, 1, 3, 6):
        (lab.folder(run) / "summaries-summaries.jsonl").unlink()
        with pytest.raises(InterruptedRunError, match="stopped while decoding; the same command goes on"):
            lab.evaluate(run, stop_after(1 + batches))
        assert decoded(run) == undisturbed[: 1 + 3 * batches]
        lab.evaluate(run)
        assert decoded(run) == undisturbed
        assert same(lab.rows("articles")) == rows
        assert shown(run, lab.rows("articles")[0]) == kept


@pytest.mark.slow
def test_decoding_that_is_killed_ends_with_the_same_text(
    lab, spec, decoded, same, start_rmem, wait_until, tmp_path
):
    run = spec()
    lab.train(run)
    undisturbed, rows = decoded(run), same(lab.rows("articles"))
    kept = shown(run, lab.rows("articles")[0])
    file = lab.folder(run) / "summaries-summaries.jsonl"
    for lines in (2, 9):
        file.unlink(missing_ok=True)
        command = start_rmem("eval", str(tmp_path / "articles.yaml"))
        wait_until(lambda lines=lines: file.exists() and file.read_text().count("\n") >= lines, command)
        command.kill(signal.SIGKILL)
        command.wait()
    assert start_rmem("eval", str(tmp_path / "articles.yaml")).wait() == 0
    assert decoded(run) == undisturbed
    assert same(lab.rows("articles")) == rows
    assert shown(run, lab.rows("articles")[0]) == kept


DAMAGES = {
    "a cut line": (lambda text: text[:-5], 18),
    "a line without its end": (lambda text: text[:-1], 18),
    "the beginning of a line": (lambda text: text + '{"place": 3', 20),
    "other fields": (lambda text: text.replace('"scores"', '"scored"'), 0),
    "half of a batch": (lambda text: "".join(text.splitlines(keepends=True)[:6]), 3),
    "a line in between": (
        lambda text: "\n".join(line[number == 8 :] for number, line in enumerate(text.split("\n"))),
        6,
    ),
    "nothing": (lambda text: "", 0),
    "zeros": (lambda text: "\0" * 40 + "\n" + text, 0),
}


def test_what_is_whole_of_a_damaged_file_counts_and_the_rest_is_decoded_again(
    lab, spec, decoded, same, monkeypatch
):
    run = spec()
    lab.train(run)
    undisturbed, rows = decoded(run), same(lab.rows("articles"))
    places = articles_decoded(monkeypatch)
    for what, (damage, left) in DAMAGES.items():
        places.clear()
        (lab.folder(run) / "summaries-summaries.jsonl").write_text(damage("".join(undisturbed)))
        lab.evaluate(run)
        assert decoded(run) == undisturbed, what
        assert same(lab.rows("articles")) == rows, what
        assert len(places) == 20 - left, what


def articles_decoded(monkeypatch):
    """The places of articles that are decoded, as they are."""
    from rmem_cli.evaluation.summaries import Summarizer

    places, original = [], Summarizer.__call__

    def call(self, split, some):
        places.extend(some)
        return original(self, split, some)

    monkeypatch.setattr(Summarizer, "__call__", call)
    return places


OTHERS = ("summaries.beam=1", "summaries.stemming=false", "batch_size=5", "examples=7", "split=valid")


def test_other_settings_are_decoded_anew(lab, spec, decoded, monkeypatch):
    run = spec()
    lab.train(run)
    places = articles_decoded(monkeypatch)
    lab.evaluate(run)
    assert places == []
    for other in OTHERS:
        places.clear()
        lab.evaluate(spec(f"eval.summaries.{other}"))
        assert len(places) == (7 if "examples" in other else 20), other
        assert json.loads(decoded(run)[0])["eval_hash"] == lab.rows("articles")[-1].eval_hash


def test_other_weights_are_decoded_anew(lab, spec, decoded, monkeypatch):
    run = spec()
    lab.train(run)
    first = decoded(run)
    places = articles_decoded(monkeypatch)
    lab.train(run, repeat=True)
    assert len(places) == 20
    assert decoded(run) == first
    origin = json.loads(first[0]) | {"weights": "0" * 64}
    (lab.folder(run) / "summaries-summaries.jsonl").write_text(
        "".join([json.dumps(origin) + "\n", *first[1:]])
    )
    lab.evaluate(run)
    assert len(places) == 40
    assert decoded(run) == first


def test_what_another_commit_decoded_counts_and_is_named_in_the_rows(lab, spec, decoded):
    run = spec()
    lab.train(run)
    first = decoded(run)
    origin = json.loads(first[0])
    origin["environment"] |= {"git_commit": "a" * 40, "git_dirty": "true"}
    (lab.folder(run) / "summaries-summaries.jsonl").write_text(
        "".join([json.dumps(origin) + "\n", *first[1:8]])
    )
    lab.evaluate(run)
    row = lab.rows("articles")[0]
    assert row.git_commit.startswith("a" * 40 + "+")
    assert row.git_dirty == "true"
    assert decoded(run)[1:] == first[1:]


@pytest.mark.parametrize("sets", [(), ("eval.summaries.summaries.beam=1",)])
def test_what_is_said_does_not_depend_on_the_size_of_batches(lab, spec, decoded, sets):
    double = ("train.dtype=float64", *sets)
    lab.train(spec(*double))
    by_size = {}
    for size in (1, 7, 20):
        run = spec(*double, f"eval.summaries.batch_size={size}")
        lab.evaluate(run)
        by_size[size] = decoded(run)[1:]
    assert all(lines == by_size[1] for lines in by_size.values())


def test_the_first_articles_of_the_split_are_kept_beside_the_results(lab, spec, decoded):
    run = spec(train=20, valid=20, test=SHOWN + 5)
    lab.train(run)
    (row, *_), said = lab.rows("articles"), [Summary.from_line(line) for line in decoded(run)[1:]]
    kept = shown(run, row)
    assert len(said) == SHOWN + 5
    assert [one.place for one in kept] == list(range(SHOWN))
    assert kept == sorted(said, key=lambda one: one.place)[:SHOWN]


def test_long_texts_are_cut_where_they_are_kept_beside_the_results():
    long = "\n".join(" ".join(["word"] * 100) for _ in range(5))
    (kept,) = (Summary.from_line(line) for line in samples([Summary(0, "a", long, "short", {})]).splitlines())
    assert kept.summary == "short"
    assert kept.reference == "\n".join([" ".join(["word"] * 100)] * 3) + " …"
    exact = "\n".join(" ".join(["word"] * 100) for _ in range(3))
    assert Summary.from_line(samples([Summary(0, "a", exact, "", {})])).reference == exact


def test_the_first_sentences_of_an_article_are_taken_and_no_model_is_read(lab, spec, monkeypatch):
    from rmem_cli.data.pair_records import Pair
    from rmem_cli.models.pointer_generator import PointerGenerator

    test = [Pair("1", "a b . c d . e f .", "a b x"), Pair("2", "g ? h h h h . i", "i g .")]
    others = [Pair(str(number), "a b c d .", "a b .") for number in range(8)]
    splits = {"train": others, "valid": others, "test": test}
    lead = spec("eval.summaries.summaries={lead: 2}", splits=splits)
    monkeypatch.setattr(PointerGenerator, "outputs", None)
    lab.train(lead)
    rows = {row.metric: row.value for row in lab.rows("articles")}
    # Of "a b . c d . e f ." the first two sentences are "a b . c d .", of which "a b" is the reference's.
    assert rows["rouge_1_recall"] == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert rows["rouge_1_precision"] == pytest.approx((2 / 4 + 1 / 5) / 2)
    assert rows["rouge_2_recall"] == pytest.approx((1 / 2 + 0) / 2)
    assert rows["rouge_l_recall"] == pytest.approx((2 / 3 + 1 / 2) / 2)
    # Of the five trigrams of "g ? h h h h .", one stands there already.
    assert rows["repeated_trigrams"] == pytest.approx((0 + 1 / 5) / 2)


def test_sentences_of_an_article_end_at_its_marks():
    assert sentences(["a", ".", "b", "c", "?", "d"]) == [["a", "."], ["b", "c", "?"], ["d"]]


def test_without_the_library_a_run_says_so_before_it_trains(lab, spec, monkeypatch, steps_done):
    for name in ("rouge_score", "rouge_score.rouge_scorer"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UsageError, match=r"rouge-score, which is missing; `pip install 'rmem\[text\]'`"):
        lab.train(spec())
    assert steps_done == []


@pytest.mark.parametrize("options", [{"lead": 0}, {"lead": 3, "beam": 2}, {"beam": 0}, {"shortest": 200}])
def test_summaries_that_cannot_be_are_refused(options):
    with pytest.raises(ValueError, match=r"lead|beam|shortest"):
        SummariesSettings(**options)


@pytest.mark.parametrize(
    ("sets", "said"),
    [
        (["eval.summaries.summaries=null"], "is of summaries, and the protocol makes none; add summaries"),
        (["eval.summaries.metrics=[loss, rouge_1]"], "is not of summaries, which the protocol makes"),
        (
            ["train.validation={metric: rouge_1}", "train.eval_every=5"],
            "which no validation decodes; take loss",
        ),
    ],
)
def test_metrics_of_summaries_stand_where_there_are_some(spec, sets, said):
    with pytest.raises(UsageError, match=said):
        spec(*sets)


def test_samples_are_taken_over_by_equal_runs_and_merged(lab, spec, tmp_path):
    from rmem_cli.results.merge import merge_results
    from rmem_cli.results.store import ResultStore
    from rmem_cli.runs.experiment import taken_over

    run = spec()
    lab.train(run)
    other = replace(run, experiment="others", row="equal")
    assert taken_over([other]) == [other]
    assert shown(other, lab.rows("others")[0]) == shown(run, lab.rows("articles")[0]) != []
    merged = ResultStore(tmp_path / "merged")
    merge_results(merged, Path(os.environ["RMEM_RESULTS"]))
    assert read_samples(merged.folder, lab.rows("articles")[0]) == shown(run, lab.rows("articles")[0])


def test_what_is_said_about_sections_of_a_paper_is_scored_as_one_summary():
    from rmem_cli.evaluation.summaries import Summarizer

    reference = "the cat sat .\nthe dog ran ."
    said = [(1, "b", "no"), (0, "a", "the dog ran ."), (2, "a", "the cat sat ."), (3, "", "x"), (4, "", "y")]
    summarizer = Summarizer(None, None, SummariesSettings(joined=True))
    found = summarizer.joined([Summary(place, name, reference, text, {}) for place, name, text in said])
    assert [(one.place, one.id) for one in found] == [(0, "a"), (1, "b"), (3, ""), (4, "")]
    assert found[0].summary == "the dog ran .\nthe cat sat ."
    assert found[0].reference == reference
    assert found[0].scores["rouge_l"] == 1
    assert found[1].scores["rouge_1"] == 0


def test_sections_of_a_paper_that_are_divided_anew_cannot_be_joined(spec):
    with pytest.raises(RecipeError, match=r"joined.*: joins sections of .* task\.split drawn divides"):
        spec("task.split=drawn", "eval.summaries.summaries.joined=true")
