"""Made-up articles whose summaries are their rare words, in order: what is said must be copied.

    article   w3 n519 n27 w8 n40021 w0 w8 w14 n77 w3 n519 n1 w2     summary   n519 n27 n40021 n77 n519 n1

The other words are few, and a vocabulary of them and the special symbols knows no rare one.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from rmem_cli.data.pair_records import Pair, pair_content
from rmem_cli.data.pairs import FORM
from rmem_cli.data.words import SPLIT_ALREADY
from rmem_cli.data.writer import Content, Expected

from .dataset import Dataset, Form
from .generated import LICENCE, SEED, generator
from .words import words_form

SIZES = {"train": 10_000, "valid": 500, "test": 1_000}
KNOWN = tuple(f"w{number}" for number in range(20))
_RARE, _UNKNOWN, _OTHERS = 100_000, 6, 6  # rare words that there are; words of an article


def prepare_pairs(
    files: Mapping[str, Path], *, seed: int = SEED, sizes: Mapping[str, int] = SIZES
) -> Content:
    """Articles and summaries; there are no files."""
    del files
    return pair_content({split: _pairs(split, size, seed) for split, size in sizes.items()})


def _pairs(split: str, size: int, seed: int) -> Iterator[Pair]:
    random = generator(seed, "unknown_words", split)
    for number in range(size):
        words = [f"n{each}" for each in random.integers(_RARE, size=_UNKNOWN).tolist()]
        others = [KNOWN[each] for each in random.integers(len(KNOWN), size=_OTHERS).tolist()]
        rare = iter(words)
        places = random.permutation(_UNKNOWN + _OTHERS) < _UNKNOWN
        article = [next(rare) if of_rare else others.pop() for of_rare in places.tolist()]
        yield Pair(f"{split} {number}", " ".join(article), " ".join(words))


UNKNOWN_WORDS = Dataset(
    name="unknown_words",
    title="Articles whose rare words are their summaries",
    files=(),
    sources=(),
    forms=(Form(FORM, prepare_pairs, Expected(SIZES), unit="pairs"),),
    derived=(words_form(SPLIT_ALREADY, Expected(SIZES)),),
    licence=LICENCE,
    citation="none",
)
