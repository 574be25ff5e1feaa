"""Which fields of a run are components, and what their kinds are: read from the types of the fields."""

from functools import cache
from typing import Any, get_args

from rmem_cli.recipe.checks import Path
from rmem_cli.recipe.registry import Registry
from rmem_cli.recipe.schema import RunSettings
from rmem_cli.recipe.settings import Component, Settings


@cache
def components() -> dict[Path, type[Component]]:
    """The path of each component of a run that is no part of another, with what all of its sort declare."""
    return dict(_below(RunSettings, ()))


def registry_at(path: Path) -> Registry | None:
    """The kinds of the component at a path, one in another included; None if there is none.

    Args:
        path: Such as `("model", "core")`, or `("model", "core", "slow")` for a core in a core.
    """
    known = components()
    if path in known:
        return known[path].registry
    above = registry_at(path[:-1]) if path else None
    if above is None:
        return None
    fields = (above.settings(kind).model_fields.get(str(path[-1])) for kind in above.kinds())
    sorts = (sort_in(field.annotation) for field in fields if field is not None)
    found = next((sort for sort in sorts if sort is not None and issubclass(sort, Component)), None)
    return None if found is None else found.registry


def _below(settings: type[Settings], path: Path) -> list[tuple[Path, type[Component]]]:
    found: list[tuple[Path, type[Component]]] = []
    for name, field in settings.model_fields.items():
        sort = sort_in(field.annotation)
        if sort is None:
            continue
        here = (*path, name)
        found += [(here, sort)] if issubclass(sort, Component) else _below(sort, here)
    return found


def sort_in(annotation: Any) -> type[Settings] | None:
    """The settings class that a field's type names, by itself or as one of several types; not in a list."""
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        return annotation
    if getattr(annotation, "__origin__", None) is list:
        return None
    return next((sort for each in get_args(annotation) if (sort := sort_in(each)) is not None), None)
