"""How articles are read, and what is said about them becomes words again."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from rmem_cli.data.articles import PAD, START, STOP, Article
from rmem_cli.data.task_tokenizers import ArticleTokenizer
from rmem_cli.errors import UsageError
from rmem_cli.models.batch import SourceBatch


class Sources:
    """The articles that a model says something about, without any data set.

    Args:
        tokenizer: Of their words.
        source_length: Words of an article that are read.

    Attributes:
        vocabulary: The words with a symbol.
    """

    def __init__(self, tokenizer: ArticleTokenizer, source_length: int) -> None:
        self.vocabulary = tokenizer.words
        self._splitting, self._source_length = tokenizer.splitting, source_length

    def article_of(self, text: str) -> Article:
        """An article of one's own, which has no summary, its text split into words as the others were.

        Raises:
            UsageError: It has no word.
        """
        source = [word for line in self._splitting.lines(text) for word in line]
        if not source:
            raise UsageError("the article has no word; give one that has a text")
        return Article("", source, [])

    def source_batch(self, articles: Sequence[Article]) -> SourceBatch:
        """Articles alone, about which nothing has been said yet: `inputs [batch, 1]` are `START`.

        Raises:
            UsageError: An article has no word.
        """
        if not all(article.source for article in articles):
            raise UsageError("an article without a word cannot be summarized; leave it out")
        begin = torch.full((len(articles), 1), START)
        return SourceBatch(
            begin,
            torch.full_like(begin, PAD),
            torch.zeros(begin.shape),
            torch.ones(len(articles), dtype=torch.bool),
            **self.tensors(articles),
        )

    def words(self, article: Article, classes: Iterable[int]) -> list[str]:
        """What was said about an article, in words.

        Args:
            article: It.
            classes: Symbols, and behind them the words of the article that have none; what follows the first
                `STOP` was not said.
        """
        texts = [*self.vocabulary.symbols, *self.outside(article)]
        said = []
        for each in classes:
            if each == STOP:
                break
            said.append(texts[each])
        return said

    def _source(self, article: Article) -> list[str]:
        return article.source[: self._source_length]

    def outside(self, article: Article) -> list[str]:
        """The words that are read of an article and have no symbol, in the order of their classes."""
        return self.vocabulary.outside(self._source(article))

    def tensors(self, articles: Sequence[Article]) -> dict[str, Tensor]:
        """What a batch holds of articles that something is said about."""
        sources = [self._source(article) for article in articles]
        symbols = [torch.tensor(self.vocabulary.encode(source)) for source in sources]
        classes = [
            torch.tensor(self.vocabulary.classes(source, self.vocabulary.outside(source)))
            for source in sources
        ]
        return {
            "source": padded(symbols, PAD),
            "source_words": padded(classes, PAD),
            "source_lengths": torch.tensor([len(source) for source in sources]),
        }


def padded(rows: Sequence[Tensor], fill: float) -> Tensor:
    """Rows of one length, filled up behind their ends."""
    return torch.nn.utils.rnn.pad_sequence(list(rows), batch_first=True, padding_value=fill)
