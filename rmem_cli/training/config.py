"""Settings of optimizers, schedules and back-propagation."""

from typing import ClassVar, Literal, Self

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from rmem_cli.recipe.kinds import BackpropSettings, OptimizerSettings, ScheduleSettings


class DecayedSettings(OptimizerSettings):
    """An optimizer with weight decay.

    Attributes:
        weight_decay: As torch's optimizer of the same name defines it.
    """

    common: ClassVar[frozenset[str]] = frozenset({"lr", "weight_decay"})

    weight_decay: NonNegativeFloat = 0.0


class SGDSettings(DecayedSettings):
    """`torch.optim.SGD`."""

    implementation: ClassVar[str] = "rmem_cli.training.optimizers:sgd"

    kind: Literal["sgd"] = "sgd"
    momentum: float = Field(default=0.0, ge=0.0, lt=1.0)
    nesterov: bool = False

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> Self:
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov needs a momentum above 0")
        return self


class RMSpropSettings(DecayedSettings):
    """`torch.optim.RMSprop`: accumulator from zero, eps outside the root."""

    implementation: ClassVar[str] = "rmem_cli.training.optimizers:rmsprop"

    kind: Literal["rmsprop"] = "rmsprop"
    alpha: float = Field(default=0.99, ge=0.0, lt=1.0)
    momentum: float = Field(default=0.0, ge=0.0, lt=1.0)
    eps: PositiveFloat = 1e-8


class TFRMSpropSettings(DecayedSettings):
    """RMSProp as TensorFlow 1 defines it: accumulator from one, eps inside the root."""

    implementation: ClassVar[str] = "rmem_cli.training.optimizers:tf_rmsprop"

    kind: Literal["tf_rmsprop"] = "tf_rmsprop"
    alpha: float = Field(default=0.9, ge=0.0, lt=1.0)
    momentum: float = Field(default=0.0, ge=0.0, lt=1.0)
    eps: PositiveFloat = 1e-10


class AdamSettings(DecayedSettings):
    """`torch.optim.Adam`."""

    implementation: ClassVar[str] = "rmem_cli.training.optimizers:adam"

    kind: Literal["adam"] = "adam"
    beta1: float = Field(default=0.9, ge=0.0, lt=1.0)
    beta2: float = Field(default=0.999, ge=0.0, lt=1.0)
    eps: PositiveFloat = 1e-8


class AdamWSettings(DecayedSettings):
    """`torch.optim.AdamW`: weight decay apart from the gradient."""

    implementation: ClassVar[str] = "rmem_cli.training.optimizers:adamw"

    kind: Literal["adamw"] = "adamw"
    weight_decay: NonNegativeFloat = 0.01
    beta1: float = Field(default=0.9, ge=0.0, lt=1.0)
    beta2: float = Field(default=0.999, ge=0.0, lt=1.0)
    eps: PositiveFloat = 1e-8


class AdagradSettings(DecayedSettings):
    """`torch.optim.Adagrad`.

    Attributes:
        initial_accumulator: First value of the sum of squares (TensorFlow's default is 0.1).
    """

    implementation: ClassVar[str] = "rmem_cli.training.optimizers:adagrad"

    kind: Literal["adagrad"] = "adagrad"
    initial_accumulator: NonNegativeFloat = 0.0
    eps: PositiveFloat = 1e-10


class WarmedUpSettings(ScheduleSettings):
    """A schedule with a warm-up.

    Attributes:
        warmup_steps: Steps over which the learning rate first rises linearly from zero.
    """

    common: ClassVar[frozenset[str]] = frozenset({"warmup_steps"})

    warmup_steps: NonNegativeInt = 0


class ConstantSettings(WarmedUpSettings):
    """The learning rate stays as it is (after the warm-up, if there is one)."""

    implementation: ClassVar[str] = "rmem_cli.training.schedules:Constant"

    kind: Literal["constant"] = "constant"


class LinearSettings(WarmedUpSettings):
    """A straight line from the learning rate to `min_lr` at the last step."""

    implementation: ClassVar[str] = "rmem_cli.training.schedules:Linear"

    kind: Literal["linear"] = "linear"
    min_lr: NonNegativeFloat = 0.0


