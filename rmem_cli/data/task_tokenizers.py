"""How the texts of a task become symbols and back, apart from the data set, so that a file can hold it."""

import base64
import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, TypeAdapter

from rmem_cli.data.articles import Splitting, Vocabulary
from rmem_cli.data.babi import tokens, words
from rmem_cli.data.decoded import decode
from rmem_cli.data.encoded import encode
from rmem_cli.data.prepared import SENTENCEPIECE, Prepared
from rmem_cli.data.tokenizers import END_OF_LINE, SentencePieceTokenizer, open_pieces
from rmem_cli.data.unwritten import Unwritten
from rmem_cli.errors import UsageError


@dataclass(frozen=True)
class TextTokenizer:
    """Characters, words, bytes or pieces of words, as a prepared text has them.

    Attributes:
        name: Of the data set.
        form: Its prepared form.
        vocabulary: The text of each symbol.
        end_of_line: The symbol that ends a line; None: there is none.
        model: Of pieces of words, as sentencepiece stores it, in base64; empty for all others.
    """

    name: str
    form: str
    vocabulary: list[str]
    end_of_line: int | None
    model: str = field(default="", repr=False)
    kind: Literal["text"] = "text"

    @classmethod
    def of(cls, prepared: Prepared, new_symbols: Iterable[str] = ()) -> "TextTokenizer":
        """That of a prepared text.

        Args:
            prepared: The text.
            new_symbols: The text of further symbols, behind its own.
        """
        name, form = prepared.meta["name"], prepared.meta["form"]
        if form.startswith(SENTENCEPIECE):
            return cls.of_pieces(name, open_pieces(prepared))
        return cls(name, form, [*prepared.vocabulary, *new_symbols], prepared.meta["end_of_line"])

    @classmethod
    def of_pieces(cls, name: str, tokenizer: SentencePieceTokenizer) -> "TextTokenizer":
        """That of pieces of words.

        Args:
            name: Of the data set.
            tokenizer: What found them.
        """
        pieces = tokenizer.vocabulary
        model = base64.b64encode(tokenizer.model).decode("ascii")
        return cls(name, f"{SENTENCEPIECE}{len(pieces)}", pieces, pieces.index(END_OF_LINE), model)

    def encode(self, text: str) -> list[int]:
        """The symbols of a text; a `UsageError` where there is none for a part of it."""
        symbols: list[int] = encode(self._prepared, text).tolist()
        return symbols

    def decode(self, symbols: Iterable[int]) -> Iterator[str]:
        """The text of symbols, piece by piece."""
        return decode(self._prepared, (np.array([symbol]) for symbol in symbols))

    def check(self, symbols: int) -> None:
        """Make sure that it is whole, and that of a model that reads so many symbols.

        Raises:
            ValueError: It is not; so do other errors tell.
        """
        if len(self.vocabulary) != symbols or self.end_of_line not in (None, *range(symbols)):
            raise ValueError(f"it is not that of {symbols} symbols")
        with contextlib.suppress(UsageError):  # it may not have the letter
            self.encode("a\n")
        list(self.decode(range(symbols)))

    @cached_property
    def _prepared(self) -> Prepared:
        """A data set that has nothing but its symbols."""
        names = ("name", "form", "vocabulary", "end_of_line")
        model = np.frombuffer(base64.b64decode(self.model), np.uint8)
        return Unwritten(Path(), {name: getattr(self, name) for name in names}, {"model": model})


@dataclass(frozen=True)
class StoryTokenizer:
    """Words of bAbI's sentences.

    Attributes:
        vocabulary: The word of each symbol.
        plain: Whether they are in lower case, without punctuation, which otherwise is words, too.
    """

    vocabulary: list[str]
    plain: bool = False
    kind: Literal["story"] = "story"

    def encode(self, text: str) -> list[int]:
        """The symbols of a sentence.

        Raises:
            UsageError: It has a word without a symbol.
        """
        known = {word: symbol for symbol, word in enumerate(self.vocabulary)}
        parts = words(text) if self.plain else tokens(text)
        for word in parts:
            if word not in known:
                raise UsageError(f"{word!r} is none of the {len(known)} words of these stories")
        return [known[word] for word in parts]

    def decode(self, symbols: Iterable[int]) -> Iterator[str]:
        """The words of symbols, with a blank behind each."""
        return (f"{self.vocabulary[symbol]} " for symbol in symbols)


@dataclass(frozen=True)
class ArticleTokenizer:
    """Words of articles and summaries, in lower case; one without a symbol is the unknown word.

    Attributes:
        vocabulary: The text of each symbol, the special ones first.
        splitting: How a text becomes words.
    """

    vocabulary: list[str]
    splitting: Splitting
    kind: Literal["article"] = "article"

    @cached_property
    def words(self) -> Vocabulary:
        """The words that have a symbol."""
        return Vocabulary.of_symbols(self.vocabulary)

    def encode(self, text: str) -> list[int]:
        """The symbols of a text."""
        return self.words.encode(word for line in self.splitting.lines(text) for word in line)

    def decode(self, symbols: Iterable[int]) -> Iterator[str]:
        """The words of symbols, with a blank behind each."""
        return (f"{self.vocabulary[symbol]} " for symbol in symbols)


TaskTokenizer = TextTokenizer | StoryTokenizer | ArticleTokenizer
_KINDS: TypeAdapter[TaskTokenizer] = TypeAdapter(Annotated[TaskTokenizer, Field(discriminator="kind")])


def tokenizer_to_json(tokenizer: TaskTokenizer) -> bytes:
    """A tokenizer as JSON."""
    return _KINDS.dump_json(tokenizer)


def tokenizer_from_json(text: bytes) -> TaskTokenizer:
    """What `tokenizer_to_json` wrote.

    Raises:
        ValueError: It is something else.
    """
    return _KINDS.validate_json(text, strict=True)
