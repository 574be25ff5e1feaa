"""A further form of a prepared text: pieces of words, found by sentencepiece in the training text.

The form `sentencepiece-<size>` holds the symbols of each split, with `</s>` at the end of each line (lines of
more than 4096 characters are cut), and the model itself as the array `model`
(`rmem_cli.data.tokenizers.open_pieces` reads it back).
"""

from collections.abc import Iterable

import numpy as np
from rich.console import Console

from rmem_cli.data.decoded import decoded
from rmem_cli.data.prepared import SENTENCEPIECE, Prepared, open_prepared
from rmem_cli.data.symbols import encoded_pieces
from rmem_cli.data.tokenizers import END_OF_LINE, SentencePieceTokenizer, whole_lines
from rmem_cli.data.writer import Content, write_prepared
from rmem_cli.errors import UsageError
from rmem_cli.visible import say

from .dataset import Dataset
from .fetch import UnwritableError, alone, describe, is_made_from, origin_of


def prepare_pieces(dataset: Dataset, size: int, console: Console) -> Prepared:
    """Train sentencepiece on a prepared text and encode it, unless that is here already.

    Args:
        dataset: A data set that is prepared.
        size: Pieces.
        console: For progress (stderr).

    Raises:
        UsageError: The data set is not one of plain text, or too small for that many pieces.
        DataError: It is not prepared, or partial; or its folder, where the pieces are not, cannot be written.
    """
    refuse_no_text(dataset)
    try:
        with alone(dataset, console):
            return _prepare(dataset, size, console)
    except UnwritableError:
        text, form = open_prepared(dataset.name, dataset.text_form), f"{SENTENCEPIECE}{size}"
        if not is_made_from(text, form):
            raise
        return _here(dataset, form, console)  # a folder that many read may be writable for nobody


def refuse_no_text(dataset: Dataset) -> None:
    """Refuse a data set that has no pieces of words.

    Raises:
        UsageError: It is not one of plain text.
    """
    if not dataset.text_form:
        raise UsageError(f"{dataset.name} is not plain text: --sentencepiece does not go with it.")


def _here(dataset: Dataset, form: str, console: Console) -> Prepared:
    say(console, f"{dataset.name} ({form}) is here.")
    return open_prepared(dataset.name, form)


def _prepare(dataset: Dataset, size: int, console: Console) -> Prepared:
    text = open_prepared(dataset.name, dataset.text_form)
    form = f"{SENTENCEPIECE}{size}"
    if is_made_from(text, form):
        return _here(dataset, form, console)
    say(console, f"{dataset.name} ({form}): training sentencepiece on {len(text.tokens('train')):,} symbols")
    tokenizer = SentencePieceTokenizer.train(whole_lines(decoded(text, "train")), size)
    arrays: dict[str, Iterable[np.ndarray]] = {
        split: encoded_pieces(whole_lines(decoded(text, split)), tokenizer) for split in text.splits
    }
    prepared = write_prepared(
        dataset.name,
        form,
        Content(
            {**arrays, "model": [np.frombuffer(tokenizer.model, np.uint8)]},
            tokenizer.vocabulary,
            tokenizer.vocabulary.index(END_OF_LINE),
            counted={split: split for split in arrays},
        ),
        sources=[origin_of(text)],
        licence=dataset.licence,
        citation=dataset.citation,
        missing=text.missing,
    )
    say(console, describe(prepared, "pieces"))
    return prepared
