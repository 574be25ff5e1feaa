"""Text to symbols: characters, words, pieces of words (sentencepiece).

All that rmem takes from sentencepiece and torchtext is behind this module. torchtext brings torch with it, so
it is imported only where it is asked for.
"""

import io
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from rmem_cli.data.prepared import Prepared
from rmem_cli.errors import DataError, UsageError

UNKNOWN = "<unk>"
END_OF_LINE = "</s>"
"""What sentencepiece calls the piece that ends a line."""
_UNKNOWN_PIECE = "<unknown>"  # sentencepiece passes over its name in a text, and many texts have `<unk>`
_MOST_LINES = 1_000_000  # that sentencepiece is trained on; the first ones of the text
_LONGEST_LINE = 1 << 16  # bytes; sentencepiece passes over longer lines
_MOST_PIECES = 1_000_000_000  # of about twice as many, sentencepiece never ends, or cannot read the number


class VocabularyTokenizer:
    """Words or characters, by a vocabulary.

    Args:
        vocabulary: The text of each symbol; what is not in it is encoded as `<unk>`.
        split: How a text is split: "words" (at white space), "characters", or the name of a tokenizer of
            torchtext such as "basic_english".

    Raises:
        UsageError: There is no such way of splitting.
    """

    def __init__(self, vocabulary: Sequence[str], split: str = "words") -> None:
        self.vocabulary = list(vocabulary)
        self._split = splitter(split)
        self._symbols = {text: symbol for symbol, text in enumerate(vocabulary)}

    def without_symbol(self, text: str) -> str | None:
        """The first word of a text that no symbol stands for, not even `<unk>`; None: there is none."""
        if UNKNOWN in self._symbols:
            return None
        return next((word for word in self._split(text) if word not in self._symbols), None)

    def encode(self, text: str) -> list[int]:
        """The symbols of a text.

        Raises:
            DataError: It has a word that is not in the vocabulary, and neither is `<unk>`.
        """
        if (word := self.without_symbol(text)) is not None:
            raise DataError(f"{word!r} is not in the vocabulary.")
        unknown = self._symbols.get(UNKNOWN, 0)
        return [self._symbols.get(word, unknown) for word in self._split(text)]


class SentencePieceTokenizer:
    """Pieces of words, as sentencepiece finds them in a text; symbol 0 is unknown text, symbol 1 `</s>`.

    Args:
        model: A trained model, as sentencepiece stores it.

    Raises:
        DataError: It is not such a model.
    """

    def __init__(self, model: bytes) -> None:
        from sentencepiece import SentencePieceProcessor

        try:
            self._processor = SentencePieceProcessor(model_proto=model)
            self.vocabulary = [self._processor.id_to_piece(piece) for piece in range(len(self._processor))]
        except RuntimeError as error:
            raise DataError(f"This is not a sentencepiece model: {error}.") from error
        self.model = model

    @classmethod
    def train(
        cls, texts: Iterable[str], size: int, kind: str = "unigram", *, exact: bool = True
    ) -> "SentencePieceTokenizer":
        """Train on texts; the same texts give the same model.

        Args:
            texts: Lines of text.
            size: Pieces.
            kind: "unigram" or "bpe".
            exact: Whether a text that does not give as many pieces is refused, or gives fewer.

        Raises:
            UsageError: sentencepiece cannot make that many pieces of the text.
            Exception: Whatever the texts raise while they are read.
        """
        if size > _MOST_PIECES:
            raise UsageError(
                f"sentencepiece cannot make {size:,} pieces of a text; {_MOST_PIECES:,} are the most, and "
                "a few thousand are usual."
            )
        from sentencepiece import SentencePieceTrainer

        model, watched = io.BytesIO(), _Watched(texts)
        try:
            SentencePieceTrainer.train(
                sentence_iterator=watched,
                model_writer=model,
                vocab_size=size,
                hard_vocab_limit=exact,
                model_type=kind,
                character_coverage=1.0,
                unk_id=0,
                unk_piece=_UNKNOWN_PIECE,
                eos_id=1,
                bos_id=-1,
                pad_id=-1,
                input_sentence_size=_MOST_LINES,
                shuffle_input_sentence=False,
                max_sentence_length=_LONGEST_LINE,
                num_threads=1,
                minloglevel=2,
            )
        except (RuntimeError, OSError) as error:
            if watched.failure is not None:
                raise watched.failure from None
            # Behind the place in its source and the condition.
            reason = str(error).rsplit("] ", 1)[-1].strip().rstrip(".")
            raise UsageError(f"sentencepiece cannot make {size:,} pieces of this text: {reason}.") from error
        return cls(model.getvalue())

    def encode(self, text: str) -> list[int]:
        """The symbols of a line of text."""
        return list(self._processor.encode(text))

    def decode(self, symbols: Iterable[int]) -> str:
        """The text of symbols."""
        return str(self._processor.decode(list(symbols)))


class _Watched(Iterator[str]):
    """Texts that keep what they fail with, which sentencepiece tells as a failure of its own.

    Attributes:
        failure: What reading them raised; None: nothing.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        self._texts = iter(texts)
        self.failure: BaseException | None = None

    def __next__(self) -> str:
        try:
            return next(self._texts)
        except StopIteration:
            raise
        except BaseException as error:
            self.failure = error
            raise


def open_pieces(prepared: Prepared) -> SentencePieceTokenizer:
    """The tokenizer that a prepared form `sentencepiece-<size>` was made with."""
    return prepared_model(prepared, "model")


def prepared_model(prepared: Prepared, array: str) -> SentencePieceTokenizer:
    """The tokenizer that is an array of a prepared form.

    Raises:
        DataError: It is none.
    """
    model = prepared.array(array).tobytes()
    try:
        return SentencePieceTokenizer(model)
    except DataError as error:
        raise prepared.damaged(f"{array}.bin is not a sentencepiece model") from error


def build_vocabulary(counts: Counter[str]) -> list[str]:
    """What was counted, most frequent first, ties in the order of Unicode."""
    from torchtext.vocab import Vocab

    symbols: list[str] = Vocab(counts, specials=[]).itos
    return symbols


def splitter(name: str) -> Callable[[str], list[str]]:
    """A way of splitting text.

    Args:
        name: "words" (at white space), "characters", or a tokenizer of torchtext such as "basic_english".

    Raises:
        UsageError: There is none of that name.
    """
    if name == "characters":
        return list
    from torchtext.data.utils import get_tokenizer

    try:
        found: Any = get_tokenizer(None if name == "words" else name)
    except (ValueError, ImportError) as error:
        raise UsageError(f"There is no way of splitting text called {name!r}: {error}.") from error
    return lambda text: list(found(text))


def whole_lines(pieces: Iterable[str], longest: int = 4096) -> Iterator[str]:
    """The lines of a text that comes in pieces; longer ones are cut, at a space if there is one.

    Args:
        pieces: The text.
        longest: Characters of a line.
    """
    rest = ""
    for piece in pieces:
        *lines, rest = (rest + piece).split("\n")
        for line in lines:
            yield from _cut(line, longest)
        if len(rest) > longest:
            *cut, rest = _cut(rest, longest)
            yield from cut
    if rest:
        yield from _cut(rest, longest)


def _cut(line: str, longest: int) -> Iterator[str]:
    start = 0
    while len(line) - start > longest:
        space = line.rfind(" ", start, start + longest)
        end = space + 1 if space > start else start + longest
        yield line[start:end]
        start = end
    yield line[start:]
