"""The unigram model: each symbol as likely as it is common in the training text, whatever came before."""

from functools import lru_cache

import numpy as np

from rmem_cli.data.prepared import Prepared, open_prepared


def unigram(name: str, form: str, split: str) -> tuple[float, float] | None:
    """Loss in nats per symbol, and accuracy, that it reaches on a split of a prepared text.

    None where the split has a symbol that the training text has not: such a model finds it impossible.

    Raises:
        DataError: The data set is not there, damaged, or without this split.
    """
    text = open_prepared(name, form)
    known, asked = (_counts(_Text(text), each) for each in ("train", split))
    there = asked > 0
    if not known[there].all():
        return None
    losses = np.log(known.sum()) - np.log(known[there])
    return float(losses @ asked[there] / asked.sum()), float(asked[known.argmax()] / asked.sum())


class _Text:
    """A prepared text that equals another of the same content."""

    def __init__(self, prepared: Prepared) -> None:
        self.prepared = prepared

    def __hash__(self) -> int:
        return hash(self.prepared.data_hash)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Text) and other.prepared.data_hash == self.prepared.data_hash


@lru_cache(maxsize=8)
def _counts(text: _Text, split: str) -> np.ndarray:
    """How often each symbol stands in a split."""
    return np.bincount(text.prepared.tokens(split), minlength=len(text.prepared.vocabulary))
