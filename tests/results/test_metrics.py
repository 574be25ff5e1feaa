import pytest

from rmem_cli.errors import UsageError
from rmem_cli.results.metrics import METRICS, ROUGE, metric


def test_every_metric_is_found_by_its_own_name():
    assert {name: metric(name).name for name in METRICS} == {name: name for name in METRICS}
    of_summaries = {name for name in METRICS if METRICS[name].asks_for_summaries}
    assert of_summaries == {*ROUGE, "repeated_trigrams"}
    others = {"accuracy", "exact_match", "f1", "loss", "bpc", "perplexity", "mse", "pairs_kept"}
    assert {*METRICS} - of_summaries == others


def test_only_what_counts_what_is_right_is_better_when_higher():
    higher = {name for name in METRICS if METRICS[name].higher_is_better}
    assert higher == {"accuracy", "exact_match", "f1", "pairs_kept", *ROUGE}


@pytest.mark.parametrize(
    ("wrong", "closest"), [("acurracy", "accuracy"), ("bpcs", "bpc"), ("acc", "accuracy")]
)
def test_an_unknown_metric_is_refused_with_the_closest_name(wrong, closest):
    with pytest.raises(UsageError, match=f"{wrong}.*did you mean '{closest}'"):
        metric(wrong)
