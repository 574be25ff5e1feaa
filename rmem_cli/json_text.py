"""JSON that every reader takes: what scripts read on stdout."""

import json
import math
from typing import Any


def json_text(value: object, indent: int | None = 2) -> str:
    """A value as JSON; numbers that are not finite, which JSON has no words for, are null.

    Args:
        value: Dictionaries, sequences, texts, numbers, booleans and None, nested as they like.
        indent: Blanks for each level; None for one line.
    """
    return json.dumps(_finite(value), indent=indent, ensure_ascii=False, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
