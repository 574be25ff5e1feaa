"""The symbols of a text that someone gives, as a prepared language modelling set has them."""

import numpy as np

from rmem_cli.data.prepared import Prepared
from rmem_cli.errors import UsageError

_UNKNOWN = "<unk>"
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
    symbols = {symbol: number for number, symbol in enumerate(prepared.vocabulary)}
    unknown = symbols.get(_UNKNOWN) if prepared.meta["form"] == "word" else None
    numbers = [symbols.get(part, unknown) for part in _parts(prepared, text)]
    if None in numbers:
        raise _not_there(prepared, _parts(prepared, text)[numbers.index(None)])
    return np.array(numbers, dtype=np.int64)


def _parts(prepared: Prepared, text: str) -> list[str]:
    form, end_of_line = prepared.meta["form"], prepared.meta["end_of_line"]
    if form == "word":
        end = " " if end_of_line is None else f" {prepared.vocabulary[end_of_line]} "
        return text.replace("\n", end).split()
    if form == "bytes":
        return [chr(byte) for byte in text.encode()]
    return list(text)


def _not_there(prepared: Prepared, part: str) -> UsageError:
    name, form, count = prepared.meta["name"], prepared.meta["form"], len(prepared.vocabulary)
    shown = f": {' '.join(map(repr, prepared.vocabulary))}" if count <= _MOST_SHOWN else ""
    return UsageError(f"{part!r} is none of the {count} symbols of {name} ({form}){shown}")
