"""What is wrong with a recipe, and where: places, problems, and the error that carries them all."""

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from rmem_cli.errors import UsageError

MOST_TOLD = 50  # problems that a message tells one by one
_LONGEST_LINE = 2000


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

    def names(self, path: str) -> bool:
        """Whether a `--set` says itself which field is meant; a place in a file does not."""
        field = self.source.removeprefix("--set ").partition("=")[0].strip()
        return self.line is None and fnmatchcase(path, field)

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
        path = "" if self.place.names(self.path) else self.path
        return ": ".join(part for part in (str(self.place), path, self.message) if part)


class RecipeError(UsageError):
    """Everything that is wrong with a recipe or its overrides, one line for each of the first problems.

    Attributes:
        problems: In the order of the file.
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = sorted(dict.fromkeys(problems), key=_position)
        lines = [_shortened(str(problem)) for problem in self.problems[:MOST_TOLD]]
        more = len(self.problems) - len(lines)
        super().__init__("\n".join([*lines, *([f"and {more:,} more problems"] if more else [])]))


def _position(problem: Problem) -> tuple[str, int, int]:
    place = problem.place
    return place.source, place.line or 0, place.column or 0


def _shortened(line: str) -> str:
    return line if len(line) <= _LONGEST_LINE else f"{line[:_LONGEST_LINE]}..."
