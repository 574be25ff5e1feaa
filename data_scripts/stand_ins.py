"""What stands for the content of a form in a plan, while the form is not here: its size, all of it zeros."""

from collections.abc import Callable

import numpy as np

from rmem_cli.data.unwritten import zeros
from rmem_cli.data.writer import Content, Expected

StandIn = Callable[[Expected], Content]
"""What must come out of a preparation -> as much of it."""


def text(expected: Expected, **unverified: int) -> Content:
    """Symbols of each split.

    Args:
        expected: Symbols in each split, and how many of them differ.
        **unverified: Symbols in further splits, whose number no preparation is held to.
    """
    counts = {**expected.counts, **unverified}
    return Content({split: [zeros(count)] for split, count in counts.items()}, symbols(expected))


def images(*shape: int) -> StandIn:
    """Images of a shape, with their labels."""

    def content(expected: Expected) -> Content:
        arrays = {f"{split}_images": [zeros(count, *shape)] for split, count in expected.counts.items()}
        arrays |= {f"{split}_labels": [zeros(count)] for split, count in expected.counts.items()}
        counted = {split: f"{split}_labels" for split in expected.counts}
        return Content(arrays, symbols(expected), counted=counted)

    return content


def rows(draw: Callable[[np.random.Generator, int], np.ndarray]) -> StandIn:
    """Rows as long as the one that is drawn."""

    def content(expected: Expected) -> Content:
        _, length = draw(np.random.default_rng(0), 1).shape
        arrays = {split: [zeros(count, length)] for split, count in expected.counts.items()}
        return Content(arrays, symbols(expected))

    return content


def symbols(expected: Expected) -> list[str]:
    """As many different texts as there are symbols."""
    return [str(symbol) for symbol in range(expected.distinct or 0)]
