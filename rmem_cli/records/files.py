"""Files of a run folder: what cannot be written or read is one sentence."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pydantic import TypeAdapter

from rmem_cli.errors import DataError, UsageError
from rmem_cli.files import read_small, write_atomically

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_Content = TypeVar("_Content")


@contextmanager
def written(path: Path) -> Iterator[None]:
    """A disk that is full, or a file that may not be written, is one sentence."""
    try:
        yield
    except OSError as error:
        raise UsageError(
            f"{path} cannot be written ({error.strerror or error}); make room or make it writable, then run "
            "the same command again to go on from the last checkpoint"
        ) from error


def write_json(path: Path, content: "DataclassInstance") -> None:
    """Replace a file by a dataclass as JSON."""
    with written(path):
        write_atomically(path, (json.dumps(asdict(content), indent=2) + "\n").encode())


def read_json(path: Path, kind: type[_Content]) -> _Content | None:
    """What `write_json` has written; None if there is nothing.

    Raises:
        DataError: It is damaged.
    """
    try:
        return TypeAdapter(kind).validate_json(read_small(path), strict=True)
    except FileNotFoundError:
        return None
    except (ValueError, OSError) as error:
        raise damaged(path) from error


def damaged(path: Path) -> DataError:
    """What is said of a file that holds something else than was written."""
    return DataError(
        f"{path} is damaged; delete its folder and train again with --rerun all, which repeats the run from "
        "its start"
    )
