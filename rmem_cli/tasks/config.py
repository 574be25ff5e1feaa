"""Settings of the tasks: everything about them that can be known without torch and without data."""

import math
from typing import ClassVar, Literal, Self

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from rmem_cli.data.prepared import open_prepared
from rmem_cli.recipe.settings import Component

# Of one image; here, so that a recipe is checked without its data.
PIXELS = {"mnist": 28 * 28, "cifar10": 32 * 32}


class TaskSettings(Component):
    """What every task declares.

    Attributes:
        metrics: Names of the metrics it can be evaluated by.
        generated: Whether examples are made from the seed (any number of them) instead of read from data.
        encoder: Kind of encoder where a recipe names none.
        head: Kind of head where a recipe names none.
    """

    metrics: ClassVar[tuple[str, ...]]
    generated: ClassVar[bool]
    encoder: ClassVar[str] = "one_hot"
    head: ClassVar[str] = "linear"

    def chance(self) -> dict[str, float]:
        """Metric to the value that a model without memory reaches, where it is known exactly."""
        return {}

    def data_sets(self) -> list[tuple[str, str]]:
        """Prepared data sets that the task reads, as (name, form)."""
        return []

    def data_hash(self) -> str:
        """Identity of the data that the task reads; empty if it makes its own.

        Raises:
            DataError: A data set is missing or damaged.
        """
        hashes = [open_prepared(name, form).data_hash for name, form in self.data_sets()]
        # Those of partial data end in "-partial"; put last, they make the whole end so.
        return "-".join(sorted(hashes, key=lambda each: each.endswith("-partial")))


class CopyingMemorySettings(TaskSettings):
    """The copying memory task in the form of the RUM papers; `rmem_cli.tasks.copying_memory` has an example.

    Attributes:
        length: T, the number of steps over which the symbols must be kept.
        symbols: How many symbols are to be copied.
        alphabet: How many different symbols there are.
    """

    implementation: ClassVar[str] = "rmem_cli.tasks.copying_memory:CopyingMemory"
    metrics: ClassVar[tuple[str, ...]] = ("loss", "accuracy")
    generated: ClassVar[bool] = True
    common: ClassVar[frozenset[str]] = frozenset({"length"})

    kind: Literal["copying_memory"] = "copying_memory"
    length: PositiveInt
    symbols: PositiveInt = 10
    alphabet: PositiveInt = 8

    def chance(self) -> dict[str, float]:
        """Blanks where blanks are due, and a uniform guess for each symbol."""
        loss = self.symbols * math.log(self.alphabet) / (self.length + 2 * self.symbols)
        return {"loss": loss, "accuracy": 1 / self.alphabet}


class CopyLastTenSettings(TaskSettings):
    """The copy task in the form of the UR-LSTM paper; `rmem_cli.tasks.copy_last_ten` tells how it differs.

    Attributes:
        length: The time lag: the number of steps over which the ten symbols must be kept.
    """

    implementation: ClassVar[str] = "rmem_cli.tasks.copy_last_ten:CopyLastTen"
    metrics: ClassVar[tuple[str, ...]] = ("loss", "accuracy")
    generated: ClassVar[bool] = True
    common: ClassVar[frozenset[str]] = frozenset({"length"})

    kind: Literal["copy_last_ten"] = "copy_last_ten"
    length: PositiveInt

    def chance(self) -> dict[str, float]:
        """One of eight symbols, each as likely as the other."""
        return {"loss": math.log(8), "accuracy": 1 / 8}


class AddingSettings(TaskSettings):
    """The adding task; `rmem_cli.tasks.adding` has an example.

    Attributes:
        length: Steps of the sequence.
    """

    implementation: ClassVar[str] = "rmem_cli.tasks.adding:Adding"
    metrics: ClassVar[tuple[str, ...]] = ("mse",)
    generated: ClassVar[bool] = True
    encoder: ClassVar[str] = "features"
    head: ClassVar[str] = "regression"
    common: ClassVar[frozenset[str]] = frozenset({"length"})

    kind: Literal["adding"] = "adding"
    length: int = Field(ge=2)

    def chance(self) -> dict[str, float]:
        """The variance of the sum of two values, each uniform in [0, 1)."""
        return {"mse": 1 / 6}


