"""Documents to be classified by reading them segment by segment."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import chain
from typing import NamedTuple

import numpy as np
import torch

from rmem_cli.data.hyperpartisan import Hyperpartisan, open_hyperpartisan
from rmem_cli.data.own_documents import LabelledDocuments, open_own_documents
from rmem_cli.data.pretrained import open_tokenizer
from rmem_cli.data.task_tokenizers import TextTokenizer
from rmem_cli.errors import UsageError
from rmem_cli.models.batch import Batch
from rmem_cli.recipe.own_files import OwnDocuments
from rmem_cli.recipe.schema import Drawn
from rmem_cli.seeding import generator
from rmem_cli.tasks.base import Task
from rmem_cli.tasks.like_length import too_few
from rmem_cli.tasks.text_config import Alignment, DocumentClassificationSettings

_CLASSES = ["not hyperpartisan", "hyperpartisan"]


class DocumentClassification(Task):
    """Read a document segment by segment, and name its class at the last step of its last segment.

    With segments of 4, a document of 6 symbols and its end (`.`) is read in two, and `x` counts for nothing,
    as the whole second segment of a shorter document in the same batch:

        overlapping   inputs   5 2 8 1 | 1 3 6 .        7 9 . x | x x x x
                      target                   1            0
        left                   5 2 8 1 | 3 6 . x        7 9 . x | x x x x
        right                  5 2 8 x | 1 3 6 .        7 9 . x | x x x x
        center                 5 2 8 1 | 3 6 . x        7 9 . x | x x x x

    A core has segments of the same length. Documents of more segments are cut off. Each pass over the
    training documents is in an order of its own, a function of the seed and the number of the pass; those
    that do not fill a batch are left out of it.

    Args:
        settings: All options.

    Raises:
        DataError: The documents, or the tokenizer of the backbone, are missing or damaged.
    """

    def __init__(self, settings: DocumentClassificationSettings) -> None:
        self.settings = settings
        read = _hyperpartisan(settings) if settings.documents is None else _own(settings.documents, settings)
        self.symbols, self._class_names, self.documents, self.rows = read[:4]
        self.classes = len(self._class_names)
        self.labels = torch.from_numpy(read.labels.astype(np.int64))

    @property
    def tokenizer(self) -> TextTokenizer | None:
        """See `Task.tokenizer`; a backbone has its own."""
        settings = self.settings
        if settings.backbone is not None:
            return None
        if settings.documents is not None:
            return _own_tokenizer(settings.documents)
        [(name, form)] = settings.data_sets()
        return TextTokenizer.of_pieces(name, open_hyperpartisan(form).tokenizer(settings.fold))

    @property
    def class_names(self) -> list[str]:
        """See `Task.class_names`."""
        return self._class_names

    def steps_per_epoch(self, batch_size: int) -> int:
        """Training steps of one pass over the documents.

        Raises:
            UsageError: There are not enough documents for one batch.
        """
        documents = len(self.rows["train"])
        if documents < batch_size:
            raise too_few(documents, "documents", batch_size)
        return documents // batch_size

    def training_batch(self, step: int, batch_size: int, seed: int) -> Batch:
        """See `Task.training_batch`."""
        epoch, step_of_epoch = divmod(step, self.steps_per_epoch(batch_size))
        rows = self.rows["train"]
        order = torch.randperm(len(rows), generator=generator(seed, "documents", "order", epoch))
        rows = rows[order[step_of_epoch * batch_size :][:batch_size].numpy()]
        return self._batch(rows, self._most_segments(step, seed))

    def evaluation_batches(
        self, split: str, examples: int | None, batch_size: int, seed: int, drawn: Drawn = "by_batch"
    ) -> Iterator[Batch]:
        """See `Task.evaluation_batches`; the first documents of the split, in the order of the data set.

        Raises:
            UsageError: The split has no documents.
        """
        del drawn, seed
        rows = self.rows[split][:examples]
        if not len(rows):
            raise UsageError(f"there are no documents in the split {split!r}; task.whole_fold leaves none")
        for start in range(0, len(rows), batch_size):
            yield self._batch(rows[start : start + batch_size], self.settings.segments)

    def _most_segments(self, step: int, seed: int) -> int:
        """How many segments of a document are read in a training step."""
        most = self.settings.segments
        if not self.settings.vary_segments:
            return most
        return int(torch.randint(1, most + 1, (), generator=generator(seed, "number of segments", step)))

    def _batch(self, rows: np.ndarray, segments: int) -> Batch:
        length, alignment = self.settings.segment_length, self.settings.alignment
        read = [in_segments(self.documents[row], length, segments, alignment) for row in rows]
        ends = torch.tensor([(len(each) - 1) * length + len(each[-1]) for each in read])
        steps = torch.arange(int(ends.max()))
        inputs = torch.zeros(len(read), len(steps), dtype=torch.long)
        present = torch.zeros(inputs.shape, dtype=torch.bool)
        for row, each in enumerate(read):
            for segment, symbols in enumerate(each):
                places = slice(segment * length, segment * length + len(symbols))
                inputs[row, places], present[row, places] = torch.from_numpy(symbols), True
        last = steps == ends[:, None] - 1
        targets = last * self.labels[torch.from_numpy(rows)][:, None]
        fresh = torch.ones(len(rows), dtype=torch.bool)
        if bool((present == (steps < ends[:, None])).all()):
            return Batch(inputs, targets, last.float(), fresh, lengths=ends)
        return Batch(inputs, targets, last.float(), fresh, present=present)


def in_segments(
    document: np.ndarray, segment_length: int, segments: int, alignment: Alignment = "overlapping"
) -> list[np.ndarray]:
    """The segments of a document as they are read; its last symbol ends the last of them."""
    read = np.array(document[: segments * segment_length], dtype=np.int64)
    read[-1] = document[-1]
    count = -(-len(read) // segment_length)
    if alignment == "center":
        return np.array_split(read, count)
    first = len(read) - (count - 1) * segment_length if alignment == "right" else segment_length
    parts = np.split(read, range(first, len(read), segment_length))
    if alignment == "overlapping":
        parts[-1] = read[-segment_length:]
    return parts


class _Read(NamedTuple):
    """What is read: documents, the label of each, and which of them each split has."""

    symbols: int
    classes: list[str]
    documents: list[np.ndarray]
    rows: dict[str, np.ndarray]
    labels: np.ndarray


def _hyperpartisan(settings: DocumentClassificationSettings) -> _Read:
    [(_, form)] = settings.data_sets()
    articles = open_hyperpartisan(form)
    if settings.backbone is None:
        symbols, documents = articles.symbols(settings.fold), articles.pieces(settings.fold)
    else:
        titled = (f"{title} {text}" for title, text in zip(articles.titles, articles.texts, strict=True))
        symbols, documents = _encoded(titled, settings.backbone)
    return _Read(symbols, _CLASSES, documents, _rows(articles, settings), articles.labels)


def _own(own: OwnDocuments, settings: DocumentClassificationSettings) -> _Read:
    given = LabelledDocuments(open_own_documents(own))
    splits = given.prepared.splits
    if settings.backbone is None:
        symbols = given.symbols
        documents = [document for split in splits for document in given.documents(split)]
    else:
        symbols, documents = _encoded(chain.from_iterable(map(given.texts, splits)), settings.backbone)
    labels = np.concatenate([given.labels(split) for split in splits])
    of = np.repeat(np.arange(len(splits)), [len(given.labels(split)) for split in splits])
    rows = {split: np.flatnonzero(of == number) for number, split in enumerate(splits)}
    return _Read(symbols, given.classes, documents, rows, labels)


def _own_tokenizer(own: OwnDocuments) -> TextTokenizer:
    """That of documents of one's own, in which an end of line is white space, or a character, and no end."""
    prepared = open_own_documents(own)
    if own.tokens == "sentencepiece":
        pieces = LabelledDocuments(prepared).pieces()
        return replace(TextTokenizer.of_pieces(prepared.meta["name"], pieces), end_of_line=None)
    form = {"characters": "char", "words": "word"}[own.tokens]
    return TextTokenizer(prepared.meta["name"], form, prepared.vocabulary, None)


def _encoded(texts: Iterable[str], backbone: str) -> tuple[int, list[np.ndarray]]:
    """How many symbols a backbone has, and those of each text, with a mark of the end."""
    tokenizer = open_tokenizer(backbone)
    return tokenizer.size, [np.array([*tokenizer.encode(text), tokenizer.end]) for text in texts]


def _rows(articles: Hyperpartisan, settings: DocumentClassificationSettings) -> dict[str, np.ndarray]:
    """Split to articles; all that are held out are the test split if that is the whole fold."""
    rows = articles.split(settings.fold)
    if settings.whole_fold:
        held_out = np.sort(np.concatenate([rows["valid"], rows["test"]]))
        return {**rows, "valid": held_out[:0], "test": held_out}
    return rows
