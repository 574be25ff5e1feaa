"""Settings of encoders, read-outs and heads; see each implementation for the mathematics."""

from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar, Literal, Self

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from rmem_cli.recipe.kinds import EncoderSettings, HeadSettings, ReadoutSettings


class OneHotSettings(EncoderSettings):
    """Each symbol as a unit vector as wide as the vocabulary; no parameters."""

    implementation: ClassVar[str] = "rmem_cli.models.encoders:OneHot"

    kind: Literal["one_hot"] = "one_hot"


class EmbeddingSettings(EncoderSettings):
    """A learned vector for each symbol.

    Attributes:
        size: Width of the vectors.
        initializer: `normal` (standard deviation 1, torch's own), `orthogonal`, or `shifted_normal`, whose
            standard deviation is sqrt(6 / symbols) and whose mean is minus that, as the published code of
            RUM's question answering has it.
    """

    implementation: ClassVar[str] = "rmem_cli.models.encoders:Embedding"

    kind: Literal["embedding"] = "embedding"
    size: PositiveInt
    initializer: Literal["normal", "orthogonal", "shifted_normal"] = "normal"


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


class EveryStepSettings(ReadoutSettings):
    """The output of the core at each step as it is; where a sequence is answered at its end, the last one."""

    implementation: ClassVar[str] = "rmem_cli.models.readouts:EveryStep"

    kind: Literal["every_step"] = "every_step"


class AttentionSettings(ReadoutSettings):
    """The output at a step and what it attends to; `rmem_cli.models.readouts.Attention` has the equations.

    Attributes:
        rotation: `none` gives the output at the question as it is, `question` turned by the rotation that
            takes the question to what it attends to. `published` does as the published code does, which
            computes that rotation and then drops it, so that the weight of its own does nothing.
        eps: Length up to which a vector of the rotation counts as zero.
    """

    implementation: ClassVar[str] = "rmem_cli.models.readouts:Attention"

    kind: Literal["attention"] = "attention"
    rotation: Literal["none", "question", "published"] = "none"
    eps: NonNegativeFloat = 1e-12

    def output_size(self, size: int) -> int:
        """See `ReadoutSettings.output_size`: context and output side by side."""
        return 2 * size


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


def check_clusters(cutoffs: Sequence[int], divisor: int, width: int | None) -> None:
    """Raise ValueError where a cluster would have no symbol, or vectors of no width (None: any width)."""
    if any(first >= second for first, second in pairwise(cutoffs)):
        raise ValueError(f"cutoffs {list(cutoffs)} must rise, for each begins a cluster")
    narrowest = divisor ** len(cutoffs)
    if width is not None and width < narrowest:
        raise ValueError(
            f"divisor {divisor} leaves no width to the last of {len(cutoffs) + 1} clusters, whose vectors "
            f"are {narrowest} times narrower than {width}; make it smaller"
        )


class AdaptiveEmbeddingSettings(EncoderSettings):
    """A learned vector for each symbol; rarer ones may have narrower ones that a linear map widens.

    Attributes:
        size: Width of the vectors.
        embedding_size: Width of the table of the most frequent symbols; None: `size`.
        cutoffs: First symbol of every cluster but the first.
        divisor: Tables get this many times narrower from cluster to cluster; 1 makes them one table.
        initial_std: Standard deviation of the tables' first values.
        projection_std: Standard deviation of the linear maps' first values.
    """

    implementation: ClassVar[str] = "rmem_cli.models.adaptive:AdaptiveEmbedding"

    kind: Literal["adaptive"] = "adaptive"
    size: PositiveInt
    embedding_size: PositiveInt | None = None
    cutoffs: list[PositiveInt] = Field(default_factory=list)
    divisor: PositiveInt = 1
    initial_std: PositiveFloat = 0.02
    projection_std: PositiveFloat = 0.01

    @property
    def width_of_table(self) -> int:
        """Width of the table of the most frequent symbols, given or by default."""
        return self.size if self.embedding_size is None else self.embedding_size

    @model_validator(mode="after")
    def _clusters_have_symbols_and_width(self) -> Self:
        check_clusters(self.cutoffs, self.divisor, self.width_of_table)
        return self


class AdaptiveSoftmaxSettings(HeadSettings):
    """A softmax over the most frequent classes and the other clusters, and one within each cluster.

    Attributes:
        tied: Whether tables, cutoffs and divisor are those of the encoder, which must be adaptive.
        size: Width of its own first table; None: as wide as the core's outputs.
        cutoffs: First class of every cluster of its own but the first.
        divisor: Its own tables get this many times narrower from cluster to cluster.
        tie_projections: Whether each cluster shares the encoder's linear map too; those left out do not.
        initial_std: Standard deviation of its tables' first values.
        projection_std: Standard deviation of its linear maps' first values.
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

    @model_validator(mode="after")
    def _clusters_have_symbols_and_width(self) -> Self:
        check_clusters(self.cutoffs, self.divisor, self.size)
        return self
