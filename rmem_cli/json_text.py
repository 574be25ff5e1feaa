"""JSON that every reader takes: what scripts read on stdout."""

import json
import math
from typing import Any

from rmem_cli.visible import is_hidden


def json_text(value: object, indent: int | None = 2) -> str:
    """A value as JSON; numbers that are not finite, which JSON has no words for, are null.

    Characters that show only by what they do are escaped, which is the same text to a reader of JSON.

    Args:
        value: Dictionaries, sequences, texts, numbers, booleans and None, nested as they like.
        indent: Blanks for each level; None for one line.
    """
    text = json.dumps(_finite(value), indent=indent, ensure_ascii=False, allow_nan=False)
    if text.isascii():
        return text
    return "".join(json.dumps(each)[1:-1] if is_hidden(each) and each != "\n" else each for each in text)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
