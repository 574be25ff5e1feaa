"""Reading the generated sets (`copy`, `reverse`, `associative_retrieval`, `quadratic`).

Each form holds, for each split (`train`, `valid`, `test`), an array [examples, length + 1] of symbols. A
model reads all but the last symbol of a row and predicts all but the first; only the last `answer_length`
predictions count. The seed and the answer's length stand in `meta.json` under `details`.
"""

from dataclasses import dataclass

import numpy as np

from rmem_cli.data.prepared import Prepared, open_prepared


@dataclass(frozen=True)
class Algorithmic:
    """A generated set.

    Args:
        prepared: The set, opened.
    """

    prepared: Prepared

    @property
    def vocabulary(self) -> list[str]:
        """The text of each symbol."""
        return self.prepared.vocabulary

    @property
    def length(self) -> int:
        """Symbols that the model reads."""
        return int(self.prepared.array("train").shape[1]) - 1

    @property
    def answer_length(self) -> int:
        """How many predictions count: the last ones.

        Raises:
            DataError: The set does not say so, or says what its rows have no room for.
        """
        known = self.prepared.details.get("answer_length")
        if not isinstance(known, int) or not 1 <= known <= self.length:
            raise self.prepared.damaged(
                f"its answer_length is {known!r}, and rows have {self.length} symbols"
            )
        return known

    def inputs(self, split: str) -> np.ndarray:
        """[examples, length] of unsigned integers: what the model reads; memory-mapped."""
        return self.prepared.tokens(split)[:, :-1]

    def targets(self, split: str) -> np.ndarray:
        """[examples, length]: what it is to predict at each position; memory-mapped."""
        return self.prepared.tokens(split)[:, 1:]


def open_algorithmic(name: str, form: str) -> Algorithmic:
    """Open a generated set.

    Args:
        name: "copy", "reverse", "associative_retrieval" or "quadratic".
        form: Which of its forms, such as "24" (the number of symbols to copy).

    Raises:
        DataError: It is not there, or damaged; the message names the command that helps.
    """
    return Algorithmic(open_prepared(name, form))
