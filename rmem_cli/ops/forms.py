"""Which form of an operation ran, noted by the form itself."""

from collections.abc import Iterator
from contextlib import contextmanager

_NOTES: list[dict[str, set[str]]] = []


def note(operation: str, form: str) -> None:
    """Say that a form of an operation runs, such as `note("rotation", "fast")`."""
    for found in _NOTES:
        found.setdefault(operation, set()).add(form)


@contextmanager
def noted_forms() -> Iterator[dict[str, set[str]]]:
    """Meanwhile, each operation that runs is noted, with its forms."""
    found: dict[str, set[str]] = {}
    _NOTES.append(found)
    try:
        yield found
    finally:
        _NOTES.pop()
