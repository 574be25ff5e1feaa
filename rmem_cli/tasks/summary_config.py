"""Settings of the summaries of articles."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, PositiveInt, model_validator

from rmem_cli.recipe.kinds import TaskSettings
from rmem_cli.recipe.own_files import OwnPairs
from rmem_cli.results.metrics import REPEATED_TRIGRAMS, ROUGE
from rmem_cli.tasks.text_config import no_path

_PreparedName = Annotated[str, no_path("articles of your own are named by pairs: {file: ...}")]


class SummarizationSettings(TaskSettings):
    """Articles and their summaries; `rmem_cli.tasks.summarization` has an example.

    Attributes:
        dataset: Which articles: `cnn_dailymail`, `pubmed`, `arxiv`, `science_daily`, or `own_articles`.
        pairs: Articles and summaries of one's own, in place of a data set.
        vocabulary: Most symbols; the words with one are those that occur most often in what is trained on.
        source_length: Most words of an article that are read.
        target_length: Most words of a summary that are learned, its end, where it has fewer, among them.
        split: Whether the splits are those of the data set (`published`), or all of its articles that are
            here are divided anew, a tenth for validation and a tenth for the test, whatever the seed
            (`drawn`).
        weight: Whether each word of a summary counts equally in the loss, or each summary as a whole
            (`summary`, as published).
    """

    implementation: ClassVar[str] = "rmem_cli.tasks.summarization:Summarization"
    metrics: ClassVar[tuple[str, ...]] = ("loss", "accuracy", "exact_match", *ROUGE, REPEATED_TRIGRAMS)
    generated: ClassVar[bool] = False
    predicts_future: ClassVar[bool] = True
    answers_in_symbols: ClassVar[bool] = True
    has_source: ClassVar[bool] = True
    common: ClassVar[frozenset[str]] = frozenset({"vocabulary", "source_length", "target_length"})
    own: ClassVar[str] = "pairs"
    unhashed: ClassVar[frozenset[str]] = frozenset({"pairs"})  # their content is part of the data hash

    kind: Literal["summarization"] = "summarization"
    dataset: _PreparedName | None = None
    pairs: OwnPairs | None = None
    vocabulary: Annotated[int, Field(ge=5)] = 50_000
    source_length: PositiveInt = 400
    target_length: PositiveInt = 100
    split: Literal["published", "drawn"] = "published"
    weight: Literal["word", "summary"] = "word"

    @model_validator(mode="after")
    def _one_set_of_articles(self) -> Self:
        if (self.dataset is None) == (self.pairs is None):
            raise ValueError("needs either a dataset, such as cnn_dailymail, or pairs of your own")
        return self

    @model_validator(mode="after")
    def _articles_are_divided(self) -> Self:
        if self.pairs is not None and self.pairs.empty_splits and self.split == "published":
            raise ValueError(
                "pairs has no file for each split; give train, valid and test, or one file, or set split to "
                "drawn"
            )
        return self

    def empty_splits(self) -> frozenset[str]:
        """None, as articles are divided anew where a split has no file of its own."""
        return frozenset()

    def data_sets(self) -> list[tuple[str, str]]:
        """The articles, word by word."""
        return [] if self.dataset is None else [(self.dataset, "words")]
