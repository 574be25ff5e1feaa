"""MNIST: 28 x 28 images of handwritten digits, from the official IDX files, gzipped or not."""

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import numpy as np

from rmem_cli.data.images import FORM
from rmem_cli.data.writer import Content, Expected
from rmem_cli.errors import DataError

from . import stand_ins
from .dataset import Dataset, Form, Source, SourceFile

_PREFIX = {"train": "train", "test": "t10k"}
_UNSIGNED_BYTE = 0x08


def prepare_images(files: Mapping[str, Path]) -> Content:
    """Images and labels; a split that lacks one of them is left out."""
    arrays = {}
    for split, prefix in _PREFIX.items():
        images, labels = f"{prefix}-images-idx3-ubyte", f"{prefix}-labels-idx1-ubyte"
        if images in files and labels in files:
            arrays[f"{split}_images"] = [read_idx(files[images])]
            arrays[f"{split}_labels"] = [read_idx(files[labels])]
    counted = {split: f"{split}_labels" for split in _PREFIX if f"{split}_labels" in arrays}
    return Content(arrays, [str(digit) for digit in range(10)], counted=counted)


def read_idx(path: Path) -> np.ndarray:
    """An IDX file: two zero bytes, the type, the number of dimensions, each size (4 bytes), the values.

    Raises:
        DataError: It is not such a file of unsigned bytes.
    """
    content = path.read_bytes()
    if content[:3] != bytes([0, 0, _UNSIGNED_BYTE]):
        raise DataError(f"{path} is not an IDX file of unsigned bytes.")
    values = 4 + 4 * content[3]
    shape = [int.from_bytes(content[start:stop], "big") for start, stop in pairwise(range(4, values + 1, 4))]
    if len(content) - values != np.prod(shape, dtype=np.int64):
        raise DataError(f"{path} holds {len(content) - values:,} bytes, not the {shape} it declares.")
    return np.frombuffer(content, np.uint8, offset=values).reshape(shape)


def _file(name: str, size: int, sha256: str) -> SourceFile:
    """One unpacked file; many copies have a dot in place of the second hyphen."""
    return SourceFile(name, size, f"sha256:{sha256}", aliases=(name.replace("-idx", ".idx"),))


def _source(name: str, size: int, sha256: str) -> Source:
    archive = f"{name}.gz"
    return Source(
        SourceFile(archive, size, f"sha256:{sha256}"),
        (
            f"https://ossci-datasets.s3.amazonaws.com/mnist/{archive}",
            f"https://storage.googleapis.com/cvdf-datasets/mnist/{archive}",
            f"http://yann.lecun.com/exdb/mnist/{archive}",
        ),
        provides=(name,),
    )


MNIST = Dataset(
    name="mnist",
    title="MNIST",
    files=(
        _file(
            "train-images-idx3-ubyte",
            47_040_016,
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        ),
        _file(
            "train-labels-idx1-ubyte",
            60_008,
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        ),
        _file(
            "t10k-images-idx3-ubyte",
            7_840_016,
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        ),
        _file(
            "t10k-labels-idx1-ubyte",
            10_008,
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        ),
    ),
    sources=(
        _source(
            "train-images-idx3-ubyte",
            9_912_422,
            "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        ),
        _source(
            "train-labels-idx1-ubyte",
            28_881,
            "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        ),
        _source(
            "t10k-images-idx3-ubyte",
            1_648_877,
            "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        ),
        _source(
            "t10k-labels-idx1-ubyte",
            4_542,
            "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        ),
    ),
    forms=(
        Form(
            FORM,
            prepare_images,
            Expected({"train": 60_000, "test": 10_000}, distinct=10),
            unit="images",
            stand_in=stand_ins.images(28, 28),
        ),
    ),
    licence="none stated by the source; CC BY-SA 3.0 is often quoted",
    citation=(
        "LeCun, Bottou, Bengio, Haffner (1998), Gradient-Based Learning Applied to Document Recognition, "
        "Proceedings of the IEEE 86(11)"
    ),
)