class AssociativeRecallSettings(TaskSettings):
    """Associative recall in the form of the RUM papers; `rmem_cli.tasks.associative_recall` has an example.

    Attributes:
        length: T, twice the number of key-digit pairs; even.
    """

    implementation: ClassVar[str] = "rmem_cli.tasks.associative_recall:AssociativeRecall"
    metrics: ClassVar[tuple[str, ...]] = ("accuracy", "loss")
    generated: ClassVar[bool] = True
    common: ClassVar[frozenset[str]] = frozenset({"length"})

    kind: Literal["associative_recall"] = "associative_recall"
    length: PositiveInt = Field(multiple_of=2)

    def chance(self) -> dict[str, float]:
        """One of ten digits, each as likely as the other."""
        return {"accuracy": 0.1, "loss": math.log(10)}


class ImageSequenceSettings(TaskSettings):
    """An image read as a sequence of pixels, to be classified at its end.

    Attributes:
        dataset: Which images.
        pixels_per_step: Pixels of one step, in reading order: 1, 2, a row of 28 or 32, or another divisor.
        permutation_seed: What the one order in which the pixels of all images are read derives from; None
            reads them row by row.
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
    held_out: NonNegativeInt = 5000

    @model_validator(mode="after")
    def _steps_are_whole(self) -> Self:
        pixels = PIXELS[self.dataset]
        if pixels % self.pixels_per_step:
            raise ValueError(f"pixels_per_step must divide the {pixels} pixels of an image of {self.dataset}")
        return self

    def data_sets(self) -> list[tuple[str, str]]:
        """The images."""
        return [(self.dataset, "images")]


class ProgramExecutionSettings(TaskSettings):
    """Programs to be executed by reading them; `rmem_cli.tasks.program_execution` has an example.

    Attributes:
        length: Most digits of a number in a program.
        nesting: How many operations a program combines.
        curriculum: How hard the training examples are. `baseline`: as hard as length and nesting say.
            `naive`: at first both are 1; then length rises to its full value, then nesting by one with
            length 1 again, and so on. `mix`: both are drawn anew for each example, from 1 to their full
            values. `combined`: each example is one of `naive` or of `mix`. Evaluation is always on the full
            values.
        stage_steps: Training steps before `naive` and `combined` get harder; they need it.
    """

    implementation: ClassVar[str] = "rmem_cli.tasks.program_execution:ProgramExecution"
    metrics: ClassVar[tuple[str, ...]] = ("accuracy", "loss")
    generated: ClassVar[bool] = True
    common: ClassVar[frozenset[str]] = frozenset({"length"})

    kind: Literal["program_execution"] = "program_execution"
    length: PositiveInt
    nesting: int = Field(ge=1, le=20)
    curriculum: Literal["baseline", "naive", "mix", "combined"] = "baseline"
    stage_steps: PositiveInt | None = None

    @model_validator(mode="after")
    def _stages_have_a_length(self) -> Self:
        if self.curriculum in ("naive", "combined") and self.stage_steps is None:
            raise ValueError(f"curriculum {self.curriculum} needs stage_steps")
        return self


class LanguageModelSettings(TaskSettings):
    """Next-symbol prediction over a whole text, the state carried from batch to batch.

    Attributes:
        dataset: Name of a prepared data set, as `rmem fetch` knows it.
        form: Which of its prepared forms: `char`, `word`, `bytes`, ...
        segment_length: Symbols of each text column in one training batch; the state's gradient stops there.
    """

    implementation: ClassVar[str] = "rmem_cli.tasks.language_model:LanguageModel"
    metrics: ClassVar[tuple[str, ...]] = ("bpc", "perplexity", "loss", "accuracy")
    generated: ClassVar[bool] = False
    common: ClassVar[frozenset[str]] = frozenset({"segment_length"})

    kind: Literal["language_model"] = "language_model"
    dataset: str
    form: str
    segment_length: PositiveInt

    def data_sets(self) -> list[tuple[str, str]]:
        """The text."""
        return [(self.dataset, self.form)]
