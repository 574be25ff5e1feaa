"""What a message says of an unknown word."""

import pytest
from rmem_cli.data_scripts.dataset import dataset, dataset_names

from rmem_cli.errors import UsageError, closest
from rmem_cli.published.store import find_table, load_paper
from rmem_cli.recipe.registry import CORES
from rmem_cli.results.metrics import METRICS, metric


@pytest.mark.parametrize(
    ("look", "known"),
    [(dataset, dataset_names()), (metric, METRICS), (load_paper, ["rum2019"]), (find_table, ["rum2019"])],
)
def test_a_word_that_is_near_no_known_one_leads_to_all_of_them(look, known):
    with pytest.raises(UsageError, match="; there are: ") as caught:
        look("")
    assert all(name in str(caught.value) for name in known)


@pytest.mark.parametrize(
    ("look", "wrong", "near"),
    [
        (dataset, "wikitext_2", "wikitext2"),
        (metric, "perplexty", "perplexity"),
        (load_paper, "rum2018", "rum2019"),
        (CORES.settings, "grru", "gru"),
    ],
)
def test_a_word_near_a_known_one_leads_to_it(look, wrong, near):
    with pytest.raises(UsageError, match=f"did you mean '{near}'"):
        look(wrong)


def test_words_are_named_up_to_fifty_and_compared_up_to_a_hundred_characters():
    told = closest("", map(str, range(1000)))
    assert told.endswith("48, 49 and 950 more")
    assert closest("a" * 1000, ["a" * 999, "b"]).startswith("there are: ")
    assert closest("a", []) == "there are none"


def test_the_only_word_that_begins_so_goes_before_one_that_looks_alike():
    names = ["rmt_ptb", "rum_ptb_char", "rum_recall"]
    assert closest("rum_ptb", names) == "did you mean 'rum_ptb_char'?"
    assert closest("rum_", names) != "did you mean 'rum_ptb_char'?"
    assert closest("rum_recal", names) == "did you mean 'rum_recall'?"
    assert closest("rum_prb_char", names) == "did you mean 'rum_ptb_char'?"
    assert closest("RUM_RECALL", names) == "did you mean 'rum_recall'?"
    assert closest("r", ["rx_long_name", "q"]).startswith("there are: ")
