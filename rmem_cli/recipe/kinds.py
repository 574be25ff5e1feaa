"""The sorts of components, and what all of a sort declare: what is known without torch and without data."""

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, PositiveFloat, SerializeAsAny, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from rmem_cli.errors import UsageError
from rmem_cli.recipe.messages import sentence
from rmem_cli.recipe.own_files import OwnFiles
from rmem_cli.recipe.registry import (
    BACKPROP,
    CORES,
    ENCODERS,
    HEADS,
    OPTIMIZERS,
    READOUTS,
    SCHEDULES,
    TASKS,
    Registry,
)
from rmem_cli.recipe.settings import Component


class TaskSettings(Component):
    """What every task declares.

    Attributes:
        metrics: Names of the metrics it can be evaluated by.
        generated: Whether examples are made from the seed (any number of them) instead of read from data.
        feeds_back: Whether an answer is the next input, so that a model can go on from its own answers.
        predicts_future: Whether a target is an input of a later step, so that only causal cores may learn it.
        answers_in_symbols: Whether its classes are its symbols, so that encoder and head may share vectors.
        asks_questions: Whether each example is a story and a question about it (`Batch.question`).
        has_source: Whether what is to be said is about a source (`rmem_cli.models.batch.SourceBatch`).
        encoder: Kind of encoder where a recipe names none.
        head: Kind of head where a recipe names none.
        numbered: Fields whose numbers are names, such as that of a fold, and measure nothing.
        own: The field that names files of one's own; empty where a task reads none.
    """

    registry: ClassVar[Registry] = TASKS
    metrics: ClassVar[tuple[str, ...]]
    generated: ClassVar[bool]
    feeds_back: ClassVar[bool] = False
    predicts_future: ClassVar[bool] = False
    answers_in_symbols: ClassVar[bool] = False
    asks_questions: ClassVar[bool] = False
    has_source: ClassVar[bool] = False
    encoder: ClassVar[str] = "one_hot"
    head: ClassVar[str] = "linear"
    numbered: ClassVar[frozenset[str]] = frozenset()
    own: ClassVar[str] = ""

    def chance(self, split: str) -> dict[str, float]:
        """Metric to the value that a model without memory reaches on a split, where it is known exactly."""
        del split
        return {}

    def baselines(self, split: str) -> dict[str, dict[str, float]]:
        """What is reached without the ability that the task asks for: what that is, to metric to value.

        Beside chance, where a model may do better and yet not know which answer belongs to which question.
        """
        chance = self.chance(split)
        return {"chance": chance} if chance else {}

    def refuses(self, metric: str) -> str:
        """Why one of its metrics means nothing with these settings; empty where it does mean something."""
        del metric
        return ""

    def plateaus(self) -> str:
        """Where a loss rests that counts each symbol by itself, in words; empty for other tasks."""
        return ""

    def across_folds(self) -> Self | None:
        """These settings whichever fold is tested, if no two folds test the same example; None otherwise."""
        return None

    def across_tasks(self) -> Self | None:
        """These settings whichever task is learned, if a number names one of several; None otherwise."""
        return None

    @property
    def classes_are_symbols(self) -> bool:
        """Whether an answer is one of its symbols with these settings."""
        return self.answers_in_symbols

    @property
    def reads_sentences(self) -> bool:
        """Whether a step is several symbols at once, and a question is about the steps before it."""
        return False

    def empty_splits(self) -> frozenset[str]:
        """Splits that these settings leave no example to."""
        own = self.own_files()
        return frozenset() if own is None else own.empty_splits

    def parts(self) -> tuple[str, ...]:
        """Names of the parts of a split that are measured by themselves, too, such as `qa3`; empty: none.

        Each example is of one of them; its batch says of which, by the number in here. The name `mean` is
        that of what they are on average.
        """
        return ()

    def data_sets(self) -> list[tuple[str, str]]:
        """Prepared data sets that the task reads, as (name, form)."""
        return []

    def own_files(self) -> OwnFiles | None:
        """Files of one's own that the task reads in place of a data set; None: there are none."""
        own: OwnFiles | None = getattr(self, self.own) if self.own else None
        return own


