"""The fields of validated settings by their dotted paths."""

from collections.abc import Iterator
from typing import Any

from rmem_cli.recipe.schema import EvalProtocol
from rmem_cli.recipe.settings import Settings


def fields_of(settings: Settings) -> dict[str, Any]:
    """Each field of a settings object by its name in recipes."""
    declared = {
        field.alias or name: getattr(settings, name) for name, field in type(settings).model_fields.items()
    }
    return declared | (settings.model_extra or {})


def all_paths(settings: Settings) -> set[str]:
    """Every dotted path that leads to a field or a group of fields."""
    return set(_paths(fields_of(settings), ""))


def _paths(fields: dict[str, Any], prefix: str) -> Iterator[str]:
    for name, value in fields.items():
        path = f"{prefix}{name}"
        yield path
        if isinstance(value, Settings):
            yield from _paths(fields_of(value), f"{path}.")
        elif isinstance(value, dict):
            yield from _paths(value, f"{path}.")
        elif isinstance(value, list):
            protocols = {item.name: item for item in value if isinstance(item, EvalProtocol)}
            yield from _paths(protocols, f"{path}.")
