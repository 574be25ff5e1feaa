"""Keyword arguments of a program as settings."""

from typing import Any, TypeVar

from pydantic import ValidationError

from rmem_cli.recipe.messages import sentence
from rmem_cli.recipe.settings import Settings

AnySettings = TypeVar("AnySettings", bound=Settings)


def settings_from(sort: type[AnySettings], **options: Any) -> AnySettings:
    """Settings with these options.

    Raises:
        TypeError: There is no such option.
        ValueError: An option has no such value, or options exclude each other.
    """
    try:
        return sort(**options)
    except ValidationError as errors:
        found = errors.errors(include_url=False)
        text = "; ".join(
            " ".join([*(".".join(map(str, error["loc"])),) * bool(error["loc"]), sentence(error, sort)])
            for error in found
        )
        unknown = any(error["type"] in ("extra_forbidden", "missing") for error in found)
        raise (TypeError if unknown else ValueError)(text) from None
