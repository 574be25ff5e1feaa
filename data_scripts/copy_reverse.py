"""The copy and reverse tasks of the Recurrent Memory Transformer, as their examples were published.

What a row is: `rmem_cli.data.generated.copy_reverse`. A form is called by the number of symbols to copy; the
short ones (24) draw from 10 symbols, the long ones from 8. The same row may come twice.
"""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np

from rmem_cli.data.generated.copy_reverse import copy_rows, reverse_rows, vocabulary
from rmem_cli.data.writer import Content

from .dataset import Dataset, Form
from .generated import CITATION, LICENCE, SEED, SIZES, generated_content, generated_form, independent_rows

_SHORT, _SHORT_ALPHABET, _LONG_ALPHABET = 24, 10, 8


def prepare_copy(
    files: Mapping[str, Path], *, length: int, seed: int = SEED, sizes: Mapping[str, int] = SIZES
) -> Content:
    """The copy task for `length` symbols; there are no files."""
    del files
    return _content(copy_rows, "copy", length, 2 * length, seed, sizes)


def prepare_reverse(
    files: Mapping[str, Path], *, length: int, seed: int = SEED, sizes: Mapping[str, int] = SIZES
) -> Content:
    """The reverse task for `length` symbols; there are no files."""
    del files
    return _content(reverse_rows, "reverse", length, length, seed, sizes)


def _content(
    draw: Callable[..., np.ndarray],
    name: str,
    length: int,
    answer_length: int,
    seed: int,
    sizes: Mapping[str, int],
) -> Content:
    alphabet = _alphabet(length)
    rows = independent_rows(partial(draw, length=length, alphabet=alphabet), seed, f"{name} {length}", sizes)
    return generated_content(rows, vocabulary(alphabet), answer_length, seed)


def _alphabet(length: int) -> int:
    return _SHORT_ALPHABET if length <= _SHORT else _LONG_ALPHABET


def _form(prepare: Callable[..., Content], draw: Callable[..., np.ndarray], length: int) -> Form:
    alphabet = _alphabet(length)
    return generated_form(
        str(length),
        partial(prepare, length=length),
        vocabulary(alphabet),
        partial(draw, length=length, alphabet=alphabet),
    )


COPY = Dataset(
    name="copy",
    title="Copy",
    files=(),
    sources=(),
    forms=tuple(_form(prepare_copy, copy_rows, length) for length in (24, 120, 240, 360)),
    licence=LICENCE,
    citation=CITATION,
)

REVERSE = Dataset(
    name="reverse",
    title="Reverse",
    files=(),
    sources=(),
    forms=tuple(_form(prepare_reverse, reverse_rows, length) for length in (24, 120)),
    licence=LICENCE,
    citation=CITATION,
)
