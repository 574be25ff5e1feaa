"""Documents of one's own with labels, as a prepared set of the form `documents`.

It holds, for each split, `<split>`: the symbols of all documents one after the other, each document with the
symbol of its end; `<split>_sizes` [documents], the symbols of each; `<split>_label` [documents]; and the list
of texts `<split>_text` (see `rmem_cli.data.texts`), for tokenizers of pretrained models. The list `label` has
the label of each class, in the order of Unicode.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np

from rmem_cli.data.own import prepared_once
from rmem_cli.data.own_text import own_vocabulary
from rmem_cli.data.pair_records import text_field
from rmem_cli.data.prepared import Prepared
from rmem_cli.data.records import Record, read_records
from rmem_cli.data.texts import Texts, text_chunks
from rmem_cli.data.tokenizers import END_OF_LINE, UNKNOWN, SentencePieceTokenizer, whole_lines
from rmem_cli.data.writer import Content, smallest_unsigned
from rmem_cli.errors import DataError
from rmem_cli.recipe.own_files import SPLITS, OwnDocuments

FORM = "documents"
_END = END_OF_LINE  # of a document
_FEWEST = 2  # classes


@dataclass(frozen=True)
class LabelledDocuments:
    """A prepared set of documents of one's own.

    Args:
        prepared: It.
    """

    prepared: Prepared

    @property
    def symbols(self) -> int:
        """How many symbols there are."""
        return len(self.prepared.vocabulary)

    @property
    def classes(self) -> list[str]:
        """The label of each class."""
        return list(Texts(self.prepared, "label"))

    def texts(self, split: str) -> Texts:
        """The documents of a split as they were given."""
        return Texts(self.prepared, f"{split}_text")

    def labels(self, split: str) -> np.ndarray:
        """The class of each document of a split, `[documents]`."""
        return self.prepared.array(f"{split}_label", below=len(self.classes))

    def documents(self, split: str) -> list[np.ndarray]:
        """The symbols of each document of a split."""
        symbols = self.prepared.array(split, below=self.symbols)
        ends = np.cumsum(self.prepared.array(f"{split}_sizes"), dtype=np.int64)
        if ends[-1] != len(symbols):
            raise self.prepared.damaged(f"{split}.bin does not have the sizes in {split}_sizes.bin")
        return np.split(symbols, ends[:-1])

    def pieces(self) -> SentencePieceTokenizer:
        """What made pieces of words of them, found again in the documents for training.

        Raises:
            DataError: Other pieces are found than there are symbols.
        """
        tokenizer = _pieces_of(self.texts("train"), self.symbols)
        if tokenizer.vocabulary != self.prepared.vocabulary:
            raise DataError(
                f"sentencepiece finds other pieces than those of {self.prepared.folder}; install the release "
                "that found them, or delete that folder and train again."
            )
        return tokenizer


def open_own_documents(own: OwnDocuments) -> Prepared:
    """Documents of one's own, prepared the first time.

    Raises:
        DataError: A file is missing or is no such file, a document lacks its text or its label, a label is in
            another split than that for training alone, or a split has no document.
        UsageError: sentencepiece cannot make as many pieces of them.
    """
    return prepared_once(own, FORM, lambda: _content(own))


class _Document(NamedTuple):
    """A document and where it stands."""

    place: str
    text: str
    label: str


def _content(own: OwnDocuments) -> Content:
    splits = _splits(own)
    classes = _classes(splits)
    texts = {split: [document.text for document in documents] for split, documents in splits.items()}
    vocabulary, encode = _encoding(own, texts)
    return Content(
        {},
        vocabulary,
        together=_arrays(splits, vocabulary, encode, classes),
        counted={split: f"{split}_label" for split in splits},
    )


def _splits(own: OwnDocuments) -> dict[str, list[_Document]]:
    read = {field: list(_read(own, path)) for field, path in own.files.items()}
    if own.file is not None:
        documents, cuts = read["file"], own.cuts(len(read["file"]))
        begins = [0, *cuts]
        read = {split: documents[begin:end] for split, begin, end in zip(SPLITS, begins, cuts, strict=False)}
    for split, documents in read.items():
        if not documents:
            path = own.files.get(split, own.file)
            raise DataError(f"{path} has no document for {split}; give more of them, or other shares.")
    return read


def _read(own: OwnDocuments, path: Path) -> Iterator[_Document]:
    for place, record in read_records(path, (own.text, own.label)):
        text = own_field(place, record, own.text, "documents.text")
        label = own_field(place, record, own.label, "documents.label", numbers=True)
        for name, value in ((own.text, text), (own.label, label)):
            if not value.strip():
                raise _empty(place, name)
        yield _Document(place, text, label)


def own_field(place: str, record: Record, name: str, setting: str, *, numbers: bool = False) -> str:
    """A field of a record, as text.

    Args:
        place: Of the record, for messages.
        record: It.
        name: Of the field.
        setting: The field of the task that names it.
        numbers: Whether a number will do.

    Raises:
        DataError: There is none, it is null, or it is no text.
    """
    text = text_field(place, record, [name], numbers=numbers)
    if text is None and name in record:
        raise _empty(place, name)
    if text is None:
        raise DataError(
            f"{place}: there is no {name!r} here, but {', '.join(record)}; name the field by task.{setting}."
        )
    return text


def _empty(place: str, name: str) -> DataError:
    return DataError(f"{place}: {name!r} is empty; fill it in, or leave the record out.")


def _classes(splits: Mapping[str, list[_Document]]) -> list[str]:
    """The labels of what is trained on, which must be all there are."""
    classes = sorted({document.label for document in splits["train"]})
    for split, documents in splits.items():
        new = next((document for document in documents if document.label not in classes), None)
        if new is not None:
            raise DataError(
                f"{new.place}: the label {new.label!r} is in the split {split} and in no document for "
                "training, so that it cannot be learned; shuffle the file, or give training such a document."
            )
    if len(classes) < _FEWEST:
        raise DataError(f"All documents for training have the label {classes[0]!r}; give some of another.")
    return classes


Encode = Callable[[str], Sequence[int]]


def _encoding(own: OwnDocuments, texts: Mapping[str, list[str]]) -> tuple[list[str], Encode]:
    """The text of each symbol, and what gives those of a document."""
    if own.tokens == "sentencepiece":
        tokenizer = _pieces_of(texts["train"], own.size or 0)
        return tokenizer.vocabulary, lambda text: [
            piece for line in text.split("\n") for piece in tokenizer.encode(line)
        ]
    split: Callable[[str], Iterable[str]] = list if own.tokens == "characters" else str.split
    counts = {name: Counter(chain.from_iterable(map(split, those))) for name, those in texts.items()}
    vocabulary = own_vocabulary(counts, own.size, (_END,))
    symbols = {text: symbol for symbol, text in enumerate(vocabulary)}
    unknown = symbols.get(UNKNOWN, 0)
    return vocabulary, lambda text: [symbols.get(each, unknown) for each in split(text)]


def _pieces_of(texts: Iterable[str], size: int) -> SentencePieceTokenizer:
    return SentencePieceTokenizer.train(whole_lines(f"{text}\n" for text in texts), size)


def _arrays(
    splits: Mapping[str, list[_Document]],
    vocabulary: Sequence[str],
    encode: Encode,
    classes: Sequence[str],
) -> Iterator[tuple[str, np.ndarray]]:
    symbol, end = smallest_unsigned(len(vocabulary)), vocabulary.index(_END)
    numbers = {label: number for number, label in enumerate(classes)}
    for split, documents in splits.items():
        encoded = [[*encode(document.text), end] for document in documents]
        yield split, np.fromiter(chain.from_iterable(encoded), symbol)
        yield f"{split}_sizes", np.array([len(each) for each in encoded], np.uint32)
        yield f"{split}_label", np.array([numbers[each.label] for each in documents], np.uint32)
        yield from text_chunks(f"{split}_text", [document.text for document in documents])
    yield from text_chunks("label", classes)
