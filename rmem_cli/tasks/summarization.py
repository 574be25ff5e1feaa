"""Summaries of articles."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from rmem_cli.data.articles import PAD, START, STOP, Article, Articles, Vocabulary, WordSet, open_words
from rmem_cli.data.own_pairs import open_own_pairs
from rmem_cli.data.task_tokenizers import ArticleTokenizer
from rmem_cli.errors import UsageError
from rmem_cli.models.batch import Batch, SourceBatch
from rmem_cli.recipe.schema import Drawn
from rmem_cli.seeding import derive_seed, generator
from rmem_cli.tasks.base import Task
from rmem_cli.tasks.like_length import LikeLength
from rmem_cli.tasks.sources import Sources, padded
from rmem_cli.tasks.summary_config import SummarizationSettings

_POOL = 100  # batches whose articles are sorted by length together, as published
_HELD_OUT = 10


class Summarization(Task):
    """Read an article, and say its summary word by word.

    With the symbols `the` 4, `sat` 5 and no others but the special ones (`START` 2, `STOP` 3, a word without
    a symbol 0), `cat` and `mat` are classes behind all symbols, each row by itself; `x` beyond the end of a
    shorter row in the same batch counts for nothing:

        article   the cat sat the mat      summary   the cat sat
        source     4   0   5   4   0       inputs    START  the  cat(0)  sat   x
        words      4   6   5   4   7       targets    the   cat(6)  sat  STOP  x

    A word of a summary that is neither a symbol nor in what is read of the article is the unknown one.

    Batches of like length: each pass over the training articles is in an order of its own, a function of the
    seed and the number of the pass, in which the articles of a hundred batches are sorted by their length;
    those that do not fill a batch are left out of it. In evaluation all are sorted by their length.

    Args:
        settings: All options.

    Attributes:
        vocabulary: The words with a symbol.
        sources: How articles are read.

    Raises:
        DataError: Articles are missing or damaged.

    Source: See et al. 2017, and the published code of Dangovski et al. 2019.
    """

    def __init__(self, settings: SummarizationSettings) -> None:
        self.settings = settings
        self._words = articles = _opened(settings)
        if settings.split == "published":
            self._splits = articles.published()
        else:
            self._splits = articles.drawn(_HELD_OUT, derive_seed(0, "articles", "split"))
        self.vocabulary: Vocabulary = articles.vocabulary(self._splits["train"], settings.vocabulary)
        self.sources = Sources(self.tokenizer, settings.source_length)
        self.symbols = self.classes = len(self.vocabulary)
        self._passes = LikeLength(
            self._read(self._splits["train"]),
            "articles",
            lambda seed, epoch: generator(seed, "articles", "order", epoch),
            _POOL,
        )

    @property
    def tokenizer(self) -> ArticleTokenizer:
        """See `Task.tokenizer`."""
        return ArticleTokenizer(self.vocabulary.symbols, self._words.splitting)

    def articles(self, split: str) -> Articles:
        """The articles of a split, each with all of its words."""
        return self._splits[split]

    def count(self, split: str) -> int:
        """How many articles a split has; of a set that is not here, as many as are known to be in it."""
        counts = self._words.prepared.meta["counts"]
        if self.settings.split == "published":
            return int(counts[split])
        total = sum(counts[each] for each in self._words.splits)
        held_out = total // _HELD_OUT
        return int(total - 2 * held_out if split == "train" else held_out)

    def steps_per_epoch(self, batch_size: int) -> int:
        """Training steps of one pass over the articles.

        Raises:
            UsageError: There are not enough articles for one batch.
        """
        return self._passes.steps(batch_size)

    def training_batch(self, step: int, batch_size: int, seed: int) -> SourceBatch:
        """See `Task.training_batch`."""
        articles = self._splits["train"]
        return self.batch([articles[place] for place in self._passes.batch(step, batch_size, seed)])

    def evaluation_batches(
        self, split: str, examples: int | None, batch_size: int, seed: int, drawn: Drawn = "by_batch"
    ) -> Iterator[SourceBatch]:
        """See `Task.evaluation_batches`; the first articles of the split, the shortest of them first."""
        del drawn, seed
        articles, order = self._splits[split], self.order(split, examples)
        for first in range(0, len(order), batch_size):
            yield self.batch([articles[place] for place in order[first : first + batch_size]])

    def order(self, split: str, examples: int | None) -> list[int]:
        """The places of the first articles of a split, the shortest of them first."""
        places: list[int] = self._read(self._splits[split])[:examples].argsort(kind="stable").tolist()
        return places

    def batch(self, articles: Sequence[Article]) -> SourceBatch:
        """Articles with their summaries."""
        inputs, targets = zip(*map(self._said, articles), strict=True)
        there = [torch.ones(len(row)) for row in targets]
        if self.settings.weight == "summary":
            there = [row / len(row) for row in there]
        return SourceBatch(
            padded(inputs, PAD),
            padded(targets, PAD),
            padded(there, 0.0),
            torch.ones(len(articles), dtype=torch.bool),
            **self.sources.tensors(articles),
        )

    def article_named(self, article_id: str) -> Article:
        """The article of an id, of the first split that has it: test, validation, training.

        Raises:
            UsageError: There is none.
        """
        for split in ("test", "valid", "train"):
            article = self._splits[split].named(article_id) if split in self._splits else None
            if article is not None:
                return article
        name = self._words.prepared.meta["name"]
        raise UsageError(
            f"{name} has no article of id {article_id!r}; some are in the samples beside the results, and in "
            "the file of summaries in the run folder"
        )

    def exact(self, right: Tensor, batch: Batch, published: bool) -> Tensor:
        """See `Task.exact`; where all that is learned of a summary is right, greedy search says it."""
        del published
        return (right | (batch.weight == 0)).all(1)

    def _read(self, articles: Articles) -> np.ndarray:
        """How many words of each are read, `[articles]`."""
        return np.minimum(articles.lengths, self.settings.source_length)

    def _said(self, article: Article) -> tuple[Tensor, Tensor]:
        """What is learned of a summary: the symbols that are read, and the classes that are said."""
        words = [word for sentence in article.reference for word in sentence]
        classes = self.vocabulary.classes(words, self.sources.outside(article))
        most = self.settings.target_length
        inputs = [START, *self.vocabulary.encode(words)]
        return torch.tensor(inputs[:most]), torch.tensor([*classes, STOP][:most])


def _opened(settings: SummarizationSettings) -> WordSet:
    if settings.pairs is not None:
        return WordSet(open_own_pairs(settings.pairs))
    [(name, _)] = settings.data_sets()
    return open_words(name)
