"""Which form of an operation ran, noted by the form itself."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

_AND = "+"
_NOTES: list[dict[str, set[str]]] = []


def note(operation: str, form: str) -> None:
    """Say that a form of an operation runs, such as `note("rotation", "fast")`."""
    for found in _NOTES:
        found.setdefault(operation, set()).add(form)


def joined_forms(stated: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """What several parts say of the forms they run operations in, as of one: `fast+native` if they differ."""
    found: dict[str, set[str]] = {}
    for forms in stated:
        for operation, form in forms.items():
            found.setdefault(operation, set()).update(forms_in(form))
    return {operation: _AND.join(sorted(forms)) for operation, forms in found.items()}


def forms_in(form: str) -> set[str]:
    """The forms that a text such as `fast+native` names."""
    return set(form.split(_AND))


@contextmanager
def noted_forms() -> Iterator[dict[str, set[str]]]:
    """Meanwhile, each operation that runs is noted, with its forms."""
    found: dict[str, set[str]] = {}
    _NOTES.append(found)
    try:
        yield found
    finally:
        _NOTES.pop()
