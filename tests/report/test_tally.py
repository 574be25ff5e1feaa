"""Verdicts are counted by their kind, those on lesser published numbers apart."""

from types import SimpleNamespace

import pytest

from rmem_cli.report.tally import tally
from rmem_cli.report.verdict import Outcome, Verdict


def section(*lines):
    """A section of lines, each given by the basis of its published number and its outcome."""
    return SimpleNamespace(
        lines=[
            SimpleNamespace(
                published=SimpleNamespace(basis=basis), comparison=SimpleNamespace(verdict=Verdict(outcome))
            )
            for basis, outcome in lines
        ]
    )


def test_each_sort_of_published_numbers_has_a_sentence_of_its_own():
    sections = [
        section(
            ("printed", Outcome.REPRODUCED), ("raw runs", Outcome.REPRODUCED), ("printed", Outcome.WORSE)
        ),
        section(("digitized", Outcome.BETTER), ("quoted", Outcome.INCONCLUSIVE), ("reading", Outcome.WORSE)),
    ]
    assert tally(sections) == [
        "verdicts on numbers and claims that the papers print: 2 reproduced, 1 worse",
        "verdicts on curves read off figures: 1 better",
        "verdicts on numbers known from quotations: 1 inconclusive",
        "verdicts on numbers that a reader filled in: 1 worse",
    ]


@pytest.mark.parametrize(
    "outcome",
    [Outcome.TOO_FEW_SEEDS, Outcome.NO_VERDICT, Outcome.NO_PUBLISHED_NUMBER, Outcome.NOT_RUN],
)
def test_what_is_no_verdict_is_not_counted(outcome):
    assert tally([section(("printed", outcome))]) == []
    both = tally([section(("printed", outcome), ("printed", Outcome.REPRODUCED))])
    assert both == ["verdicts on numbers and claims that the papers print: 1 reproduced"]
