"""Associative retrieval of the Recurrent Memory Transformer: four keys with values, then one of the keys.

    k1 v1 k2 v2 k3 v3 k4 v4 kq | v        only the last prediction counts: the value of the key kq

Values are the digits, symbols 0 to 9; 10 is the separator; keys are symbols 11 to 36. The keys of a row
differ from each other, and so do its values; kq is one of the four, each as likely.
"""

from string import ascii_lowercase

import numpy as np

PAIRS = 4
VALUES, SEPARATOR, FIRST_KEY, KEYS = 10, 10, 11, 26
VOCABULARY = [*map(str, range(VALUES)), "|", *ascii_lowercase]


def retrieval_rows(random: np.random.Generator, count: int, *, pairs: int = PAIRS) -> np.ndarray:
    """Rows [count, 2 pairs + 3]: keys and values, the asked key, the separator, the value."""
    keys = FIRST_KEY + _different(random, count, KEYS)[:, :pairs]
    values = _different(random, count, VALUES)[:, :pairs]
    asked = random.integers(pairs, size=(count, 1))
    told = np.stack([keys, values], axis=2).reshape(count, 2 * pairs)
    query, answer = (np.take_along_axis(of, asked, axis=1) for of in (keys, values))
    separator = np.full((count, 1), SEPARATOR)
    return np.concatenate([told, query, separator, answer], axis=1).astype(np.uint8)


def _different(random: np.random.Generator, count: int, choices: int) -> np.ndarray:
    """[count, choices] numbers below `choices`, all of them in each row, every order as likely."""
    return np.argsort(random.random((count, choices)), axis=1)
