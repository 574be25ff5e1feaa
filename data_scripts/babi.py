"""The 20 bAbI tasks (version 1.2) in English, with 1,000 and with 10,000 training questions.

The test files of both sizes are the same. How the lines are stored: `rmem_cli.data.babi`.
"""

import csv
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from importlib import resources
from pathlib import Path

import numpy as np

from rmem_cli.data.babi import SIZES, TASKS, Line, arrays_of, form, vocabulary_of
from rmem_cli.data.texts import text_chunks
from rmem_cli.data.writer import Content, Expected
from rmem_cli.errors import DataError

from .dataset import Dataset, Form, Source, SourceFile


def prepare_task(files: Mapping[str, Path]) -> Content:
    """All lines of the files of one task; a file's split is the end of its name."""
    splits = {
        split: read_lines(path)
        for split in ("train", "test")
        for name, path in files.items()
        if name.endswith(f"_{split}.txt")
    }
    return Content(
        {},
        list(vocabulary_of(line for lines in splits.values() for line in lines)),
        together=_arrays(splits),
        counted={split: f"{split}_question" for split in splits},
    )


def read_lines(path: Path) -> list[Line]:
    """The lines of a bAbI file.

    Raises:
        DataError: It is empty, or a line is not like those of bAbI, or does not follow the one before it.
    """
    try:
        text = path.read_bytes().decode()
    except UnicodeDecodeError as error:
        before = error.object[: error.start].count(b"\n")
        raise DataError(f"{path}:{before + 1}: this is no text in UTF-8; {_ANEW}.") from error
    if not text.strip():
        raise DataError(f"{path} is empty, and a bAbI task has lines; {_ANEW}.")
    parsed: list[Line] = []
    statements: set[int] = set()  # numbers of those of the story so far
    for place, line in enumerate(text.removesuffix("\n").split("\n"), start=1):
        try:
            parsed.append(Line.parse(line))
        except ValueError as error:
            raise DataError(
                f"{path}:{place}: this is not a line of a bAbI task: {line!r}; {_ANEW}."
            ) from error
        if parsed[-1].number == 1:
            statements = set()
        wrong = _what_is_wrong(parsed[-1], parsed[-2].number if place > 1 else 0, statements)
        if wrong:
            raise DataError(f"{path}:{place}: {wrong}: {line!r}; {_ANEW}.")
        if parsed[-1].answer is None:
            statements.add(parsed[-1].number)
    return parsed


_ANEW = "get the file anew with `rmem fetch babi`"


def _what_is_wrong(line: Line, before: int, statements: set[int]) -> str | None:
    """Why a line cannot stand where it stands.

    Args:
        line: It.
        before: Number of the line before it; 0 if it is the first.
        statements: Numbers of the statements of its story.
    """
    if line.number not in (1, before + 1):
        due = f"{before + 1}, or 1 for a new story," if before else "1"
        return f"its number is {line.number}, where {due} must be"
    if line.answer is None:
        return None
    if not line.text.strip():
        return "here is an answer without a question"
    if not line.answer.strip():
        return "here is a question without an answer"
    unknown = sorted({*line.support} - statements)
    return f"its answer rests on line {unknown[0]}, which is no statement of its story" if unknown else None


def _arrays(splits: Mapping[str, list[Line]]) -> Iterator[tuple[str, np.ndarray]]:
    for split, lines in splits.items():
        yield from text_chunks(f"{split}_text", [line.text for line in lines])
        yield from text_chunks(f"{split}_answer", [line.answer for line in lines if line.answer is not None])
        yield from arrays_of(split, lines).items()


def _files() -> Iterator[SourceFile]:
    """The files of the table beside this module; of some, the size is not known."""
    table = resources.files(__package__).joinpath("babi_files.csv").read_text(encoding="utf-8")
    for row in csv.DictReader(table.splitlines()):
        yield SourceFile(row["name"], int(row["bytes"]) if row["bytes"] else None, row["checksum"])


_FILES = tuple(_files())
_NAMES = tuple(file.name for file in _FILES)
_PLACES = ("bathroom", "bedroom", "garden", "hallway", "kitchen", "office")