class EncoderSettings(Component):
    """What every encoder declares.

    Attributes:
        reads: Whether it reads symbols, or features: several numbers at each step.
    """

    registry: ClassVar[Registry] = ENCODERS
    reads: ClassVar[Literal["symbols", "features"]] = "symbols"


class CoreSettings(Component):
    """What every core declares.

    Attributes:
        stepwise: Whether it can be gone through step by step; see `rmem_cli.models.cores.base.Core`.
    """

    registry: ClassVar[Registry] = CORES
    stepwise: ClassVar[bool] = True

    @property
    def output_size(self) -> int | None:
        """Width of the outputs; None where it is not known before the core is built."""
        return None

    @property
    def equal_kind(self) -> str:
        """The kind itself, or a simpler one that it equals with these settings."""
        return self.kind

    @property
    def reads_ahead(self) -> bool:
        """Whether an output may depend on later inputs of its segment."""
        return False

    @property
    def longest_segment(self) -> int | None:
        """The most steps that can be read at once; None: any number."""
        return None

    def free_in_evaluation(self) -> frozenset[str]:
        """Fields, by their names in recipes, that an evaluation may change: no weight depends on them."""
        return frozenset()


class ReadoutSettings(Component):
    """What every read-out declares."""

    registry: ClassVar[Registry] = READOUTS

    def output_size(self, size: int) -> int:
        """Width of what it gives where the core's outputs have the width `size`."""
        return size


class HeadSettings(Component):
    """What every head declares.

    Attributes:
        predicts: Whether it predicts classes or numbers.
    """

    registry: ClassVar[Registry] = HEADS
    predicts: ClassVar[Literal["classes", "numbers"]] = "classes"


class OptimizerSettings(Component):
    """What every optimizer has.

    Attributes:
        lr: Learning rate before the schedule.
    """

    registry: ClassVar[Registry] = OPTIMIZERS

    lr: PositiveFloat


class ScheduleSettings(Component):
    """What every schedule declares."""

    registry: ClassVar[Registry] = SCHEDULES


class BackpropSettings(Component):
    """What every form of back-propagation declares."""

    registry: ClassVar[Registry] = BACKPROP


def _by_kind(registry: Registry) -> BeforeValidator:
    """Makes of a mapping with a kind the settings of that kind."""

    def settings(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        kind = value.get("kind")
        if not isinstance(kind, str):
            raise ValueError(f"its kind is missing; there are: {', '.join(registry.kinds())}")
        try:
            found = registry.settings(kind)
        except UsageError as error:
            raise ValueError(str(error)) from None
        try:
            return found.model_validate(value, by_alias=True, by_name=False)
        except ValidationError as errors:
            raise _told(errors, found) from None

    return BeforeValidator(settings)


def _told(errors: ValidationError, settings: type[Component]) -> ValidationError:
    """The same errors in sentences, which only the settings of the kind can name other fields in."""
    told = [
        InitErrorDetails(
            type=PydanticCustomError("told", "{sentence}", {"sentence": sentence(error, settings)}),
            loc=error["loc"],
            input=error["input"],
        )
        for error in errors.errors(include_url=False)
    ]
    return ValidationError.from_exception_data(settings.__name__, told)


Task = Annotated[SerializeAsAny[TaskSettings], _by_kind(TASKS)]
Encoder = Annotated[SerializeAsAny[EncoderSettings], _by_kind(ENCODERS)]
Core = Annotated[SerializeAsAny[CoreSettings], _by_kind(CORES)]
Readout = Annotated[SerializeAsAny[ReadoutSettings], _by_kind(READOUTS)]
Head = Annotated[SerializeAsAny[HeadSettings], _by_kind(HEADS)]
Optimizer = Annotated[SerializeAsAny[OptimizerSettings], _by_kind(OPTIMIZERS)]
Schedule = Annotated[SerializeAsAny[ScheduleSettings], _by_kind(SCHEDULES)]
Backprop = Annotated[SerializeAsAny[BackpropSettings], _by_kind(BACKPROP)]
