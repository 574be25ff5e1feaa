"""Settings of images that are read as sequences."""

from typing import ClassVar, Literal, Self

from pydantic import NonNegativeInt, PositiveInt, model_validator

from rmem_cli.recipe.kinds import TaskSettings

# Of one image; here, so that a recipe is checked without its data.
PIXELS = {"mnist": 28 * 28, "cifar10": 32 * 32}
IMAGES = {"mnist": 60_000, "cifar10": 50_000}  # to train on


class ImageSequenceSettings(TaskSettings):
    """An image read as a sequence of pixels, to be classified at its end.

    Attributes:
        dataset: Which images.
        pixels_per_step: Pixels of one step, in reading order: 1, 2, a row of 28 or 32, or another divisor.
        permutation_seed: What the one order in which the pixels of all images are read derives from; None
            reads them row by row.
        permutation: `bit_reversal` reads the pixels of all images by their number with its bits reversed;
            None leaves the order to `permutation_seed`.
        held_out: How many images at the end of the training split are for validation, and not trained on.
    """

    implementation: ClassVar[str] = "rmem_cli.tasks.image_sequence:ImageSequence"
    metrics: ClassVar[tuple[str, ...]] = ("accuracy", "loss")
    generated: ClassVar[bool] = False
    encoder: ClassVar[str] = "features"

    kind: Literal["image_sequence"] = "image_sequence"
    dataset: Literal["mnist", "cifar10"]
    pixels_per_step: PositiveInt = 1
    permutation_seed: NonNegativeInt | None = None
    permutation: Literal["bit_reversal"] | None = None
    held_out: NonNegativeInt = 5000

    @model_validator(mode="after")
    def _steps_are_whole(self) -> Self:
        pixels = PIXELS[self.dataset]
        if pixels % self.pixels_per_step:
            raise ValueError(f"pixels_per_step must divide the {pixels} pixels of an image of {self.dataset}")
        return self

    @model_validator(mode="after")
    def _one_order(self) -> Self:
        if self.permutation is not None and self.permutation_seed is not None:
            raise ValueError(
                f"permutation {self.permutation} and permutation_seed are two orders of the pixels; "
                "set one of them to null"
            )
        return self

    @model_validator(mode="after")
    def _some_images_are_left(self) -> Self:
        if self.held_out >= IMAGES[self.dataset]:
            raise ValueError(
                f"held_out is {self.held_out:,} of {IMAGES[self.dataset]:,} training images; lower it"
            )
        return self

    def empty_splits(self) -> frozenset[str]:
        """See `TaskSettings.empty_splits`."""
        return frozenset() if self.held_out else frozenset({"valid"})

    def data_sets(self) -> list[tuple[str, str]]:
        """The images."""
        return [(self.dataset, "images")]