class CosineSettings(WarmedUpSettings):
    """Half a cosine from the learning rate to `min_lr` at the last step.

    Attributes:
        min_lr: Rate at the end.
        spans_warmup: Whether the cosine begins with the first step, under the warm-up, as in Transformer-XL's
            code, or at its end.
    """

    implementation: ClassVar[str] = "rmem_cli.training.schedules:Cosine"

    kind: Literal["cosine"] = "cosine"
    min_lr: NonNegativeFloat = 0.0
    spans_warmup: bool = False


class InverseSqrtSettings(WarmedUpSettings):
    """Proportional to 1/sqrt(step), equal to the learning rate at the end of the warm-up."""

    implementation: ClassVar[str] = "rmem_cli.training.schedules:InverseSqrt"

    kind: Literal["inverse_sqrt"] = "inverse_sqrt"
    warmup_steps: PositiveInt


class StepSettings(WarmedUpSettings):
    """Multiplied by a factor at each of the steps named.

    Attributes:
        at: The steps.
        factor: The same for all of them.
        factors: One for each, in their order, in place of `factor`.
    """

    implementation: ClassVar[str] = "rmem_cli.training.schedules:Step"

    kind: Literal["step"] = "step"
    at: list[PositiveInt] = Field(min_length=1)
    factor: PositiveFloat = 0.1
    factors: list[PositiveFloat] | None = None

    @model_validator(mode="after")
    def _each_step_has_a_factor(self) -> Self:
        if self.factors is None:
            return self
        if len(self.factors) != len(self.at):
            raise ValueError(
                f"factors lists {len(self.factors)}, and at {len(self.at)} steps; give one for each step"
            )
        if self.factor != type(self).model_fields["factor"].default:
            raise ValueError("factor and factors exclude each other; leave one of them out")
        return self


class PlateauSettings(WarmedUpSettings):
    """Multiplied by `factor` when more than `patience` validations in a row are no better than the best one.

    Attributes:
        factor: What the rate is multiplied by.
        patience: Evaluations without improvement that are waited for.
        min_lr: Rate that is never gone below.
        threshold: Share of the best value by which a new one must be better, to be an improvement;
            `torch.optim.lr_scheduler.ReduceLROnPlateau` has 1e-4.
    """

    implementation: ClassVar[str] = "rmem_cli.training.schedules:Plateau"

    kind: Literal["plateau"] = "plateau"
    factor: float = Field(default=0.1, gt=0.0, lt=1.0)
    patience: NonNegativeInt = 10
    min_lr: NonNegativeFloat = 0.0
    threshold: NonNegativeFloat = 0.0


class FullSettings(BackpropSettings):
    """The gradient of the whole batch, however many segments it has."""

    implementation: ClassVar[str] = "rmem_cli.training.backprop:Full"

    kind: Literal["full"] = "full"


class TruncatedSettings(BackpropSettings):
    """The gradient stops after every `segments` segments of `segment_length` steps.

    Attributes:
        segment_length: Steps of one segment, for cores that take any length.
        segments: How many segments one gradient spans.
    """

    implementation: ClassVar[str] = "rmem_cli.training.backprop:Truncated"

    kind: Literal["truncated"] = "truncated"
    segment_length: PositiveInt
    segments: PositiveInt = 1


class SlidingSettings(BackpropSettings):
    """The gradient of each segment's loss goes through the `depth` segments before it, which are run again.

    Attributes:
        depth: How many segments are run again.
        all_losses: Whether their losses count as well, or the newest alone.
        published_restart: Whether segments are run again as by the published code. The first of them then
            starts from the newest memory instead of the one before it, which the code assigns to an attribute
            that nothing reads; and each finds the cache that was before it then, where by default it finds
            what the run before it has left. It needs a core with memory tokens.
    """

    implementation: ClassVar[str] = "rmem_cli.training.backprop:Sliding"

    kind: Literal["sliding"] = "sliding"
    depth: NonNegativeInt
    all_losses: bool = False
    published_restart: bool = False


class ReplaySettings(BackpropSettings):
    """The gradient of the whole batch, with the activations of one segment at a time.

    Attributes:
        segment_length: Steps of one segment; None takes the core's own.
        segments: The gradient stops after this many segments; None: nowhere.
        published_caches: Whether the first pass runs without caches: the published code leaves them out
            there, and so takes the gradient of another function than it evaluates.
    """

    implementation: ClassVar[str] = "rmem_cli.training.backprop:Replay"

    kind: Literal["replay"] = "replay"
    segment_length: PositiveInt | None = None
    segments: PositiveInt | None = None
    published_caches: bool = False
