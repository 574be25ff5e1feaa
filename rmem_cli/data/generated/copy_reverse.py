"""The copy and reverse tasks of the Recurrent Memory Transformer: symbols, a separator, and the answer.

    copy:     s1 ... sL | s1 ... sL s1 ... sL        the last 2 L predictions count
    reverse:  s1 ... sL | sL ... s1                  the last L predictions count

Symbol 0 is not used, 1 is the separator.
"""

import numpy as np

SEPARATOR, FIRST = 1, 2


def copy_rows(random: np.random.Generator, count: int, *, length: int, alphabet: int) -> np.ndarray:
    """Rows [count, 3 length + 1]: the symbols, a separator, and the symbols twice."""
    symbols, separator = _draw(random, count, length, alphabet)
    return np.concatenate([symbols, separator, symbols, symbols], axis=1)


def reverse_rows(random: np.random.Generator, count: int, *, length: int, alphabet: int) -> np.ndarray:
    """Rows [count, 2 length + 1]: the symbols, a separator, and the symbols from the last to the first."""
    symbols, separator = _draw(random, count, length, alphabet)
    return np.concatenate([symbols, separator, symbols[:, ::-1]], axis=1)


def vocabulary(alphabet: int) -> list[str]:
    """The text of each symbol."""
    return ["<unused>", "|", *map(str, range(alphabet))]


def _draw(
    random: np.random.Generator, count: int, length: int, alphabet: int
) -> tuple[np.ndarray, np.ndarray]:
    symbols = random.integers(FIRST, FIRST + alphabet, size=(count, length), dtype=np.uint8)
    return symbols, np.full((count, 1), SEPARATOR, np.uint8)
