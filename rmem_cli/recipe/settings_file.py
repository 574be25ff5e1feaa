"""The settings of one run in a file, and back."""

from collections.abc import Sequence

import yaml

from rmem_cli.recipe.document import read_document
from rmem_cli.recipe.overrides import apply_overrides, parse_set
from rmem_cli.recipe.problems import Problem, RecipeError
from rmem_cli.recipe.schema import RunSettings
from rmem_cli.recipe.validation import build_settings, with_default_kinds


def settings_text(settings: RunSettings) -> bytes:
    """Settings as YAML."""
    return yaml.safe_dump(settings.model_dump(mode="json", by_alias=True), sort_keys=False).encode()


def read_settings(data: bytes, source: str, sets: Sequence[str] = ()) -> RunSettings:
    """What `settings_text` wrote, checked like a recipe.

    Args:
        data: The bytes of the file.
        source: The file's name for messages.
        sets: The texts of `--set` options, `path=value`.

    Raises:
        RecipeError: It holds no settings, or those of another version of rmem; or the options do not give
            valid ones.
    """
    problems: list[Problem] = []
    tree, _ = apply_overrides(read_document(data, source), [parse_set(text) for text in sets], problems)
    settings = build_settings(with_default_kinds(tree), problems)
    if settings is None or problems:
        raise RecipeError(problems)
    return settings
