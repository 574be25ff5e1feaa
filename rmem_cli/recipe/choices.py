"""Every field of a run by its path, with values that it can have: for shells, which complete them."""

from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

from rmem_cli.recipe.components import sort_in
from rmem_cli.recipe.explain import flow
from rmem_cli.recipe.fields import fields_of
from rmem_cli.recipe.schema import EvalProtocol, RunSettings
from rmem_cli.recipe.settings import Component, Settings, fields_by_name


def choices(settings: RunSettings) -> Iterator[tuple[str, list[str]]]:
    """The dotted path of each field that has no fields within, and its values as `--set` takes them.

    The first is the value that it has, if any. Others are told where they are few: the kinds of a component,
    the values of an enumeration, true and false, and null of what can be left out.
    """
    for name, value in fields_of(settings).items():
        if name == "eval":
            for protocol in value:
                yield from _of_protocol(protocol, settings)
        else:
            yield from _below(name, value, RunSettings.model_fields[name].annotation)


def _of_protocol(protocol: EvalProtocol, settings: RunSettings) -> Iterator[tuple[str, list[str]]]:
    """The fields of a protocol, and of the task and the core, which it may change."""
    path = f"eval.{protocol.name}"
    for name, field in EvalProtocol.model_fields.items():
        if name not in ("name", "task", "core"):
            yield from _below(f"{path}.{name}", getattr(protocol, name), field.annotation)
    yield from _fields(f"{path}.task", type(settings.task), fields_of(settings.task) | protocol.task)
    core = settings.model.core
    if core is not None:
        free = {name: value for name, value in fields_of(core).items() if name in core.free_in_evaluation()}
        yield from _fields(f"{path}.core", type(core), free)


def _below(path: str, value: Any, annotation: Any) -> Iterator[tuple[str, list[str]]]:
    """A field, or the fields within it; those of a group that is left out, too."""
    sort = type(value) if isinstance(value, Settings) else sort_in(annotation)
    if sort is None:
        own = [] if value is None else [flow(value)]
        yield path, list(dict.fromkeys([*own, *_values(annotation)])) or [""]
    elif issubclass(sort, Component):
        own = [] if value is None else [value.kind]
        yield f"{path}.kind", list(dict.fromkeys([*own, *sort.registry.kinds()]))
        yield from _fields(path, sort, {} if value is None else fields_of(value))
    else:
        yield from _fields(path, sort, _defaults(sort) if value is None else fields_of(value))


def _fields(path: str, sort: type[Settings], given: dict[str, Any]) -> Iterator[tuple[str, list[str]]]:
    by_name = fields_by_name(sort)
    for name, value in given.items():
        if name in by_name and name != "kind":
            yield from _below(f"{path}.{name}", value, by_name[name].annotation)


def _defaults(sort: type[Settings]) -> dict[str, Any]:
    """The value of each field that is not given; None of those that have to be."""
    return {
        name: None if field.is_required() else field.get_default(call_default_factory=True)
        for name, field in fields_by_name(sort).items()
    }


def _values(annotation: Any) -> Iterator[str]:
    """The values of a type, where it names them."""
    if annotation is bool:
        yield from ("true", "false")
    elif annotation is type(None):
        yield "null"
    elif get_origin(annotation) is Literal:
        yield from map(flow, get_args(annotation))
    elif get_origin(annotation) is not list:
        for part in get_args(annotation):
            yield from _values(part)
