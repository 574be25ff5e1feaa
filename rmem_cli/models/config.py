"""Settings of encoders and heads."""

from typing import ClassVar, Literal, Self

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from rmem_cli.recipe.settings import Component


class EncoderSettings(Component):
    """What every encoder declares.

    Attributes:
        reads: Whether it reads symbols, or features: several numbers at each step.
    """

    reads: ClassVar[Literal["symbols", "features"]] = "symbols"


class HeadSettings(Component):
    """What every head declares.

    Attributes:
        predicts: Whether it predicts classes or numbers.
    """

    predicts: ClassVar[Literal["classes", "numbers"]] = "classes"


class OneHotSettings(EncoderSettings):
    """Each symbol as a unit vector as wide as the vocabulary; no parameters."""

    implementation: ClassVar[str] = "rmem_cli.models.encoders:OneHot"

    kind: Literal["one_hot"] = "one_hot"


class EmbeddingSettings(EncoderSettings):
    """A learned vector for each symbol.

    Attributes:
        size: Width of the vectors.
        initializer: `normal` (standard deviation 1, torch's own) or `orthogonal`.
    """

    implementation: ClassVar[str] = "rmem_cli.models.encoders:Embedding"

    kind: Literal["embedding"] = "embedding"
    size: PositiveInt
    initializer: Literal["normal", "orthogonal"] = "normal"


class PretrainedEmbeddingSettings(EncoderSettings):
    """The vectors of a pretrained model.

    Attributes:
        backbone: Name of the pretrained model, such as `bert-base-cased`, or the folder that holds it.
    """

    implementation: ClassVar[str] = "rmem_cli.models.cores.pretrained_rmt:PretrainedEmbedding"

    kind: Literal["pretrained"] = "pretrained"
    backbone: str


class FeaturesSettings(EncoderSettings):
    """The features of each step as they are; no parameters."""

    implementation: ClassVar[str] = "rmem_cli.models.encoders:Features"
    reads: ClassVar[Literal["symbols", "features"]] = "features"

    kind: Literal["features"] = "features"


class LinearEncoderSettings(EncoderSettings):
    """A learned linear map of the features of each step.

    Attributes:
        size: Width of what it gives.
    """

    implementation: ClassVar[str] = "rmem_cli.models.encoders:LinearEncoder"
    reads: ClassVar[Literal["symbols", "features"]] = "features"

    kind: Literal["linear"] = "linear"
    size: PositiveInt


class LinearHeadSettings(HeadSettings):
    """A linear map to one logit for each class, with or without a hidden layer before it.

    Attributes:
        hidden_size: Units of a layer of rectified linear units before the logits; None: no such layer.
        initializer: `uniform` (torch's own), `xavier` or `orthogonal`.
        bias_initial: First value of the biases; None keeps torch's own initialisation.
        dropout: Probability of dropping a unit of the hidden layer, in training.
    """

    implementation: ClassVar[str] = "rmem_cli.models.heads:LinearHead"

    kind: Literal["linear"] = "linear"
    hidden_size: PositiveInt | None = None
    initializer: Literal["uniform", "xavier", "orthogonal"] = "uniform"
    bias_initial: float | None = None
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)

    @model_validator(mode="after")
    def _dropped_units_are_those_of_the_hidden_layer(self) -> Self:
        if self.dropout and self.hidden_size is None:
            raise ValueError("dropout needs hidden_size: it drops units of the hidden layer")
        return self


class RegressionSettings(HeadSettings):
    """A linear map to one number, with the squared error as its loss."""

    implementation: ClassVar[str] = "rmem_cli.models.heads:Regression"
    predicts: ClassVar[Literal["classes", "numbers"]] = "numbers"

    kind: Literal["regression"] = "regression"


class AdaptiveEmbeddingSettings(EncoderSettings):
    """Vectors that may be narrower for rarer symbols; `rmem_cli.models.adaptive.AdaptiveEmbedding` explains
    each field.
    """

    implementation: ClassVar[str] = "rmem_cli.models.adaptive:AdaptiveEmbedding"

    kind: Literal["adaptive"] = "adaptive"
    size: PositiveInt
    embedding_size: PositiveInt | None = None
    cutoffs: list[PositiveInt] = Field(default_factory=list)
    divisor: PositiveInt = 1
    initial_std: PositiveFloat = 0.02
    projection_std: PositiveFloat = 0.01


class AdaptiveSoftmaxSettings(HeadSettings):
    """A softmax in clusters; `rmem_cli.models.adaptive.AdaptiveSoftmax` explains each field.

    Attributes:
        tied: Whether tables, cutoffs and divisor are those of the encoder, which must be adaptive.
    """

    implementation: ClassVar[str] = "rmem_cli.models.adaptive:AdaptiveSoftmax"

    kind: Literal["adaptive"] = "adaptive"
    tied: bool = True
    size: PositiveInt | None = None
    cutoffs: list[PositiveInt] = Field(default_factory=list)
    divisor: PositiveInt = 1
    tie_projections: list[bool] = Field(default_factory=list)
    initial_std: PositiveFloat = 0.02
    projection_std: PositiveFloat = 0.01

    @model_validator(mode="after")
    def _tables_are_its_own_or_the_encoders(self) -> Self:
        if self.tied and (self.size is not None or self.cutoffs or self.divisor > 1):
            raise ValueError("size, cutoffs and divisor are the encoder's where tied is true; leave them out")
        if not self.tied and any(self.tie_projections):
            raise ValueError("tie_projections needs tied to be true")
        return self
