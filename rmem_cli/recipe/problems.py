"""What is wrong with a recipe, and where: places, problems, and the error that carries them all."""

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches

from rmem_cli.errors import UsageError


@dataclass(frozen=True)
class Place:
    """Where a key or value was written.

    Attributes:
        source: The file, or the text of a `--set` option.
        line: Line of the file, from 1; None for a `--set`.
        column: Column of the line in characters, from 1; None for a `--set`.
    """

    source: str
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        return self.source if self.line is None else f"{self.source}:{self.line}:{self.column}"


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        place: Where it was written.
        path: The dotted path of the field; empty where the file as a whole is meant.
        message: What is wrong and what to do about it.
    """

    place: Place
    path: str
    message: str

    def __str__(self) -> str:
        path = "" if self.place.line is None else self.path
        return ": ".join(part for part in (str(self.place), path, self.message) if part)


class RecipeError(UsageError):
    """Everything that is wrong with a recipe or its overrides, one line for each problem.

    Attributes:
        problems: In the order of the file.
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = sorted(dict.fromkeys(problems), key=_position)
        super().__init__("\n".join(map(str, self.problems)))


def _position(problem: Problem) -> tuple[str, int, int]:
    place = problem.place
    return place.source, place.line or 0, place.column or 0


def closest(word: str, words: Iterable[str]) -> str:
    """The end of a message about an unknown word: the nearest valid one, or all of them if none is near."""
    words = list(words)
    near = get_close_matches(word, words, n=1, cutoff=0.5)
    if near:
        return f"did you mean {near[0]!r}?"
    return f"there are: {', '.join(words)}" if words else "there are none"
