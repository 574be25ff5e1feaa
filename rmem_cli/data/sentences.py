"""The sentences of a prepared text, one after the other, as a text that goes on for ever."""

from collections.abc import Collection

import numpy as np

from rmem_cli.data.prepared import Prepared
from rmem_cli.data.unwritten import Unwritten
from rmem_cli.errors import UsageError

_ENDS = frozenset(".!?")


class Sentences:
    """A split of a text without its short sentences, and without those that say certain things.

    Positions count the symbols of the sentences that are left, from the first of them on; behind the last
    sentence the first one follows again, so that any position has a symbol. A sentence ends with a symbol
    that is a full stop, an exclamation or a question mark, and with a line. Nothing but where sentences begin
    is held in memory.

    Args:
        corpus: The text.
        split: `train`, `valid` or `test`.
        shortest: Symbols that a sentence has at least.
        without: Sequences of symbols, of two or more each, that no sentence may have.

    Raises:
        UsageError: No sentence is left.
        DataError: The split is missing or damaged.
    """

    def __init__(
        self, corpus: Prepared, split: str, shortest: int, without: Collection[np.ndarray] = ()
    ) -> None:
        self._tokens = tokens = corpus.tokens(split)
        if isinstance(corpus, Unwritten):  # nobody knows where its sentences end, nor what they say
            ends, shortest, without = np.array([len(tokens)]), 0, ()
        else:
            ends = np.unique(np.append(np.flatnonzero(np.isin(tokens, _ends(corpus))) + 1, len(tokens)))
        starts = np.append(0, ends)[:-1]
        lengths = ends - starts
        left = lengths >= shortest
        left[np.searchsorted(ends, _places(tokens, without), side="right")] = False
        if not left.any():
            raise UsageError(
                f"{corpus.meta['name']} ({corpus.meta['form']}) has no sentence of {shortest} symbols or "
                f"more in {split}; lower task.shortest_sentence, or take another text"
            )
        self._starts = starts[left]  # in the text
        self._begins = np.append(0, np.cumsum(lengths[left]))  # among the sentences, and where all end

    def __len__(self) -> int:
        """How many sentences there are until they come again."""
        return len(self._starts)

    def begin(self, number: int) -> int:
        """The position of the first symbol of a sentence; numbers go on where the sentences come again."""
        lap, number = divmod(number, len(self))
        return int(lap * self._begins[-1] + self._begins[number])

    def first_from(self, position: int) -> int:
        """The number of the first sentence that begins at a position or behind it."""
        lap, position = divmod(position, int(self._begins[-1]))
        return lap * len(self) + int(np.searchsorted(self._begins, position))

    def symbols(self, positions: np.ndarray) -> np.ndarray:
        """The symbols at some positions `[n]`."""
        positions = positions % self._begins[-1]
        numbers = np.searchsorted(self._begins, positions, side="right") - 1
        symbols: np.ndarray = self._tokens[self._starts[numbers] + positions - self._begins[numbers]]
        return symbols


def _ends(corpus: Prepared) -> list[int]:
    """The symbols that end a sentence."""
    marks = [symbol for symbol, text in enumerate(corpus.vocabulary) if text in _ENDS]
    line = corpus.meta["end_of_line"]
    return marks if line is None else [*marks, line]


def _places(tokens: np.ndarray, sequences: Collection[np.ndarray]) -> np.ndarray:
    """Where one of some sequences begins in a text."""
    if not sequences:
        return np.empty(0, np.int64)
    pairs = tokens[:-1].astype(np.int64) << 32 | tokens[1:]
    beginnings = {int(each[0]) << 32 | int(each[1]) for each in sequences}
    places = np.flatnonzero(np.isin(pairs, list(beginnings)))
    wanted = {each.tobytes() for each in (np.asarray(each, tokens.dtype) for each in sequences)}
    lengths = {len(each) for each in sequences}
    return np.array(
        [
            place
            for place in places.tolist()
            if any(tokens[place : place + length].tobytes() in wanted for length in lengths)
        ],
        np.int64,
    )
