"""What a model says about articles, and what that is worth."""

from collections.abc import Sequence

import torch

from rmem_cli.data.articles import PAD, START, STOP, Article
from rmem_cli.evaluation.reader import Reader
from rmem_cli.evaluation.rouge import Rouge, lines, repeated_trigrams, sentences
from rmem_cli.evaluation.search import search
from rmem_cli.models.model import Model
from rmem_cli.recipe.schema import BeamSearchSettings, SummariesSettings
from rmem_cli.results.summaries import Summary
from rmem_cli.tasks.sources import Sources
from rmem_cli.tasks.summarization import Summarization

_NEVER_SAID = (PAD, START)


class Summarizer:
    """Says something about articles, by a model or by their first sentences, and scores it.

    Args:
        model: In evaluation mode; not read where sentences of the article are taken.
        task: What is said, and about which articles.
        settings: How.

    Attributes:
        scorer: What scores, in words.

    Raises:
        UsageError: The library of ROUGE is missing.
    """

    def __init__(self, model: Model, task: Summarization, settings: SummariesSettings) -> None:
        self._model, self._task, self._settings = model, task, settings
        self._rouge = Rouge(stemming=settings.stemming)
        self.scorer = self._rouge.settings

    def __call__(self, split: str, places: Sequence[int]) -> list[Summary]:
        """The summaries of some articles of a split, by their places.

        Raises:
            DivergedError: The model predicts what is no number.
        """
        articles = [self._task.articles(split)[place] for place in places]
        pairs = zip(places, articles, self._said(articles), strict=True)
        return [self._scored(place, article, words) for place, article, words in pairs]

    def joined(self, summaries: Sequence[Summary]) -> list[Summary]:
        """What is said about the sections of each paper as one summary, in the order of its sections.

        Papers are in the order of their first sections, between which those of others may stand.

        Args:
            summaries: Those of its sections, whose id and reference are those of the paper, in any order.
        """
        papers: dict[str | int, list[Summary]] = {}
        for one in sorted(summaries, key=lambda one: one.place):
            papers.setdefault(one.id or one.place, []).append(one)
        return [self._joined(paper) for paper in papers.values()]

    def _joined(self, paper: Sequence[Summary]) -> Summary:
        first = paper[0]
        words = [word for section in paper for word in section.summary.split()]
        reference = [sentence.split() for sentence in first.reference.split("\n")]
        return self._scored(first.place, Article(first.id, [], reference), words)

    def _said(self, articles: Sequence[Article]) -> list[list[str]]:
        if self._settings.lead is not None:
            return [lead(article.source, self._settings.lead) for article in articles]
        return said_about(self._model, self._task.sources, articles, self._settings)

    def _scored(self, place: int, article: Article, words: Sequence[str]) -> Summary:
        said = sentences(words)
        scores = {**self._rouge(article.reference, said), **repeated_trigrams(words)}
        return Summary(place, article.id, lines(article.reference), lines(said), scores)


def lead(words: Sequence[str], count: int) -> list[str]:
    """The first sentences of a text."""
    return [word for sentence in sentences(words)[:count] for word in sentence]


@torch.no_grad()
def said_about(
    model: Model, sources: Sources, articles: Sequence[Article], settings: BeamSearchSettings
) -> list[list[str]]:
    """The words of the best that a search finds to be said about each of some articles.

    Args:
        model: In evaluation mode.
        sources: How the model reads articles.
        articles: At least one, each with a word.
        settings: How it is looked for.

    Raises:
        DivergedError: The model predicts what is no number.
    """
    parameter = next(model.parameters())
    batch = sources.source_batch(articles).to(parameter.device, parameter.dtype)
    reader = Reader(model, settings.longest, about=batch)
    with model.constant_weights():
        best = search(reader, batch.inputs, settings, STOP, _NEVER_SAID)
    return [sources.words(article, one.symbols) for article, one in zip(articles, best, strict=True)]
