"""Which of our metrics measures what a published table measures."""

from dataclasses import replace

import pytest

from rmem_cli.published.store import find_table
from rmem_cli.report.citations import cite
from rmem_cli.report.footnotes import Footnotes
from rmem_cli.report.places import Place


@pytest.mark.parametrize(
    ("published", "metric"),
    [
        ("rmt2022.quadratic_equations.rmt", "exact_match"),
        ("rmt2022.quadratic_equations_raw.rmt", "exact_match"),
        ("rmt2022.synthetic_short_raw.copy_rmt_m8_9seg", "accuracy"),
        ("rmt2022.synthetic_long_raw.copy120_rmt_m60_3seg", "accuracy"),
        ("rmt1m2023.fig5a.trained_on_4", "accuracy"),
        ("rum2019.recall.lstm", "accuracy"),
        ("rum2019.ptb_char.lstm_1000", "bpc"),
        ("rmt2022.hyperpartisan.longformer_4096", "f1"),
        ("armt2024.babilong_qa1.gpt_4", "accuracy"),
        ("urlstm2020.rl.curves", None),
    ],
)
def test_a_published_value_meets_the_metric_that_measures_the_same(published, metric):
    assert cite(published)[0].metric == metric


def test_each_column_of_a_table_may_be_of_a_metric_of_its_own():
    found = cite("rum2019.summarization.lead_3")
    assert [one.metric for one in found] == ["rouge_1", "rouge_2", "rouge_l"]
    assert [one.published(Footnotes()).value for one in found] == [0.4034, 0.177, 0.3657]
    whole = Place(cell="", protocol="summaries", split="test", part="", metric="rouge_2")
    assert all(one.is_for(whole) for one in found)
    assert not any(one.is_for(replace(whole, part="qa1")) for one in found)


def test_a_published_learning_curve_is_over_training_steps():
    table = find_table("rum2017.recall_curves")
    (citation,) = cite("rum2017.recall_curves.rum_lambda1")
    found = citation.published(Footnotes())
    points = [(x, y) for x, y in zip(table.x, citation.row.value, strict=True) if y is not None]
    assert table.steps_per_x == 782
    assert found.x == tuple(782 * x for x, _ in points)
    assert found.curve == tuple(y for _, y in points)
    assert found.x_name == "training steps"


def test_number_deviation_and_tolerance_are_in_the_unit_of_our_metric():
    (citation,) = cite("rmt2022.hyperpartisan.longformer_4096")
    assert citation.table.unit == "percent"
    row = citation.row.model_copy(update={"value": 99.5, "std": 1.5})
    table = citation.table.model_copy(update={"tolerance": 2.0})
    citation = replace(citation, row=row, table=table)
    found = citation.published(Footnotes())
    assert (found.value, found.sd, citation.tolerance) == (0.995, 0.015, 0.02)


@pytest.mark.parametrize(
    ("cell", "is_for"),
    [
        ("", True),
        ("lr by valid", True),
        ("lr=0.1", False),
        ("length=10,lr by valid", False),  # chosen for one length, and the number names none
    ],
)
def test_a_number_of_no_cell_is_for_the_whole_or_what_a_search_of_all_chose(cell, is_for):
    (citation,) = cite("rum2019.ptb_char.fs_rum_2")
    place = Place(cell=cell, protocol="test", split="test", part="", metric="bpc")
    assert citation.is_for(place) == is_for