def _stories(story: Callable[[str], list[Line]], expected: Expected) -> Content:
    """In each split a story for each question, of one of the six places in turn."""
    stories = [story(place) for place in _PLACES]
    splits = {
        split: [line for number in range(count) for line in stories[number % len(stories)]]
        for split, count in expected.counts.items()
    }
    vocabulary = vocabulary_of(line for lines in stories for line in lines)
    return Content({}, list(vocabulary), together=_arrays(splits))


def _told(times: int, place: str) -> list[Line]:
    told = [Line(number, f"Daniel went back to the {place}.") for number in range(1, times + 1)]
    return [*told, Line(times + 1, "Where is Daniel? ", place, (1,))]


def _told_twice(place: str) -> list[Line]:
    one, other = [each for each in _PLACES if each != place][:2]
    return [
        Line(1, f"The {place} is north of the {one}."),
        Line(2, f"The {other} is south of the {one}."),
        Line(3, f"What is north of the {one}?", place, (1,)),
    ]


# How many sentences of each task come before a question on average.
_SENTENCES = (6, 16, 51, 2, 20, 6, 9, 9, 6, 6, 6, 6, 6, 8, 8, 9, 2, 6, 5, 6)
# The fourth is read within other texts, each question as long as one of its task can be.
_STAND_INS = {
    task: partial(_stories, _told_twice if task == 4 else partial(_told, sentences))
    for task, sentences in zip(TASKS, _SENTENCES, strict=True)
}


def _form(task: int, size: str) -> Form:
    """A task with the training questions of one size, and the test questions, which are listed once."""
    prefixes = (f"{size}/qa{task}_", f"en/qa{task}_")
    train = next(name for name in _NAMES if name.startswith(prefixes[0]) and name.endswith("_train.txt"))
    test = next(name for name in _NAMES if name.startswith(prefixes[1]) and name.endswith("_test.txt"))
    counts = {"train": 10_000 if size == "en-10k" else 1_000, "test": 1_000}
    return Form(
        form(task, size),
        prepare_task,
        Expected(counts),
        files=(train, test),
        unit="questions",
        stand_in=_STAND_INS[task],
    )


_archive = partial(Source, provides=_NAMES)

BABI = Dataset(
    name="babi",
    title="bAbI tasks 1-20, v1.2",
    files=_FILES,
    sources=(
        _archive(
            SourceFile(
                "tasks_1-20_v1-2.tar.gz",
                15_719_851,
                "sha256:0364ebde659f14d11bc21744516c5ec49d3d06cb692733f66680771244998898",
            ),
            ("http://www.thespermwhale.com/jaseweston/babi/tasks_1-20_v1-2.tar.gz",),
        ),
        _archive(
            SourceFile("tasks_1-20_v1-2.zip", None, "git-blob:039086666b117f06455a64aac804773b74847464"),
            (
                "https://raw.githubusercontent.com/booydar/babilong/"
                "7a6efee29f5cac03c3c410e6799c80fd2ffe3610/data/tasks_1-20_v1-2.zip",
            ),
        ),
        _archive(
            SourceFile(
                "babi.tar.gz",
                None,
                "sha256:f7f0bee187efca0d81c3daac1b162cda4eb7f9505dee5ad6846eabbed3dbf92e",
            ),
            ("http://parl.ai/downloads/babi/babi.tar.gz",),
        ),
        _archive(
            SourceFile("babi_tasks_1-20_v1-2.tar.gz", None, ""),
            ("https://s3.amazonaws.com/text-datasets/babi_tasks_1-20_v1-2.tar.gz",),
            unverified="no checksum of this archive is known; its members are verified",
        ),
    ),
    forms=tuple(_form(task, size) for size in SIZES for task in TASKS),
    read=read_lines,
    licence="CC BY 3.0",
    citation=(
        "Weston, Bordes, Chopra, Rush, van Merrienboer, Joulin, Mikolov (2016), Towards AI-Complete Question "
        "Answering: A Set of Prerequisite Toy Tasks, ICLR"
    ),
)
