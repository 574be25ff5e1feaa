"""pydantic's validation errors in plain sentences."""

import re
import typing
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from rmem_cli.errors import closest
from rmem_cli.recipe.settings import fields_by_name

_BOUNDS = {
    "greater_than": ("greater than", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("less than", "lt"),
    "less_than_equal": ("at most", "le"),
    "multiple_of": ("a multiple of", "multiple_of"),
}
_TYPES = {
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "text",
    "list_type": "a list, like [a, b]",
    "dict_type": "a mapping, like {field: value}",
    "model_type": "a mapping, like {field: value}",
}


def sentence(error: ErrorDetails, model: type[BaseModel]) -> str:
    """What is wrong and what to do, without the path.

    Args:
        error: One of `ValidationError.errors()`.
        model: The class that was validated, for the names of its fields.
    """
    kind, context = error["type"], error.get("ctx", {})
    if kind == "missing":
        return "is missing"
    if kind == "extra_forbidden":
        return f"unknown key; {closest(str(error['loc'][-1]), field_names(model, error['loc'][:-1]))}"
    if kind in _BOUNDS:
        words, bound = _BOUNDS[kind]
        return f"must be {words} {_number(context[bound])}, not {_number(error['input'])}"
    if kind in _TYPES:
        return f"must be {_TYPES[kind]}, not {describe(error['input'])}{_cure(kind, error['input'])}"
    if kind == "literal_error":
        nearest = _nearest(context, error["input"])
        return f"must be {context['expected']}, not {describe(error['input'])}{nearest}"
    if kind == "too_short" and context["min_length"] > 1:
        return f"must list at least {context['min_length']:,}, not {context['actual_length']:,}"
    if kind in ("too_short", "string_too_short"):
        return "must not be empty"
    if kind == "too_long":
        return f"may list up to {context['max_length']:,}, not more"
    if kind in ("value_error", "assertion_error"):
        return str(context["error"])
    return error["msg"][:1].lower() + error["msg"][1:]


def field_names(model: type[BaseModel], location: Sequence[str | int]) -> list[str]:
    """The keys a recipe may use in the part of a settings class at `location`."""
    inner: Any = model
    for part in location:
        if isinstance(part, str):
            inner = _model_inside(fields_by_name(inner)[part].annotation)
    return list(fields_by_name(inner))


def describe(value: Any) -> str:
    """A value as a reader of YAML would name it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f"the text {value!r}"
    if isinstance(value, dict):
        return "a mapping"
    return "a list" if isinstance(value, list) else repr(value)


def _cure(kind: str, value: Any) -> str:
    if kind == "int_type" and isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return f"; write {int(value)}"
    if kind == "string_type" and not isinstance(value, dict | list):
        return "; put it in quotes"
    return ""


def _nearest(context: dict[str, Any], value: Any) -> str:
    choices = re.findall(r"'([^']*)'", str(context["expected"]))
    hint = closest(value, choices) if isinstance(value, str) and choices else ""
    return f"; {hint}" if hint.startswith("did you mean") else ""


def _number(value: Any) -> str:
    return (
        repr(int(value))
        if isinstance(value, float) and value.is_integer() and abs(value) < 1e15
        else repr(value)
    )


def _model_inside(annotation: Any) -> type[BaseModel] | None:
    """The settings class inside `X | None`, `list[X]` or an annotated X."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    inside = (_model_inside(argument) for argument in typing.get_args(annotation))
    return next((model for model in inside if model), None)
