"""Arrays whose hashes are right but which say what cannot be are refused where they are read."""

import numpy as np
import pytest
from rmem_cli.data_scripts.cifar10 import read_binary

from rmem_cli.data.babi import Babi
from rmem_cli.data.hyperpartisan import PIECES, open_hyperpartisan
from rmem_cli.data.images import open_images
from rmem_cli.data.prepared import open_prepared
from rmem_cli.data.texts import Texts
from rmem_cli.data.writer import Content, write_prepared
from rmem_cli.errors import DataError

ABOUT = {"sources": [], "licence": "free", "citation": "nobody"}


@pytest.fixture
def rewritten():
    """Writes a prepared set again, with some of its arrays replaced."""

    def rewrite(prepared, **changes):
        meta = prepared.meta
        arrays = {name: [changes.get(name, prepared.array(name)).copy()] for name in meta["arrays"]}
        counted = {what: _array_of(meta, arrays, what) for what in meta["counts"]}
        content = Content(arrays, meta["vocabulary"], counted=counted, details=meta["details"])
        return write_prepared(meta["name"], meta["form"], content, **ABOUT)

    return rewrite


def _array_of(meta, arrays, what):
    return next(name for name in arrays if meta["arrays"][name]["shape"][0] == meta["counts"][what])


def test_a_label_that_is_no_class_is_refused(write_images, rewritten):
    prepared = write_images()
    labels = prepared.array("train_labels").copy()
    labels[3] = 10
    rewritten(prepared, train_labels=labels)
    with pytest.raises(DataError, match=r"train_labels\.bin holds 10, .*`rmem fetch mnist` makes it anew"):
        open_images("mnist").split("train")


def test_images_without_labels_are_refused(write_images, rewritten):
    prepared = write_images()
    rewritten(prepared, train_images=prepared.array("train_images")[1:])
    with pytest.raises(DataError, match="train has 39 images, but 40 labels"):
        open_images("mnist").split("train")


def test_a_batch_of_cifar10_has_ten_classes(tmp_path):
    record = np.zeros(1 + 3072, np.uint8)
    record[0] = 10
    record.tofile(tmp_path / "data_batch_1.bin")
    with pytest.raises(DataError, match=r"data_batch_1\.bin has labels beyond the 10 classes"):
        read_binary(tmp_path / "data_batch_1.bin")


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"train_question": np.array([99], np.uint32)}, r"train_question\.bin holds 99"),
        ({"train_supports": np.array([3, 1, 1, 1], np.uint8)}, "arrays of train do not belong together"),
        ({"train_number": np.array([1], np.uint16)}, "arrays of train do not belong together"),
        ({"train_support": np.array([9, 9, 9, 9], np.uint16)}, "arrays of train do not belong together"),
        ({"train_text": np.full(5, 255, np.uint8)}, r"train_text\.bin does not have the sizes"),
    ],
)
def test_stories_whose_arrays_do_not_fit_are_refused(write_babi, rewritten, changes, why):
    rewritten(write_babi("en-qa1"), **changes)
    with pytest.raises(DataError, match=f"{why}.*`rmem fetch babi` makes it anew"):
        list(Babi(1, "en").questions("train"))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"label": np.full(40, 2, np.uint8)}, r"label\.bin holds 2"),
        ({"rank": np.arange(39, dtype=np.uint16)}, r"rank\.bin has 39 articles instead of 40"),
        ({"fold0_sizes": np.full(40, 9, np.uint32)}, r"fold0\.bin does not have the sizes"),
        ({"fold0": np.full(9, 60_000, np.uint16)}, r"fold0\.bin holds 60,000"),
        ({"fold0_model": np.full(9, 1, np.uint8)}, r"fold0_model\.bin is not a sentencepiece model"),
    ],
)
def test_articles_whose_arrays_do_not_fit_are_refused(write_articles, rewritten, changes, why):
    rewritten(write_articles(), **changes)
    articles = open_hyperpartisan(PIECES)
    with pytest.raises(DataError, match=f"{why}.*`rmem fetch hyperpartisan` makes it anew"):
        (articles.labels, articles.split(0), articles.pieces(0))


def test_a_text_that_is_not_utf_8_is_refused(rewritten):
    arrays = {"list": [np.full(3, 255, np.uint8)], "list_bytes": [np.array([3], np.uint32)]}
    texts = Texts(write_prepared("toy", "texts", Content(arrays, []), **ABOUT), "list")
    for read in (lambda: texts[0], lambda: list(texts)):
        with pytest.raises(DataError, match=r"list\.bin holds a text that is not UTF-8"):
            read()


def test_rewriting_changes_nothing(write_babi, rewritten):
    before = write_babi("en-qa1").data_hash
    assert rewritten(open_prepared("babi", "en-qa1")).data_hash == before
