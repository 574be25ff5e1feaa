"""Hyperpartisan news, as prepared: 645 articles, each marked as hyperpartisan or not, and a split in folds.

The form `articles` holds `text`, `title` and `id` (lists of texts, see `rmem_cli.data.texts`), `label`
[articles] (1: hyperpartisan) and `rank` [articles], from which the folds follow.

The split: articles of each label are put in an order that depends only on their ids (the sha256 of "1:" and
the id), first all of label 0, then all of label 1; the place of an article in it is its `rank`. Fold k of
five holds the ranks with rank mod 5 = k: 129 articles, with both labels in the proportion of the whole. Held
out, it gives 64 articles for validation and 65 for the test, in turn; the others are the 516 for training.
These are the sizes of the split that published results use (Beltagy et al. 2020), not its articles, whose
ids are not known here. No random number is drawn, so that the split is the same everywhere.
"""

from dataclasses import dataclass

import numpy as np

from rmem_cli.data.prepared import Prepared, open_prepared
from rmem_cli.data.texts import Texts
from rmem_cli.errors import UsageError

FORM = "articles"
FOLDS = 5


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
    def ids(self) -> Texts:
        """The official id of each article."""
        return Texts(self.prepared, "id")

    @property
    def labels(self) -> np.ndarray:
        """[articles] of uint8; 1: hyperpartisan."""
        return self.prepared.array("label")

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
        rank = self.prepared.array("rank").astype(np.int64)
        held_out, second_half = rank % FOLDS == fold, rank // FOLDS % 2 == 1
        return {
            "train": np.flatnonzero(~held_out),
            "valid": np.flatnonzero(held_out & second_half),
            "test": np.flatnonzero(held_out & ~second_half),
        }


def open_hyperpartisan() -> Hyperpartisan:
    """Open the prepared data set.

    Raises:
        DataError: It is not there, or damaged; the message names the command that helps.
    """
    return Hyperpartisan(open_prepared("hyperpartisan", FORM))
