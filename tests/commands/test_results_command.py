"""`rmem results` and `rmem show RUN`: from a cell of a report to its run, and out of it."""

import json
import time

import pytest


@pytest.fixture
def run(rmem, recipe):
    """The name of a run with results, and with its folder."""
    assert rmem("train", "small.yaml", "--scale", "smoke").code == 0
    (found,) = json.loads(rmem("runs", "list", "--json").out)
    return found["name"]


def test_a_run_is_shown_with_its_results_environment_command_and_folder(rmem, run):
    ended = rmem("show", run)
    assert ended.code == 0
    assert "command: rmem train small --scale smoke --row gru --seed 1" in ended.out
    assert "torch_version: " in ended.out
    assert "loss (test, test): " in ended.out
    assert json.loads(rmem("show", run, "--json").out)["results"][0]["metric"] in ("loss", "accuracy")


def test_a_run_whose_folder_is_gone_says_how_to_make_it_again(rmem, run):
    assert rmem("runs", "rm", run, "--yes").code == 0
    ended = rmem("show", run)
    assert ended.code == 0
    assert "its folder is gone" in ended.err
    assert "--rerun all" in ended.err


def test_an_unknown_run_is_a_sentence_with_the_nearest(rmem, run):
    ended = rmem("show", run[:-1] + ("0" if run[-1] != "0" else "1"))
    assert ended.code == 2
    assert f"did you mean {run!r}" in ended.err


def test_a_withdrawn_run_counts_nowhere_says_why_and_is_trained_again(rmem, run):
    assert rmem("results", "drop", run, "--reason", "a wrong rate").code == 0
    report = rmem("report", "small.yaml", "--scale", "smoke")
    assert "withdrawn: 2 results: a wrong rate" in " ".join(report.out.split())
    assert "withdrawn: a wrong rate" in rmem("show", run).out
    time.sleep(1.1)  # results are told apart by the second
    assert rmem("train", "small.yaml", "--scale", "smoke").code == 0
    assert "withdrawn" not in rmem("report", "small.yaml", "--scale", "smoke").out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["drop", "small/lstm", "--reason", "x"], "there is no result of a run"),
        (["drop", "small", "--reason", " "], "--reason is blank"),
        (["merge", "nowhere"], "no results to merge"),
    ],
)
def test_what_cannot_be_done_is_a_sentence(rmem, run, arguments, says):
    ended = rmem("results", *arguments)
    assert ended.code == 2
    assert says in ended.err
