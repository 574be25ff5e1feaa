"""Keyword arguments of a program as settings."""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from rmem_cli.errors import closest
from rmem_cli.recipe.messages import sentence
from rmem_cli.recipe.settings import Settings

AnySettings = TypeVar("AnySettings", bound=Settings)
Names = Mapping[str, str]

_AS_THEY_ARE: Names = MappingProxyType({})


def settings_from(sort: type[AnySettings], names: Names = _AS_THEY_ARE, /, **options: Any) -> AnySettings:
    """Settings with these options.

    Args:
        sort: Which.
        names: What the program calls fields that have another name there, for messages.
        options: Values of fields.

    Raises:
        TypeError: There is no such option.
        ValueError: An option has no such value, or options exclude each other.
    """
    try:
        return sort(**options)
    except ValidationError as errors:
        found = errors.errors(include_url=False)
        text = "; ".join(_told(error, sort, names) for error in found)
        unknown = any(error["type"] in ("extra_forbidden", "missing") for error in found)
        raise (TypeError if unknown else ValueError)(text) from None


def _told(error: ErrorDetails, sort: type[Settings], names: Names) -> str:
    """What is wrong with which option, by the names that a program can write."""
    where = [names.get(str(part), str(part)) for part in error["loc"]]
    if error["type"] == "extra_forbidden" and len(where) == 1:
        known = [names.get(name, name) for name in sort.model_fields if name != "kind"]
        return f"{where[0]} unknown key; {closest(where[0], known)}"
    # A rule among fields names them; what is one word may be no name.
    said = re.sub(r"\b[a-z]+(_[a-z]+)+\b", lambda word: names.get(word[0], word[0]), sentence(error, sort))
    return " ".join([*([".".join(where)] if where else []), said])
