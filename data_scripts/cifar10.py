"""CIFAR-10: 32 x 32 colour images of ten classes, from the binary or the Python version.

In the binary version an image is a byte for the label and then its red, green and blue planes, each row by
row. The batches of the Python version are pickles, which may run code when they are loaded; here their
opcodes are only looked at, and nothing is executed.
"""

import pickletools
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from rmem_cli.data.images import FORM
from rmem_cli.data.writer import Content, Expected
from rmem_cli.errors import DataError

from . import stand_ins
from .dataset import Dataset, Form, Source, SourceFile

CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
_TRAINING = [f"data_batch_{number}" for number in range(1, 6)]
_PIXELS = 3 * 32 * 32
_TEXT = ("STRING", "UNICODE", "BYTES")


def prepare_images(files: Mapping[str, Path]) -> Content:
    """Images [n, 32, 32, 3] and labels, in the order of the files; a split that lacks a file is left out."""
    batches = {Path(name).stem: path for name, path in files.items()}
    splits = {"train": _TRAINING, "test": ["test_batch"]}
    here = {
        split: [batches[name] for name in names]
        for split, names in splits.items()
        if set(names) <= set(batches)
    }
    return Content(
        {},
        CLASSES,
        together=_arrays(here),
        counted={split: f"{split}_labels" for split in here},
    )


def read_binary(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Pixels [n, 3072] and labels [n] of a batch of the binary version.

    Raises:
        DataError: Its size is not that of whole images, or a label is none of the classes.
    """
    content = np.fromfile(path, np.uint8)
    if len(content) % (1 + _PIXELS):
        raise DataError(f"{path} does not consist of images of {_PIXELS} bytes and a label.")
    records = content.reshape(-1, 1 + _PIXELS)
    if (records[:, 0] >= len(CLASSES)).any():
        raise DataError(
            f"{path} has labels beyond the {len(CLASSES)} classes: it is not a batch of CIFAR-10."
        )
    return records[:, 1:], records[:, 0]


def read_pickled(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Pixels [n, 3072] and labels [n] of a batch of the Python version, without unpickling it.

    The pixels are the longest string in it; the labels are the whole numbers that follow the key "labels".

    Raises:
        DataError: It does not look like such a batch.
    """
    pixels, in_labels = b"", False
    labels: list[int] = []
    try:
        for opcode, argument, _ in pickletools.genops(path.read_bytes()):
            if any(kind in opcode.name for kind in _TEXT):
                text = argument.encode("latin-1") if isinstance(argument, str) else bytes(argument or b"")
                in_labels = text == b"labels"
                pixels = max(pixels, text, key=len)
            elif in_labels and "INT" in opcode.name and isinstance(argument, int):
                labels.append(argument)
    except (ValueError, UnicodeEncodeError) as error:
        raise DataError(f"{path} is not a batch of CIFAR-10: {error}.") from error
    if not labels or len(pixels) != _PIXELS * len(labels) or max(labels) >= len(CLASSES):
        raise DataError(f"{path} is not a batch of CIFAR-10: {len(labels):,} labels, {len(pixels):,} bytes.")
    return np.frombuffer(pixels, np.uint8).reshape(-1, _PIXELS), np.array(labels, np.uint8)


def _arrays(splits: Mapping[str, list[Path]]) -> Iterator[tuple[str, np.ndarray]]:
    for split, paths in splits.items():
        for path in paths:
            pixels, labels = read_binary(path) if path.suffix == ".bin" else read_pickled(path)
            yield f"{split}_images", pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
            yield f"{split}_labels", labels


_BINARY = tuple(SourceFile(f"{name}.bin", 30_730_000, "") for name in (*_TRAINING, "test_batch"))
_PYTHON = (
    SourceFile("data_batch_1", None, "md5:c99cafc152244af753f735de768cd75f"),
    SourceFile("data_batch_2", None, "md5:d4bba439e000b95fd0a9bffe97cbabec"),
    SourceFile("data_batch_3", None, "md5:54ebc095f3ab1f0389bbae665268c751"),
    SourceFile("data_batch_4", None, "md5:634d18415352ddfa80567beed471001a"),
    SourceFile("data_batch_5", None, "md5:482c414d41f54cd18b22e5b47cb7c3cb"),
    SourceFile("test_batch", None, "md5:40351d587109b95175f43aff81a1287e"),
)

CIFAR10 = Dataset(
    name="cifar10",
    title="CIFAR-10",
    files=_PYTHON,
    alternatives=(_BINARY,),
    sources=(
        Source(
            SourceFile(
                "cifar-10-python.tar.gz",
                170_498_071,
                "sha256:6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
            ),
            ("https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",),
            provides=tuple(file.name for file in _PYTHON),
        ),
        Source(
            SourceFile(
                "cifar-10-binary.tar.gz",
                170_052_171,
                "sha256:c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
            ),
            ("https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",),
            provides=tuple(file.name for file in _BINARY),
        ),
    ),
    forms=(
        Form(
            FORM,
            prepare_images,
            Expected({"train": 50_000, "test": 10_000}, distinct=10),
            unit="images",
            stand_in=stand_ins.images(32, 32, 3),
        ),
    ),
    licence="none stated",
    citation="Krizhevsky (2009), Learning Multiple Layers of Features from Tiny Images, Univ. of Toronto",
)
