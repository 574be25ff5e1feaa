"""Reading prepared summarisation sets: articles with their summaries, as text.

The form `pairs` holds, for each split, the lists `<split>_article`, `<split>_summary` and `<split>_id` (see
`rmem_cli.data.texts`). Articles have a paragraph (or sentence) a line, summaries a sentence a line, where the
source tells them apart. Nothing is tokenised or put in lower case: that is up to the task.
"""

from dataclasses import dataclass

from rmem_cli.data.prepared import Prepared
from rmem_cli.data.texts import Texts

FORM = "pairs"


@dataclass(frozen=True)
class Pairs:
    """A prepared set of pairs.

    Args:
        prepared: The set, opened.
    """

    prepared: Prepared

    def split(self, name: str) -> tuple[Texts, Texts]:
        """Articles and summaries of a split, read when asked for.

        Args:
            name: "train", "valid" or "test".

        Raises:
            DataError: The split was missing when the data was prepared.
        """
        return Texts(self.prepared, f"{name}_article"), Texts(self.prepared, f"{name}_summary")

    def ids(self, name: str) -> Texts:
        """The id of each pair of a split; empty where the source has none."""
        return Texts(self.prepared, f"{name}_id")
