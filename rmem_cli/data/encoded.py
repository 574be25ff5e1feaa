"""The symbols of a text that someone gives, as a prepared language modelling set has them."""

import numpy as np

from rmem_cli.data.prepared import SENTENCEPIECE, Prepared
from rmem_cli.data.tokenizers import VocabularyTokenizer, open_pieces
from rmem_cli.errors import UsageError

_MOST_SHOWN = 300


def encode(prepared: Prepared, text: str) -> np.ndarray:
    """The symbols of a text, `[n]`; what `rmem_cli.data.decoded.decode` makes a text of.

    Words that the set does not have are its unknown word, if it has one.

    Args:
        prepared: The set.
        text: Any; how it is taken apart depends on the form of the set.

    Raises:
        UsageError: The set does not have all the symbols.
    """
    form = prepared.meta["form"]
    if form.startswith(SENTENCEPIECE):
        return _pieces(prepared, text)
    tokenizer = VocabularyTokenizer(prepared.vocabulary, "words" if form == "word" else "characters")
    given = _as_prepared(prepared, text)
    if (missing := tokenizer.without_symbol(given)) is not None:
        raise _not_there(prepared, missing)
    return np.array(tokenizer.encode(given), dtype=np.int64)


def _pieces(prepared: Prepared, text: str) -> np.ndarray:
    """The pieces of each line, and the end of each but the last, where lines have ends."""
    first, *others = map(open_pieces(prepared).encode, text.split("\n"))
    end = prepared.meta["end_of_line"]
    ends = [] if end is None else [end]
    return np.array(first + [piece for line in others for piece in (*ends, *line)], dtype=np.int64)


def _as_prepared(prepared: Prepared, text: str) -> str:
    """A text whose words, or characters, are the symbols of the set."""
    form, end_of_line = prepared.meta["form"], prepared.meta["end_of_line"]
    if form == "word" and end_of_line is not None:
        return text.replace("\n", f" {prepared.vocabulary[end_of_line]} ")
    return text.encode().decode("latin-1") if form == "bytes" else text


def _not_there(prepared: Prepared, part: str) -> UsageError:
    name, form, count = prepared.meta["name"], prepared.meta["form"], len(prepared.vocabulary)
    shown = f": {' '.join(map(repr, prepared.vocabulary))}" if count <= _MOST_SHOWN else ""
    return UsageError(f"{part!r} is none of the {count} symbols of {name} ({form}){shown}")
