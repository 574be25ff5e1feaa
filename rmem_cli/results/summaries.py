"""What was said about articles, line by line, and the samples of it among the results."""

import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from rmem_cli.results.curves import curve_of
from rmem_cli.results.row import ResultRow
from rmem_cli.results.text_files import damaged_line, read_text

FOLDER = "summaries"
SHOWN = 20  # articles among the results: the first of the split
_MOST_WORDS = 300  # of each text among the results
_CURE = (
    "restore the file with git, or move it away: a report does without samples that are not there, and "
    "`rmem eval` writes them again"
)


@dataclass(frozen=True)
class Summary:
    """What was said about an article.

    Attributes:
        place: Of the article in its split, from 0.
        id: Of the article; empty if the data names none.
        reference: The article's own summary: a sentence on each line, blanks between words.
        summary: What was said, in the same form.
        scores: Metric to value.
    """

    place: int
    id: str
    reference: str
    summary: str
    scores: dict[str, float]

    def to_line(self) -> str:
        """It as a line of JSON."""
        return json.dumps(asdict(self), ensure_ascii=False) + "\n"

    @classmethod
    def from_line(cls, line: str) -> Self:
        """Read what `to_line` wrote.

        Raises:
            ValueError: It is something else.
        """
        try:
            told = json.loads(line)
            scores = {str(name): float(value) for name, value in told["scores"].items()}
            article, reference, summary = (told[name] for name in ("id", "reference", "summary"))
            if set(told) != set(cls.__dataclass_fields__) or type(told["place"]) is not int:
                raise ValueError("other fields")
            if not all(isinstance(text, str) for text in (article, reference, summary)):
                raise ValueError("a text is none")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError("the line is not a summary with its scores") from error
        return cls(told["place"], article, reference, summary, scores)


def samples(summaries: Iterable[Summary]) -> str:
    """The first articles of a split as lines, in its order, long texts cut.

    Args:
        summaries: Of the split, in any order.
    """
    first = sorted((one for one in summaries if one.place < SHOWN), key=lambda one: one.place)
    return "".join(
        Summary(one.place, one.id, _cut(one.reference), _cut(one.summary), one.scores).to_line()
        for one in first
    )


def samples_name(row: ResultRow) -> str:
    """Name of the samples behind a result."""
    return f"{curve_of(row)}-{row.eval_hash}"


def read_samples(folder: Path, row: ResultRow) -> list[Summary]:
    """The samples behind a result; none if they are not there.

    Args:
        folder: Folder of the results.
        row: The result.

    Raises:
        UsageError: A line is not one that rmem wrote.
    """
    path = folder / FOLDER / f"{samples_name(row)}.jsonl"
    found = []
    for number, line in enumerate((read_text(path, _CURE) or "").splitlines(), 1):
        try:
            found.append(Summary.from_line(line))
        except ValueError as error:
            raise damaged_line(path, number, str(error), _CURE) from error
    return found


def _cut(text: str) -> str:
    """A text of so many words at most, the end marked where there were more."""
    ends = [place.start() for place in re.finditer(r"\s", text)]
    if len(ends) < _MOST_WORDS:
        return text
    return text[: ends[_MOST_WORDS - 1]] + " \N{HORIZONTAL ELLIPSIS}"
