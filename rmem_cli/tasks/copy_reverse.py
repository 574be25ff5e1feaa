"""The copy and reverse tasks, as the RMT paper defines them."""

from functools import partial

from rmem_cli.data.algorithmic import Algorithmic, open_algorithmic
from rmem_cli.data.generated.copy_reverse import FIRST, copy_rows, reverse_rows
from rmem_cli.errors import UsageError
from rmem_cli.tasks.algorithmic import AlgorithmicTask
from rmem_cli.tasks.config import CopySettings, ReverseSettings


class Copy(AlgorithmicTask):
    """Read symbols and a separator, then write the symbols twice.

    With 3 symbols (`|` is the separator); the row has `3 * length` steps:

        inputs    4 1 7 | 4 1 7 4 1
        targets         4 1 7 4 1 7

    Args:
        length: How many symbols are to be copied.
        alphabet: How many different symbols there are.
        prepared: The prepared set, if the examples are from there.
    """

    def __init__(self, length: int, alphabet: int = 10, prepared: Algorithmic | None = None) -> None:
        draw = partial(copy_rows, length=length, alphabet=alphabet)
        super().__init__(draw, FIRST + alphabet, 2 * length, prepared)

    @classmethod
    def from_settings(cls, settings: CopySettings) -> "Copy":
        """The task that a recipe describes."""
        return cls(settings.length, settings.alphabet, _prepared(settings))


class Reverse(AlgorithmicTask):
    """Read symbols and a separator, then write the symbols from the last to the first.

    With 3 symbols (`|` is the separator); the row has `2 * length` steps:

        inputs    4 1 7 | 7 1
        targets         7 1 4

    Args:
        length: How many symbols are to be reversed.
        alphabet: How many different symbols there are.
        prepared: The prepared set, if the examples are from there.
    """

    def __init__(self, length: int, alphabet: int = 10, prepared: Algorithmic | None = None) -> None:
        draw = partial(reverse_rows, length=length, alphabet=alphabet)
        super().__init__(draw, FIRST + alphabet, length, prepared)

    @classmethod
    def from_settings(cls, settings: ReverseSettings) -> "Reverse":
        """The task that a recipe describes."""
        return cls(settings.length, settings.alphabet, _prepared(settings))


def _prepared(settings: CopySettings | ReverseSettings) -> Algorithmic | None:
    """The prepared set of this length, if it is asked for."""
    if not settings.prepared:
        return None
    opened = open_algorithmic(settings.kind, str(settings.length))
    alphabet = len(opened.vocabulary) - FIRST
    if settings.alphabet != alphabet:
        raise UsageError(
            f"the prepared set {settings.kind} of length {settings.length} has {alphabet} different symbols, "
            f"not {settings.alphabet}; set task.alphabet={alphabet}, or task.prepared=false"
        )
    return opened
