"""What stands for a data set in a plan has the sizes that a preparation must give."""

import pytest
from rmem_cli.data_scripts.dataset import dataset, dataset_names, unwritten
from rmem_cli.data_scripts.generated import SIZES

from rmem_cli.data.hyperpartisan import Hyperpartisan

FORMS = [(name, form) for name in dataset_names() for form in dataset(name).forms if form.stand_in]


@pytest.mark.parametrize(("name", "form"), FORMS, ids=[f"{name} {form.name}" for name, form in FORMS])
def test_a_stand_in_has_what_a_preparation_must_give(name, form):
    known = unwritten(name, form.name)
    assert known.meta["counts"].items() >= form.expected.counts.items()
    assert set(known.splits) == set(known.meta["counts"])
    if form.expected.distinct is not None:
        assert len(known.vocabulary) == form.expected.distinct


@pytest.mark.parametrize(
    ("name", "form", "split", "shape"),
    [
        ("wikitext103", "word", "train", (103_227_021,)),
        ("enwik8", "txl", "test", (4_943_417,)),
        ("copy", "24", "train", (SIZES["train"], 3 * 24 + 1)),
        ("copy", "360", "valid", (SIZES["valid"], 3 * 360 + 1)),
        ("reverse", "120", "test", (SIZES["test"], 2 * 120 + 1)),
        ("associative_retrieval", "pairs4", "train", (SIZES["train"], 11)),
        ("quadratic", "steps", "train", (SIZES["train"], 181)),
        ("mnist", "images", "train_images", (60_000, 28, 28)),
        ("cifar10", "images", "test_images", (10_000, 32, 32, 3)),
        ("babi", "en-10k-qa1", "train_question", (10_000,)),
        ("babi", "en-qa3", "test_question", (1_000,)),
    ],
)
def test_what_stands_for_an_array_has_its_shape(name, form, split, shape):
    assert unwritten(name, form).array(split).shape == shape


@pytest.mark.parametrize("form", ["pieces", "pieces-twins"])
def test_what_stands_for_articles_is_read_as_they_are(form):
    articles = Hyperpartisan(unwritten("hyperpartisan", form))
    assert {len(pieces) for pieces in articles.pieces(4)} == {4096}
    assert articles.symbols(4) == 4000
    assert len(articles.split(0)["train"]) == 516


def test_of_other_sets_and_forms_no_size_is_known():
    for name, form in (("nothing", "word"), ("ptb", "sentencepiece-100"), ("babi", "en-qa21")):
        assert unwritten(name, form) is None
