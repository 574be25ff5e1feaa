"""The errors a user can cause or meet, each with the exit code of the command that stops at it."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

_LONGEST_WORD = 100
_SHORTEST_BEGINNING = 3
_MOST_NAMED = 50


class RmemError(Exception):
    """A failure with a sentence for the user: what is wrong, where, and what to do about it.

    `rmem_cli.app` prints the message on stderr, without a traceback, and exits with `exit_code`.
    """

    exit_code = 1


class UsageError(RmemError):
    """A command, option, recipe or override that cannot be carried out as given."""

    exit_code = 2


class DataError(RmemError):
    """A data set that is missing, damaged, or cannot be downloaded."""

    exit_code = 3


class DivergedError(RmemError):
    """A training run whose loss stopped being a finite, sensible number."""

    exit_code = 4


class OutOfToleranceError(RmemError):
    """`rmem report --strict` found a full-scale result outside its table's tolerance."""

    exit_code = 5


class RunsFailedError(RmemError):
    """Some runs of an experiment failed; the others are finished and recorded."""

    exit_code = 6


class InterruptedRunError(RmemError):
    """A run was stopped by Ctrl-C, SIGTERM or SIGHUP after its checkpoint was written."""

    exit_code = 130


def closest(word: str, words: Iterable[str]) -> str:
    """The end of a message about an unknown word: the valid one that it begins or is like, or all of them."""
    words = list(words)
    word = next((each for each in words if each.lower() == word.lower()), word)
    near = [each for each in words if len(word) >= _SHORTEST_BEGINNING and each.startswith(word)]
    if len(near) != 1:
        near = [] if len(word) > _LONGEST_WORD else get_close_matches(word, words, n=1)
    if near:
        return f"did you mean {near[0]!r}?"
    if not words:
        return "there are none"
    return f"there are: {listed(words)}"


def listed(words: Sequence[str]) -> str:
    """The words, or the first of very many."""
    others = f" and {len(words) - _MOST_NAMED:,} more" if len(words) > _MOST_NAMED else ""
    return f"{', '.join(words[:_MOST_NAMED])}{others}"
