"""The copy and reverse tasks, as the RMT paper defines them."""

from functools import partial

from rmem_cli.data.generated.copy_reverse import FIRST, copy_rows, reverse_rows
from rmem_cli.data.prepared import Prepared, open_prepared
from rmem_cli.errors import UsageError
from rmem_cli.tasks.algorithmic import AlgorithmicTask
from rmem_cli.tasks.algorithmic_config import CopySettings, ReverseSettings


class Copy(AlgorithmicTask):
    """Read symbols and a separator, then write the symbols twice.

    With 3 symbols (`|` is the separator); the row has `3 * length` steps:

        inputs    4 1 7 | 4 1 7 4 1
        targets         4 1 7 4 1 7

    Args:
        settings: All options.
    """

    def __init__(self, settings: CopySettings) -> None:
        draw = partial(copy_rows, length=settings.length, alphabet=settings.alphabet)
        super().__init__(draw, FIRST + settings.alphabet, 2 * settings.length, _prepared(settings))


class Reverse(AlgorithmicTask):
    """Read symbols and a separator, then write the symbols from the last to the first.

    With 3 symbols (`|` is the separator); the row has `2 * length` steps:

        inputs    4 1 7 | 7 1
        targets         7 1 4

    Args:
        settings: All options.
    """

    def __init__(self, settings: ReverseSettings) -> None:
        draw = partial(reverse_rows, length=settings.length, alphabet=settings.alphabet)
        super().__init__(draw, FIRST + settings.alphabet, settings.length, _prepared(settings))


def _prepared(settings: CopySettings | ReverseSettings) -> Prepared | None:
    """The prepared set of this length, if it is asked for."""
    if not settings.prepared:
        return None
    opened = open_prepared(settings.kind, str(settings.length))
    alphabet = len(opened.vocabulary) - FIRST
    if settings.alphabet != alphabet:
        raise UsageError(
            f"the prepared set {settings.kind} of length {settings.length} has {alphabet} different symbols, "
            f"not {settings.alphabet}; set task.alphabet={alphabet}, or task.prepared=false"
        )
    return opened
