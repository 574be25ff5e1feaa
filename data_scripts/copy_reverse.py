"""The copy and reverse tasks of the Recurrent Memory Transformer: symbols, a separator, and the answer.

    copy:     s1 ... sL | s1 ... sL s1 ... sL        the last 2 L predictions count
    reverse:  s1 ... sL | sL ... s1                  the last L predictions count

A form is called by L. The short ones (24) draw from 10 symbols, the long ones from 8, as published.
Symbol 0 is not used, 1 is the separator. The same row may come twice.
"""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np

from rmem_cli.data.writer import Content

from .dataset import Dataset, Form
from .generated import CITATION, LICENCE, SEED, SIZES, expected, generated_content, independent_rows

SEPARATOR, FIRST = 1, 2
_SHORT, _SHORT_ALPHABET, _LONG_ALPHABET = 24, 10, 8


def copy_rows(random: np.random.Generator, count: int, *, length: int, alphabet: int) -> np.ndarray:
    """Rows [count, 3 length + 1]: the symbols, a separator, and the symbols twice."""
    symbols, separator = _draw(random, count, length, alphabet)
    return np.concatenate([symbols, separator, symbols, symbols], axis=1)


def reverse_rows(random: np.random.Generator, count: int, *, length: int, alphabet: int) -> np.ndarray:
    """Rows [count, 2 length + 1]: the symbols, a separator, and the symbols from the last to the first."""
    symbols, separator = _draw(random, count, length, alphabet)
    return np.concatenate([symbols, separator, symbols[:, ::-1]], axis=1)


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


def vocabulary(length: int) -> list[str]:
    """The text of each symbol: 12 of them for short rows, 10 for long ones."""
    return ["<unused>", "|", *map(str, range(_alphabet(length)))]


def _content(
    draw: Callable[..., np.ndarray],
    name: str,
    length: int,
    answer_length: int,
    seed: int,
    sizes: Mapping[str, int],
) -> Content:
    rows = independent_rows(
        partial(draw, length=length, alphabet=_alphabet(length)), seed, f"{name} {length}", sizes
    )
    return generated_content(rows, vocabulary(length), answer_length, seed)


def _alphabet(length: int) -> int:
    return _SHORT_ALPHABET if length <= _SHORT else _LONG_ALPHABET


def _draw(
    random: np.random.Generator, count: int, length: int, alphabet: int
) -> tuple[np.ndarray, np.ndarray]:
    symbols = random.integers(FIRST, FIRST + alphabet, size=(count, length), dtype=np.uint8)
    return symbols, np.full((count, 1), SEPARATOR, np.uint8)


def _form(prepare: Callable[..., Content], length: int) -> Form:
    return Form(str(length), partial(prepare, length=length), expected(vocabulary(length)), unit="examples")


COPY = Dataset(
    name="copy",
    title="Copy",
    files=(),
    sources=(),
    forms=tuple(_form(prepare_copy, length) for length in (24, 120, 240, 360)),
    licence=LICENCE,
    citation=CITATION,
)

REVERSE = Dataset(
    name="reverse",
    title="Reverse",
    files=(),
    sources=(),
    forms=tuple(_form(prepare_reverse, length) for length in (24, 120)),
    licence=LICENCE,
    citation=CITATION,
)
