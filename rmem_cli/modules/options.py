"""Keyword arguments of a module as the settings of a core."""

from typing import Any, TypeVar

from pydantic import ValidationError

from rmem_cli.recipe.kinds import CoreSettings
from rmem_cli.recipe.messages import sentence

AnyCore = TypeVar("AnyCore", bound=CoreSettings)


def settings_from(sort: type[AnyCore], **options: Any) -> AnyCore:
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
