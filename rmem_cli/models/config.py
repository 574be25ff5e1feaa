"""Settings of encoders and heads."""

from typing import ClassVar, Literal

from pydantic import PositiveInt

from rmem_cli.recipe.settings import Component


class OneHotSettings(Component):
    """Each symbol as a unit vector as wide as the vocabulary; no parameters."""

    implementation: ClassVar[str] = "rmem_cli.models.encoders:OneHot"

    kind: Literal["one_hot"] = "one_hot"


class EmbeddingSettings(Component):
    """A learned vector for each symbol.

    Attributes:
        size: Width of the vectors.
        initializer: `normal` (standard deviation 1, torch's own) or `orthogonal`.
    """

    implementation: ClassVar[str] = "rmem_cli.models.encoders:Embedding"

    kind: Literal["embedding"] = "embedding"
    size: PositiveInt
    initializer: Literal["normal", "orthogonal"] = "normal"


class LinearHeadSettings(Component):
    """A linear map to one logit for each class.

    Attributes:
        initializer: `uniform` (torch's own), `xavier` or `orthogonal`.
        bias_initial: First value of the biases; None keeps torch's own initialisation.
    """

    implementation: ClassVar[str] = "rmem_cli.models.heads:LinearHead"

    kind: Literal["linear"] = "linear"
    initializer: Literal["uniform", "xavier", "orthogonal"] = "uniform"
    bias_initial: float | None = None
