"""Where the documents of a text begin: the articles of WikiText, word by word."""

import numpy as np

from rmem_cli.data.prepared import Prepared

MARK = "="
"""The word on both sides of a title; a heading within an article has two or more."""


def document_starts(text: Prepared, split: str) -> np.ndarray:
    """Positions `[documents]` of the first symbol of each document of a split, in order.

    A document begins with its title, a line of its own between empty lines:

        <eos> = Valkyria Chronicles III = <eos> <eos>

    What stands before the first title belongs to none. Lines of text are asked for the empty lines around
    them because formulas and legends have such lines, too: with them, WikiText has as many documents as its
    authors count articles. A title may have marks inside, also as its first or its last word.

    Args:
        text: A prepared text of words, whose lines end with a symbol of their own.
        split: "train", "valid" or "test".

    Raises:
        UsageError: There is no such split.
        DataError: It was missing when the data was prepared, or is damaged.
    """
    if MARK not in text.vocabulary:
        return np.empty(0, np.int64)
    tokens = text.tokens(split)
    ends = np.flatnonzero(tokens == text.meta["end_of_line"])
    starts = np.append(0, ends + 1)[:-1]
    words = ends - starts
    empty = words == 0
    # What lies before and behind the text is as good as an empty line.
    alone = np.append(True, empty)[:-1] & np.append(empty, True)[1:]
    lines = np.flatnonzero(alone & (words >= 3))
    first, last = starts[lines], ends[lines] - 1
    mark = text.vocabulary.index(MARK)
    marked = (tokens[first] == mark) & (tokens[last] == mark)
    doubly = (tokens[first + 1] == mark) & (tokens[last - 1] == mark)
    titles: np.ndarray = first[marked & ~doubly]
    return titles
