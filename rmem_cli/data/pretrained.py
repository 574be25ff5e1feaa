"""Pretrained models of Hugging Face, where their files are on this machine; nothing is downloaded."""

from importlib import import_module
from typing import Any

from rmem_cli.errors import DataError


class PretrainedTokenizer:
    """The tokenizer of a pretrained model.

    Args:
        tokenizer: As the transformers library opens it.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self.size: int = len(tokenizer)
        self.end: int = _first(tokenizer.sep_token_id, tokenizer.eos_token_id)
        self.start: int = _first(tokenizer.cls_token_id, tokenizer.bos_token_id, self.end)

    def encode(self, text: str) -> list[int]:
        """The symbols of a text, none added in front or behind."""
        return list(self._tokenizer.encode(text, add_special_tokens=False, verbose=False))


def open_tokenizer(name: str) -> PretrainedTokenizer:
    """The tokenizer of a model.

    Args:
        name: Such as `bert-base-cased`, or a folder.

    Raises:
        DataError: It is not on this machine.
    """
    return PretrainedTokenizer(open_pretrained(name, "AutoTokenizer"))


def open_pretrained(name: str, part: str) -> Any:
    """A part of a pretrained model.

    Args:
        name: Such as `bert-base-cased`, or a folder.
        part: Class of the transformers library that opens it.

    Raises:
        DataError: It is not on this machine.
    """
    try:
        transformers = import_module("transformers")
    except ImportError as error:
        raise DataError(
            f"{name} needs the transformers library, `pip install 'rmem[pretrained]'`, and its own files."
        ) from error
    try:
        return getattr(transformers, part).from_pretrained(name, local_files_only=True)
    except (OSError, ValueError) as error:
        raise DataError(
            f"The pretrained model {name} is not on this machine, and rmem does not download it: get it with "
            f"`hf download {name}`, or name a folder that holds it."
        ) from error


def _first(*symbols: int | None) -> int:
    return next(symbol for symbol in symbols if symbol is not None)
