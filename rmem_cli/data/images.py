"""Reading prepared image sets (`mnist`, `cifar10`).

The form `images` holds, for each split, `<split>_images` [n, height, width] or [n, height, width, channels]
of uint8, and `<split>_labels` [n] of uint8; the vocabulary names the classes. Sequences are made by the task.
"""

from dataclasses import dataclass

import numpy as np

from rmem_cli.data.prepared import Prepared, open_prepared

FORM = "images"


@dataclass(frozen=True)
class Images:
    """A prepared image set.

    Args:
        prepared: The set, opened.
    """

    prepared: Prepared

    @property
    def classes(self) -> list[str]:
        """The name of each label."""
        return self.prepared.vocabulary

    def split(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Images and labels of a split, memory-mapped.

        Args:
            name: "train" or "test".

        Returns:
            Images [n, height, width(, channels)] of uint8, labels [n] of uint8.

        Raises:
            DataError: The split was missing when the data was prepared, or a label is none of the classes.
        """
        images = self.prepared.array(f"{name}_images")
        labels = self.prepared.array(f"{name}_labels", below=len(self.classes))
        if len(images) != len(labels):
            raise self.prepared.damaged(f"{name} has {len(images):,} images, but {len(labels):,} labels")
        return images, labels


def open_images(name: str) -> Images:
    """Open a prepared image set.

    Args:
        name: "mnist" or "cifar10".

    Raises:
        DataError: It is not there, or damaged; the message names the command that helps.
    """
    return Images(open_prepared(name, FORM))
