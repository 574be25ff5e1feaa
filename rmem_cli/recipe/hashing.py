"""Hashes that change when, and only when, the meaning of a run changes."""

import hashlib
import json
from typing import Any

from rmem_cli.recipe.settings import Settings


def canonical(value: Any) -> Any:
    """A value as plain JSON types, without the fields that have no influence on its meaning.

    Left out are fields equal to their default, so that adding an option or writing out a default changes no
    hash, and those a class lists as `unhashed`. A `kind` always stays.
    """
    if isinstance(value, Settings):
        unhashed: frozenset[str] = getattr(value, "unhashed", frozenset())
        # Fields whose defaults are not known here, those of a core of one's own, count as they are written.
        return canonical(value.model_extra or {}) | {
            field.alias or name: canonical(getattr(value, name))
            for name, field in type(value).model_fields.items()
            if name not in unhashed
            and (name == "kind" or getattr(value, name) != field.get_default(call_default_factory=True))
        }
    if isinstance(value, dict):
        return {key: canonical(item) for key, item in value.items()}
    return [canonical(item) for item in value] if isinstance(value, list | tuple) else value


def digest(value: Any) -> str:
    """The first 12 hexadecimal digits of the SHA-256 of a value's canonical JSON."""
    text = json.dumps(canonical(value), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
