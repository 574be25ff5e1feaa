import gzip
import io
import pickle
import struct
import zipfile

import numpy as np
import pytest
from rich.console import Console
from rmem_cli.data_scripts import cifar10
from rmem_cli.data_scripts.cifar10 import CIFAR10, read_binary, read_pickled
from rmem_cli.data_scripts.fetch import fetch
from rmem_cli.data_scripts.mnist import MNIST, read_idx

from rmem_cli.data.images import open_images
from rmem_cli.data.prepared import open_prepared
from rmem_cli.errors import DataError

DRAW = np.random.default_rng(1)


def idx(array):
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


@pytest.fixture
def digits():
    return {
        "train": (DRAW.integers(256, size=(5, 28, 28), dtype=np.uint8), np.arange(5, dtype=np.uint8)),
        "t10k": (DRAW.integers(256, size=(3, 28, 28), dtype=np.uint8), np.array([9, 0, 9], np.uint8)),
    }


def test_mnist_comes_back_from_an_archive_of_gzipped_files_with_dotted_names(
    digits, tmp_path, loosened, console
):
    with zipfile.ZipFile(tmp_path / "archive.zip", "w") as archive:
        for prefix, (images, labels) in digits.items():
            archive.writestr(f"mnist/{prefix}-images.idx3-ubyte.gz", gzip.compress(idx(images)))
            archive.writestr(f"mnist/{prefix}-labels.idx1-ubyte", idx(labels))
    fetch(loosened(MNIST), console, path=tmp_path / "archive.zip")
    images = open_images("mnist")
    assert images.classes == list("0123456789")
    for split, prefix in {"train": "train", "test": "t10k"}.items():
        for found, expected in zip(images.split(split), digits[prefix], strict=True):
            np.testing.assert_array_equal(found, expected)


def test_mnist_without_its_test_labels_has_the_training_split_only(digits, tmp_path, loosened, console):
    for prefix, (images, labels) in digits.items():
        (tmp_path / f"{prefix}-images-idx3-ubyte").write_bytes(idx(images))
        if prefix == "train":
            (tmp_path / f"{prefix}-labels-idx1-ubyte").write_bytes(idx(labels))
    fetch(loosened(MNIST), console, path=tmp_path, allow_missing=True)
    images = open_images("mnist")
    assert images.prepared.meta["counts"] == {"train": 5}
    assert images.prepared.missing == ["t10k-labels-idx1-ubyte"]
    with pytest.raises(DataError, match="without t10k-labels-idx1-ubyte"):
        images.split("test")


@pytest.mark.parametrize("content", [b"", b"\0\0\x0d\1\0\0\0\0", b"\0\0\x08\1\0\0\0\2\0", b"\0\0\x08\2\0\0"])
def test_what_is_not_an_idx_file_of_bytes_is_refused(content, tmp_path):
    (tmp_path / "labels").write_bytes(content)
    with pytest.raises(DataError):
        read_idx(tmp_path / "labels")


def python_2_pickle(pixels, labels):
    """A batch as Python 2 wrote it: protocol 2, strings of bytes, the keys in any order."""

    def text(value):
        return b"U" + bytes([len(value)]) + value

    numbers = b"".join(b"K" + bytes([label]) for label in labels)
    array = b"cnumpy.core.multiarray\n_reconstruct\nq\1(K\1M\x10\x27\x86" + b"T"
    array += struct.pack("<i", pixels.nbytes) + pixels.tobytes() + b"t"
    names = b"](" + b"".join(text(b"an_image_%d.png" % number) for number in range(len(labels))) + b"e"
    head = b"\x80\2}q\0(" + text(b"batch_label") + text(b"training batch")
    return (
        head
        + text(b"labels")
        + b"]("
        + numbers
        + b"e"
        + text(b"data")
        + array
        + text(b"filenames")
        + names
        + b"u."
    )


@pytest.fixture
def batch():
    return DRAW.integers(256, size=(4, 3072), dtype=np.uint8), np.array([3, 0, 9, 9], np.uint8)


def test_both_layouts_of_cifar10_give_the_same_images(batch, tmp_path, loosened, monkeypatch, console):
    pixels, labels = batch
    hashes = []
    for layout in ("python", "binary"):
        folder = tmp_path / layout
        folder.mkdir()
        for name in (
            "data_batch_1",
            "data_batch_2",
            "data_batch_3",
            "data_batch_4",
            "data_batch_5",
            "test_batch",
        ):
            if layout == "python":
                (folder / name).write_bytes(python_2_pickle(pixels, labels))
            else:
                (folder / f"{name}.bin").write_bytes(np.column_stack([labels, pixels]).tobytes())
        monkeypatch.setenv("RMEM_DATA", str(tmp_path / f"data-{layout}"))
        fetch(loosened(CIFAR10), console, path=folder)
        hashes.append(open_prepared("cifar10", "images").data_hash)
        images, found = open_images("cifar10").split("train")
        assert (images.shape, found.tolist()) == ((20, 32, 32, 3), labels.tolist() * 5)
        assert images[1, 2, 5].tolist() == pixels[1].reshape(3, 32, 32)[:, 2, 5].tolist()
    assert hashes[0] == hashes[1]
    assert open_images("cifar10").classes == cifar10.CLASSES


def test_a_pickle_that_would_run_code_is_only_looked_at(tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "evil"), "w"))

    (tmp_path / "data_batch_1").write_bytes(pickle.dumps({"data": Evil(), "labels": [1]}))
    with pytest.raises(DataError, match="is not a batch of CIFAR-10"):
        read_pickled(tmp_path / "data_batch_1")
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize("content", [b"", b"not a pickle", b"\x80\2}q\0(U\6labels](K\1e", bytes(3072)])
def test_what_is_not_a_batch_is_refused(content, tmp_path):
    (tmp_path / "batch").write_bytes(content)
    with pytest.raises(DataError):
        read_pickled(tmp_path / "batch")
    if content:
        with pytest.raises(DataError):
            read_binary(tmp_path / "batch")


@pytest.mark.data
def test_the_real_mnist_has_its_images_and_labels(real_data):
    fetch(MNIST, Console(file=io.StringIO()), path=real_data / "mnist")
    images = open_images("mnist")
    counts = {split: np.bincount(images.split(split)[1]).tolist() for split in ("train", "test")}
    assert images.split("train")[0].shape == (60_000, 28, 28)
    assert images.split("test")[0].shape == (10_000, 28, 28)
    assert counts["train"] == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert counts["test"] == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
