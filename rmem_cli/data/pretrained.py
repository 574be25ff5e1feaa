"""Pretrained models of Hugging Face, where their files are on this machine; nothing is downloaded."""

from importlib import import_module
from pathlib import Path
from typing import Any

from rmem_cli.errors import DataError

_MOST_TOLD = 200  # characters of what the library says


class PretrainedTokenizer:
    """The tokenizer of a pretrained model.

    Args:
        name: Of the model.
        tokenizer: As the transformers library opens it.

    Raises:
        DataError: It has no symbol that ends a text.
    """

    def __init__(self, name: str, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self.size: int = len(tokenizer)
        end = _first(tokenizer.sep_token_id, tokenizer.eos_token_id)
        if end is None:
            raise DataError(
                f"The tokenizer of {name} has no symbol that ends a text: give its tokenizer_config.json a "
                "sep_token or an eos_token."
            )
        self.end: int = end
        start = _first(tokenizer.cls_token_id, tokenizer.bos_token_id)
        self.start: int = end if start is None else start

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
    return PretrainedTokenizer(name, open_pretrained(name, "AutoTokenizer"))


def open_model(name: str) -> Any:
    """A model without a head, its weights read.

    Args:
        name: Such as `bert-base-cased`, or a folder.

    Raises:
        DataError: It is not on this machine, or damaged, or most of its weights are not among its files.
    """
    model, loaded = open_pretrained(name, "AutoModel", output_loading_info=True)
    weights = sum(1 for _ in model.parameters())
    if 2 * len(loaded["missing_keys"]) > weights:
        raise DataError(
            f"{name} has no weights of a {type(model).__name__}, which its config.json names: save "
            "configuration and weights together, with `save_pretrained`."
        )
    return model


def open_pretrained(name: str, part: str, **options: Any) -> Any:
    """A part of a pretrained model.

    Args:
        name: Such as `bert-base-cased`, or a folder.
        part: Class of the transformers library that opens it.
        options: What else that is told.

    Raises:
        DataError: It is not on this machine, or damaged.
    """
    try:
        transformers = import_module("transformers")
    except ImportError as error:
        raise DataError(
            f"{name} needs the transformers library, `pip install 'rmem[pretrained]'`, and its own files."
        ) from error
    try:
        return getattr(transformers, part).from_pretrained(name, local_files_only=True, **options)
    except Exception as error:  # whatever the library raises at files that are not what it wants
        raise DataError(_why_not(name, part, error)) from error


def _why_not(name: str, part: str, error: Exception) -> str:
    """Why a part of a pretrained model cannot be opened, and what to do."""
    if not Path(name).is_dir():
        return (
            f"The pretrained model {name} is not on this machine, and rmem does not download it: get it with "
            f"`hf download {name}`, or name a folder that holds it."
        )
    what = "tokenizer" if part == "AutoTokenizer" else "model"
    reason = " ".join(str(error).split())[:_MOST_TOLD] or type(error).__name__
    return (
        f"The folder {name} holds no {what} that transformers {import_module('transformers').__version__} "
        f"opens ({reason}): save one there with its `save_pretrained`."
    )


def _first(*symbols: int | None) -> int | None:
    return next((symbol for symbol in symbols if symbol is not None), None)
