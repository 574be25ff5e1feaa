"""Language modelling over a whole text, with the state carried from batch to batch."""

from collections.abc import Iterator

import numpy as np
import torch

from rmem_cli.data.documents import document_starts
from rmem_cli.data.own_text import open_own_text
from rmem_cli.data.prepared import Prepared, open_prepared
from rmem_cli.data.task_tokenizers import TextTokenizer
from rmem_cli.errors import UsageError
from rmem_cli.models.batch import Batch
from rmem_cli.recipe.schema import Drawn
from rmem_cli.tasks.base import Task
from rmem_cli.tasks.text_config import LanguageModelSettings


class LanguageModel(Task):
    """Predict each symbol of a text from all before it.

    A text is cut into as many columns as the batch has rows, which are read side by side, `segment_length`
    symbols at a time; the state goes on from one batch to the next. The symbol before the first one is taken
    to be an end of line, so that every symbol of the text is predicted.

    In training the columns have equal length, the state starts afresh with each pass over the text, and what
    is left over at the end (less than one batch) is not read. In evaluation every symbol counts exactly
    once, whatever the batch size and segment length; each column starts with a fresh state, so that a batch
    size of one gives the exact value for the whole text.

    Args:
        settings: All options. Where the state is reset at documents, the first symbol of each is predicted
            from an end of line alone, like that of the text.

    Raises:
        DataError: The text is missing or damaged.
        UsageError: A part of a text of one's own is shorter than a segment.

    Source: Dangovski et al. 2017 (arXiv v1), section 4.4; the published code evaluates in the same way, but
    leaves out the end of the text that does not fill a segment. Gu et al. 2020, appendix D, reset at
    articles.
    """

    carries_state = True

    def __init__(self, settings: LanguageModelSettings) -> None:
        self.text = _opened(settings)
        self.segment_length = settings.segment_length
        self.carried = settings.carried
        self.reset_at_documents = settings.reset_at_documents
        self._documents: dict[str, np.ndarray] = {}
        self.symbols = self.classes = len(self.text.vocabulary)

    @property
    def tokenizer(self) -> TextTokenizer:
        """See `Task.tokenizer`."""
        return TextTokenizer.of(self.text)

    @property
    def first_symbol(self) -> int:
        """What is read before the first symbol of a text: an end of line, or symbol 0 if there is none."""
        return self.text.meta["end_of_line"] or 0

    def steps_per_epoch(self, batch_size: int) -> int:
        """Training steps of one pass over the text.

        Raises:
            UsageError: The text is too short for one batch.
        """
        symbols = len(self.text.tokens("train"))
        steps = symbols // batch_size // self.segment_length
        if steps == 0:
            raise UsageError(
                f"the training text has {symbols:,} symbols, which do not fill one batch of {batch_size:,} "
                f"columns of {self.segment_length:,}; lower train.batch_size or task.segment_length"
            )
        return steps

    def training_batch(self, step: int, batch_size: int, seed: int) -> Batch:
        """See `Task.training_batch`; the order of the text does not depend on the seed."""
        del seed
        tokens = self.text.tokens("train")
        step_of_epoch = step % self.steps_per_epoch(batch_size)
        column_length = len(tokens) // batch_size
        starts = np.arange(batch_size) * column_length + step_of_epoch * self.segment_length
        fresh = torch.full((batch_size,), step_of_epoch == 0 or not self.carried)
        return self._batch("train", tokens, starts, self.segment_length, fresh)

    def evaluation_batches(
        self, split: str, examples: int | None, batch_size: int, seed: int, drawn: Drawn = "by_batch"
    ) -> Iterator[Batch]:
        """See `Task.evaluation_batches`; `examples` counts symbols from the beginning of the split."""
        del drawn, seed
        tokens = self.text.tokens(split)[:examples]
        columns = min(batch_size, len(tokens))
        column_length = -(-len(tokens) // columns)
        starts = np.arange(columns) * column_length
        for offset in range(0, column_length, self.segment_length):
            length = min(self.segment_length, column_length - offset)
            fresh = torch.full((columns,), offset == 0 or not self.carried)
            yield self._batch(split, tokens, starts + offset, length, fresh)

    def examples_in(self, batch: Batch) -> int:
        """Symbols that count."""
        return int(batch.weight.sum())

    def _batch(
        self, split: str, tokens: np.ndarray, starts: np.ndarray, length: int, fresh: torch.Tensor
    ) -> Batch:
        """Symbols `start` to `start + length` of each column; those beyond the text have no weight."""
        positions = starts[:, None] + np.arange(-1, length)
        inside = positions < len(tokens)
        symbols = tokens[np.clip(positions, 0, len(tokens) - 1)].astype(np.int64)
        symbols[positions < 0] = self.first_symbol
        window = torch.from_numpy(symbols)
        weight = torch.from_numpy(inside[:, 1:].astype(np.float32))
        reset = self._reset(split, positions[:, 1:])
        return Batch(window[:, :-1], window[:, 1:], weight, fresh, reset=reset)

    def _reset(self, split: str, positions: np.ndarray) -> torch.Tensor | None:
        """Whether symbols at positions `[columns, length]` of a split begin documents; None if none does."""
        if not self.reset_at_documents:
            return None
        if split not in self._documents:
            self._documents[split] = document_starts(self.text, split)
        begins = np.isin(positions, self._documents[split])
        return torch.from_numpy(begins) if begins.any() else None


def _opened(settings: LanguageModelSettings) -> Prepared:
    if settings.text is None:
        [(name, form)] = settings.data_sets()
        return open_prepared(name, form)
    text = open_own_text(settings.text)
    for split in text.splits:
        symbols = len(text.tokens(split))
        if symbols < settings.segment_length:
            path = settings.text.files.get(split, settings.text.file)
            raise UsageError(
                f"{path} has {symbols:,} symbols for {split}, fewer than a segment of "
                f"{settings.segment_length:,}; give more text, or lower task.segment_length"
            )
    return text
