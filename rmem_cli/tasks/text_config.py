"""Settings of the tasks about texts: language models, classification of articles."""

import math
import re
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, PositiveInt, model_validator

from rmem_cli.recipe.kinds import TaskSettings
from rmem_cli.recipe.own_files import OwnDocuments, OwnText
from rmem_cli.tasks.baselines import unigrams

# Texts whose documents `rmem_cli.data.documents` finds, word by word.
WITH_DOCUMENTS = ("wikitext2", "wikitext103")
Alignment = Literal["overlapping", "left", "right", "center"]
_OF_FOLDS = ("fold", "whole_fold", "twins_together")


def no_path(of_own: str) -> AfterValidator:
    """The rule of a name of prepared data that it is none of a file.

    Args:
        of_own: What the message says of files of one's own.
    """

    def check(text: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9_-]+", text):
            raise ValueError(f"must be a name that `rmem fetch --list` shows, not {text!r}; {of_own}")
        return text

    return AfterValidator(check)


PreparedName = Annotated[str, no_path("a file of your own is named by text: {file: ...}")]


_SYMBOLS = {"word": "words", "words": "words", "sentencepiece": "pieces of words"}


class LanguageModelSettings(TaskSettings):
    """Next-symbol prediction over a whole text, the state carried from batch to batch.

    Attributes:
        dataset: Name of a prepared data set, as `rmem fetch` knows it.
        form: Which of its prepared forms: `char`, `word`, `bytes`, ...
        text: A text of one's own, in place of a data set.
        segment_length: Symbols of each text column in one training batch; the state's gradient stops there.
        carried: Whether the state goes on from one batch to the next, or every batch starts afresh.
        reset_at_documents: Whether the state starts afresh with each document of the text, in training and in
            evaluation. (What `rmem sample` writes is one document to the model: where the next one begins is
            not known before its title is complete.)
    """

    implementation: ClassVar[str] = "rmem_cli.tasks.language_model:LanguageModel"
    metrics: ClassVar[tuple[str, ...]] = ("bpc", "perplexity", "loss", "accuracy")
    generated: ClassVar[bool] = False
    predicts_future: ClassVar[bool] = True
    answers_in_symbols: ClassVar[bool] = True
    common: ClassVar[frozenset[str]] = frozenset({"segment_length"})
    own: ClassVar[str] = "text"
    unhashed: ClassVar[frozenset[str]] = frozenset({"text"})  # its content is part of the data hash

    kind: Literal["language_model"] = "language_model"
    dataset: PreparedName | None = None
    form: PreparedName | None = None
    text: OwnText | None = None
    segment_length: PositiveInt
    carried: bool = True
    reset_at_documents: bool = False

    @model_validator(mode="after")
    def _one_text(self) -> Self:
        named = (self.dataset, self.form)
        if self.text is not None and named != (None, None):
            raise ValueError("dataset and form name another text than text; leave them out, or text")
        if self.text is None and None in named:
            raise ValueError("needs dataset and form, such as ptb and char, or a text of your own as text")
        return self

    @model_validator(mode="after")
    def _documents_are_known(self) -> Self:
        if self.reset_at_documents and (self.dataset not in WITH_DOCUMENTS or self.form != "word"):
            named = "text" if self.dataset is None else f"{self.dataset} ({self.form})"
            raise ValueError(
                f"{named} does not say where documents begin; set reset_at_documents to false, or read the "
                f"words of {' or '.join(WITH_DOCUMENTS)}"
            )
        return self

    def chance(self, split: str) -> dict[str, float]:
        """The unigram model of the training text, where it is known."""
        known = unigrams().get((self.dataset or "", self.form or "", split))
        if known is None:
            return {}
        loss, accuracy = known
        return {
            "loss": loss,
            "bpc": loss / math.log(2),
            "perplexity": math.exp(loss),
            "accuracy": accuracy,
        }

    def refuses(self, metric: str) -> str:
        """See `TaskSettings.refuses`; bits per character of what is no character."""
        symbols = (self.form or "").split("-")[0] if self.text is None else self.text.tokens
        if metric != "bpc" or symbols not in _SYMBOLS:
            return ""
        return (
            f"is of characters, and the symbols of this text are {_SYMBOLS[symbols]}; take perplexity or loss"
        )

    def data_sets(self) -> list[tuple[str, str]]:
        """The text."""
        return [] if self.dataset is None or self.form is None else [(self.dataset, self.form)]


class DocumentClassificationSettings(TaskSettings):
    """Documents to be classified; `rmem_cli.tasks.document_classification` has an example.

    Attributes:
        dataset: Which articles; null where `documents` are read.
        documents: Documents of one's own, in place of a data set.
        fold: Which fold is held out, 0 to 4; the tokenizer has not seen it either.
        segment_length: Symbols of a segment; that of the core, if it has one.
        segments: Most segments of an article that are read.
        alignment: Where segments that are not full stand: `overlapping` fills the last one from the one
            before it, `left` leaves it short, `right` leaves the first one short, `center` makes all of an
            article about as long.
        vary_segments: Whether in each training batch another number of segments, up to `segments`, is read at
            most of each article.
        whole_fold: Whether all held-out articles are the test split, so that the folds together test every
            article; there is no validation then. Without, half of them are for validation.
        twins_together: Whether articles that begin with the same 200 letters are held out together, of which
            there are three pairs; the test otherwise asks for what was read in training.
        backbone: Name or folder of the pretrained model whose tokenizer makes the symbols; None: pieces of
            words, found in the articles that are not held out.
    """

    implementation: ClassVar[str] = "rmem_cli.tasks.document_classification:DocumentClassification"
    metrics: ClassVar[tuple[str, ...]] = ("f1", "accuracy", "loss")
    generated: ClassVar[bool] = False
    common: ClassVar[frozenset[str]] = frozenset({"segment_length", "segments"})
    numbered: ClassVar[frozenset[str]] = frozenset({"fold"})
    own: ClassVar[str] = "documents"
    unhashed: ClassVar[frozenset[str]] = frozenset({"documents"})  # their content is part of the data hash

    kind: Literal["document_classification"] = "document_classification"
    dataset: Literal["hyperpartisan"] | None = "hyperpartisan"
    documents: OwnDocuments | None = None
    fold: int = Field(default=0, ge=0, le=4)
    segment_length: PositiveInt
    segments: PositiveInt
    alignment: Alignment = "overlapping"
    vary_segments: bool = False
    whole_fold: bool = False
    twins_together: bool = False
    backbone: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _documents_are_the_data_set(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("documents") is not None:
            return {"dataset": None, **values}
        return values

    @model_validator(mode="after")
    def _one_set_of_documents(self) -> Self:
        if (self.dataset is None) == (self.documents is None):
            raise ValueError("needs either a dataset or documents of your own; leave one of them out")
        of_folds = [name for name in _OF_FOLDS if getattr(self, name)]
        if self.documents is not None and of_folds:
            raise ValueError(f"{', '.join(of_folds)}: documents of your own have no folds; leave it out")
        return self

    def across_folds(self) -> Self | None:
        """Those of any fold, where all of it is tested."""
        return self.model_copy(update={"fold": 0}) if self.whole_fold else None

    def empty_splits(self) -> frozenset[str]:
        """See `TaskSettings.empty_splits`."""
        return frozenset({"valid"}) if self.whole_fold else super().empty_splits()

    def data_sets(self) -> list[tuple[str, str]]:
        """The articles, as pieces or as they are."""
        if self.dataset is None:
            return []
        form = "pieces" if self.backbone is None else "articles"
        return [(self.dataset, f"{form}-twins" if self.twins_together else form)]
