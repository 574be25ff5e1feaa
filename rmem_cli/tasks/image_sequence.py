"""Images read as sequences of pixels: sequential MNIST, permuted MNIST, sequential CIFAR-10."""

from collections.abc import Iterator

import numpy as np
import torch

from rmem_cli.data.images import open_images
from rmem_cli.errors import UsageError
from rmem_cli.models.batch import Batch
from rmem_cli.recipe.schema import Drawn
from rmem_cli.seeding import generator
from rmem_cli.tasks.base import Task
from rmem_cli.tasks.image_config import ImageSequenceSettings
from rmem_cli.tasks.like_length import too_few


class ImageSequence(Task):
    """Read the pixels of an image, some at each step, and name its class at the last step.

    An image of 2 x 2 pixels, 0 black and 255 white, read one pixel at a time, row by row:

        image     0 255        inputs    0.0 1.0 0.2 0.0
                 51   0        target                  7

    Loss and accuracy count the last step only. The features of a step are the values of its pixels in [0, 1];
    a colour image has three for each pixel. Each pass over the training images is in an order of its own, a
    function of the seed and the number of the pass; images that do not fill a batch are left out of it.

    Args:
        settings: All options. The order of the pixels is one for every image of every split and every run,
            whatever the seed of the run.

    Raises:
        DataError: The images are missing or damaged.
        UsageError: All training images are held out.

    Source: Le et al. 2015, section 4.2 (pixel by pixel, and permuted); Gu et al. 2020, appendix D (by
    reversed bits).
    """

    def __init__(self, settings: ImageSequenceSettings) -> None:
        images = open_images(settings.dataset)
        held_out, pixels_per_step = settings.held_out, settings.pixels_per_step
        shape = images.split("train")[0].shape
        self.images = images
        self.training_images: int = shape[0] - held_out
        if self.training_images <= 0:
            raise UsageError(
                f"there are {shape[0]:,} training images, of which task.held_out is {held_out:,}; lower it"
            )
        self.pixels = shape[1] * shape[2]
        self.steps = self.pixels // pixels_per_step
        self.symbols = pixels_per_step * (shape[3] if len(shape) > 3 else 1)
        self.classes = len(images.classes)
        self.pixel_order = torch.arange(self.pixels)
        if settings.permutation_seed is not None:
            source = generator(settings.permutation_seed, "pixel order")
            self.pixel_order = torch.randperm(self.pixels, generator=source)
        elif settings.permutation == "bit_reversal":
            self.pixel_order = torch.tensor(bit_reversal(self.pixels))

    @property
    def class_names(self) -> list[str]:
        """See `Task.class_names`."""
        return self.images.classes

    def steps_per_epoch(self, batch_size: int) -> int:
        """Training steps of one pass over the images.

        Raises:
            UsageError: There are not enough images for one batch.
        """
        steps = self.training_images // batch_size
        if steps == 0:
            raise too_few(self.training_images, "images", batch_size)
        return steps

    def training_batch(self, step: int, batch_size: int, seed: int) -> Batch:
        """See `Task.training_batch`."""
        epoch, step_of_epoch = divmod(step, self.steps_per_epoch(batch_size))
        source = generator(seed, "image_sequence", "order", epoch)
        order = torch.randperm(self.training_images, generator=source)
        rows = order[step_of_epoch * batch_size : (step_of_epoch + 1) * batch_size]
        return self._batch("train", rows.numpy())

    def evaluation_batches(
        self, split: str, examples: int | None, batch_size: int, seed: int, drawn: Drawn = "by_batch"
    ) -> Iterator[Batch]:
        """See `Task.evaluation_batches`; the first images of the split, in the order of the data set."""
        del drawn, seed
        rows = self._rows(split)[:examples]
        for start in range(0, len(rows), batch_size):
            yield self._batch("test" if split == "test" else "train", rows[start : start + batch_size])

    def _rows(self, split: str) -> np.ndarray:
        """Where the images of a split are in the arrays of the data set."""
        if split == "train":
            return np.arange(self.training_images)
        if split == "valid":
            return np.arange(self.training_images, len(self.images.split("train")[1]))
        return np.arange(len(self.images.split("test")[1]))

    def _batch(self, split: str, rows: np.ndarray) -> Batch:
        images, labels = self.images.split(split)
        pixels = torch.from_numpy(images[rows]).view(len(rows), self.pixels, -1)
        inputs = (pixels[:, self.pixel_order] / 255).view(len(rows), self.steps, self.symbols)
        targets = torch.zeros(len(rows), self.steps, dtype=torch.long)
        targets[:, -1] = torch.from_numpy(labels[rows].astype(np.int64))
        weight = torch.zeros(len(rows), self.steps)
        weight[:, -1] = 1
        return Batch(inputs, targets, weight, fresh=torch.ones(len(rows), dtype=torch.bool))


def bit_reversal(size: int) -> list[int]:
    """The numbers 0 to size - 1 in the order of 0, 1, 2, ... with their bits reversed.

    As many bits as the largest number needs: eight numbers are in the order 0 4 2 6 1 5 3 7. Where the size
    is no power of two, the numbers beyond it are left out.

    Source: Gu et al. 2020, appendix D, names this permutation of MNIST; how 784 pixels are put into it is
    assumed.
    """
    bits = (size - 1).bit_length()
    reversed_numbers = (int(f"{number:0{bits}b}"[::-1], 2) for number in range(2**bits))
    return [number for number in reversed_numbers if number < size]
