"""Hyperpartisan news, as prepared: 645 articles, each marked as hyperpartisan or not, and a split in folds.

Both forms hold `label` [articles] (1: hyperpartisan) and `rank` [articles], from which the folds follow.
The form `articles` has `text`, `title` and `id` besides (lists of texts, see `rmem_cli.data.texts`). The
form `pieces` has, for each fold k, all articles as pieces of words: `fold<k>`, one after the other, title and
text each with `</s>` at its end; `fold<k>_sizes` [articles], pieces of each; and `fold<k>_model`, the
sentencepiece model, which was trained on the articles outside of the fold.

The split: articles of each label are put in an order that depends only on their ids (the sha256 of "1:" and
the id), first all of label 0, then all of label 1; the place of an article in it is its `rank`. Fold k of
five holds the ranks with rank mod 5 = k: 129 articles, with both labels in the proportion of the whole. Held
out, it gives 64 articles for validation and 65 for the test, in turn; the others are the 516 for training.
These are the sizes of the split that published results use (Beltagy et al. 2020), not its articles, whose
ids are not known here. No random number is drawn, so that the split is the same everywhere.

Three pairs of articles are twins: two are one text under two ids, one is a text and its revision, of which
98 % is the same. Each pair stands on both sides of a fold. In the forms `articles-twins` and `pieces-twins`,
else the same, a twin has the rank of the first of its text, so that both are held out together; folds then
have 126 to 130 articles.
"""

from dataclasses import dataclass

import numpy as np

from rmem_cli.data.prepared import Prepared, open_prepared
from rmem_cli.data.texts import Texts
from rmem_cli.data.tokenizers import SentencePieceTokenizer, prepared_model
from rmem_cli.errors import UsageError

FORM = "articles"
PIECES = "pieces"
TWINS = "-twins"
"""What the name of a form ends in that holds twins out together."""
FOLDS = 5


def fold_of(ranks: np.ndarray) -> np.ndarray:
    """The fold in which each article is held out: [articles], 0 to 4."""
    return ranks.astype(np.int64) % FOLDS


@dataclass(frozen=True)
class Hyperpartisan:
    """The articles.

    Args:
        prepared: The prepared data set.
    """

    prepared: Prepared

    @property
    def texts(self) -> Texts:
        """The text of each article, without markup, its words separated by single spaces."""
        return Texts(self.prepared, "text")

    @property
    def titles(self) -> Texts:
        """The title of each article."""
        return Texts(self.prepared, "title")

    @property
    def labels(self) -> np.ndarray:
        """[articles] of uint8; 1: hyperpartisan."""
        return self.prepared.array("label", below=2)

    def tokenizer(self, fold: int) -> SentencePieceTokenizer:
        """What made the pieces of a fold (form `pieces`)."""
        return prepared_model(self.prepared, f"fold{fold}_model")

    def symbols(self, fold: int) -> int:
        """How many pieces a fold has (form `pieces`)."""
        known: int | None = self.prepared.details.get("symbols")  # of articles that are not here
        return known or len(self.tokenizer(fold).vocabulary)

    def pieces(self, fold: int) -> list[np.ndarray]:
        """The symbols of each article, in the fold's own vocabulary (form `pieces`)."""
        symbols = self.prepared.array(f"fold{fold}", below=self.symbols(fold))
        ends = np.cumsum(self._of_each_article(f"fold{fold}_sizes"), dtype=np.int64)
        if ends[-1] != len(symbols):
            raise self.prepared.damaged(f"fold{fold}.bin does not have the sizes in fold{fold}_sizes.bin")
        return np.split(symbols, ends[:-1])

    def split(self, fold: int) -> dict[str, np.ndarray]:
        """Which articles are for training, validation and test if a fold is held out.

        Args:
            fold: 0 to 4.

        Returns:
            "train", "valid", "test" to positions of articles, in the order of the official file.

        Raises:
            UsageError: There is no such fold.
        """
        if fold not in range(FOLDS):
            raise UsageError(f"There is no fold {fold}; there are 0 to {FOLDS - 1}.")
        rank = self._of_each_article("rank")
        held_out, second_half = fold_of(rank) == fold, rank // FOLDS % 2 == 1
        return {
            "train": np.flatnonzero(~held_out),
            "valid": np.flatnonzero(held_out & second_half),
            "test": np.flatnonzero(held_out & ~second_half),
        }

    def _of_each_article(self, name: str) -> np.ndarray:
        """An array that has a number for each article."""
        array = self.prepared.array(name)
        if len(array) != len(self.labels):
            raise self.prepared.damaged(
                f"{name}.bin has {len(array):,} articles instead of {len(self.labels):,}"
            )
        return array


def open_hyperpartisan(form: str = FORM) -> Hyperpartisan:
    """Open the prepared data set.

    Args:
        form: `articles`, `pieces`, `articles-twins` or `pieces-twins`.

    Raises:
        DataError: It is not there, or damaged; the message names the command that helps.
    """
    return Hyperpartisan(open_prepared("hyperpartisan", form))
