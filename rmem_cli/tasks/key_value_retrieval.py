"""Associative retrieval, as the ARMT paper defines it: remember, and rewrite."""

from functools import partial

import numpy as np
from torch import Tensor

from rmem_cli.models.batch import Batch
from rmem_cli.seeding import derive_seed
from rmem_cli.tasks.algorithmic import AlgorithmicTask
from rmem_cli.tasks.key_value_config import DIGITS, KeyValueRetrievalSettings

SEPARATOR, ASK, END = range(DIGITS, DIGITS + 3)


class KeyValueRetrieval(AlgorithmicTask):
    """Read keys with their values and one of the keys again; name its value.

    With three pairs of one digit each (digits written 0 to f, `:` between key and value, `?` in its place
    where a value is asked for, `.` at the end):

        remember   inputs    3 : c .  7 : 0 .  a : 0 .  7 ? 0
                   targets                                0 .
        rewrite    inputs    3 : c .  7 : 0 .  3 : 1 .  3 ? 1
                   targets                                1 .

    Only the predictions of the value and the end behind it count, and for accuracy those of the value. A core
    with segments of `pair_length` reads one pair in each.

    To remember, the keys of an example differ; to rewrite, each is drawn from all, so that some come again.
    The key asked for is any of those that occurred, each as likely, and its value the last one. Values are
    independent.

    Args:
        settings: All options.

    Source: Rodkin et al. 2024, section 4, and the code published with it, whose training batches have
    varied numbers of pairs (`vary_n_segments`).
    """

    def __init__(self, settings: KeyValueRetrievalSettings) -> None:
        draw_rows = partial(key_value_rows, settings=settings)
        super().__init__(draw_rows, symbols=END + 1, answer_length=settings.value_size + 1)
        self.settings = settings

    def training_batch(self, step: int, batch_size: int, seed: int) -> Batch:
        """See `Task.training_batch`."""
        if not self.settings.vary_pairs:
            return super().training_batch(step, batch_size, seed)
        random = np.random.default_rng(derive_seed(seed, "number of pairs", step))
        pairs = int(random.integers(1, self.settings.pairs + 1))
        fewer = self.settings.model_copy(update={"pairs": pairs, "vary_pairs": False})
        return KeyValueRetrieval(fewer).training_batch(step, batch_size, seed)

    def told_in(self, batch: Batch) -> int:
        """See `Task.told_in`; the pairs of all rows."""
        rows, steps = batch.inputs.shape
        return rows * ((steps + 1) // self.settings.pair_length - 1)

    def counted(self, targets: Tensor) -> Tensor:
        """See `AlgorithmicTask.counted`; the digits of the value."""
        return targets < DIGITS


def key_value_rows(
    random: np.random.Generator, count: int, *, settings: KeyValueRetrievalSettings
) -> np.ndarray:
    """Rows `[count, (pairs + 1) pair_length]`: the pairs, and the one that is asked for.

    Args:
        random: What they are drawn from.
        count: How many rows.
        settings: Of the task.
    """
    shape = count, settings.pairs
    if settings.rewrite:
        keys = random.integers(settings.keys, size=shape)
    else:
        keys = np.argsort(random.random((count, settings.keys)), axis=1)[:, : settings.pairs]
    values = random.integers(settings.values, size=shape)
    chosen = np.argmax(random.random(shape) * _is_last(keys), axis=1)[:, None]
    asked, answer = (np.take_along_axis(each, chosen, axis=1) for each in (keys, values))
    parts = [_spelled(keys, SEPARATOR, values, settings), _spelled(asked, ASK, answer, settings)]
    return np.concatenate(parts, axis=1).astype(np.uint8)


def _is_last(keys: np.ndarray) -> np.ndarray:
    """Whether each key `[count, pairs]` does not come again in its row."""
    again = np.triu(keys[:, :, None] == keys[:, None, :], k=1)  # [count, pairs, pairs]
    last: np.ndarray = ~again.any(axis=2)
    return last


def _spelled(
    keys: np.ndarray, mark: int, values: np.ndarray, settings: KeyValueRetrievalSettings
) -> np.ndarray:
    """Keys and values `[count, pairs]` as symbols, `[count, pairs * pair_length]`."""
    marks, ends = (np.full((*keys.shape, 1), symbol) for symbol in (mark, END))
    digits = _digits(keys, settings.key_size), marks, _digits(values, settings.value_size), ends
    return np.concatenate(digits, axis=2).reshape(len(keys), -1)


def _digits(numbers: np.ndarray, size: int) -> np.ndarray:
    """`[..., size]`, the lowest digit first."""
    digits: np.ndarray = numbers[..., None] // DIGITS ** np.arange(size) % DIGITS
    return digits
