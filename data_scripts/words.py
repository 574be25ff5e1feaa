"""The form `words` of articles with summaries (`rmem_cli.data.articles`), made of the form `pairs`."""

from dataclasses import asdict
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np
from rich.console import Console

from rmem_cli.data.articles import FORM, Splitting
from rmem_cli.data.pairs import FORM as PAIRS
from rmem_cli.data.prepared import Prepared
from rmem_cli.data.texts import text_chunks
from rmem_cli.data.unwritten import zeros
from rmem_cli.data.words import prepare_words
from rmem_cli.data.writer import Content, Expected

from .dataset import Derived

_SOME, _LONG, _SUMMARY, _MANY = 500, 1000, 200, 200_000  # articles of a plan, their words, all words


def words_form(splitting: Splitting, expected: Expected | None = None) -> Derived:
    """The form `words` of a data set of pairs.

    Args:
        splitting: How its texts become words.
        expected: Articles of each split, where no one lacks its text or its summary.
    """

    def prepare(pairs: Prepared, work: Path, console: Console) -> Content:
        return prepare_words(pairs, work, console, splitting)

    stand_in = partial(_long_articles, splitting)
    return Derived(FORM, PAIRS, prepare, unit="articles", stand_in=stand_in, expected=expected)


def _long_articles(splitting: Splitting, expected: Expected) -> Content:
    """Some articles that fill what is read of them, of more words than a vocabulary has."""
    arrays: dict[str, list[np.ndarray]] = {}
    for split in expected.counts:
        arrays[f"{split}_source"] = [np.arange(_SOME * _LONG, dtype=np.uint32) % _MANY]
        arrays[f"{split}_source_words"] = [np.full(_SOME, _LONG, np.uint32)]
        arrays[f"{split}_reference"] = [zeros(_SOME * _SUMMARY)]
        arrays[f"{split}_reference_words"] = [np.full(_SOME, _SUMMARY, np.uint32)]
        arrays[f"{split}_reference_sentences"] = [np.ones(_SOME, np.uint32)]
    texts = [text_chunks("word", map(str, range(_MANY)))]
    texts += [text_chunks(f"{split}_id", [""] * _SOME) for split in expected.counts]
    counted = {split: f"{split}_source_words" for split in expected.counts}
    return Content(arrays, [], together=chain(*texts), counted=counted, details=asdict(splitting))
