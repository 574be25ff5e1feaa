"""From symbols or features to the inputs of a core."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from rmem_cli.models.config import (
    EmbeddingSettings,
    FeaturesSettings,
    LinearEncoderSettings,
    OneHotSettings,
)
from rmem_cli.models.initializers import orthogonal_
from rmem_cli.ops.product.dispatch import Linear


class OneHot(nn.Module):
    """Each symbol as a unit vector.

    Args:
        symbols: How many symbols there are; the width of the vectors.
    """

    def __init__(self, symbols: int) -> None:
        super().__init__()
        self.output_size = symbols
        self.register_buffer("_dtype", torch.empty(0), persistent=False)

    @classmethod
    def from_settings(cls, settings: OneHotSettings, symbols: int) -> "OneHot":
        """The encoder that a recipe describes."""
        del settings  # it has no fields but its kind
        return cls(symbols)

    def forward(self, inputs: Tensor) -> Tensor:
        """`[batch, time]` whole numbers to `[batch, time, symbols]`."""
        dtype = self.get_buffer("_dtype").dtype
        return functional.one_hot(inputs, self.output_size).to(dtype)


class Embedding(nn.Module):
    """A learned vector for each symbol.

    Args:
        symbols: How many symbols there are.
        size: Width of the vectors.
        initializer: `normal` (standard deviation 1) or `orthogonal`.
    """

    def __init__(self, symbols: int, size: int, initializer: str = "normal") -> None:
        super().__init__()
        self.output_size = size
        self.table = nn.Embedding(symbols, size)
        if initializer == "orthogonal":
            orthogonal_(self.table.weight)

    @classmethod
    def from_settings(cls, settings: EmbeddingSettings, symbols: int) -> "Embedding":
        """The encoder that a recipe describes."""
        return cls(symbols, settings.size, settings.initializer)

    def forward(self, inputs: Tensor) -> Tensor:
        """`[batch, time]` whole numbers to `[batch, time, size]`."""
        vectors: Tensor = self.table(inputs)
        return vectors


class Features(nn.Module):
    """The features of each step as they are.

    Args:
        features: How many each step has.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.output_size = features

    @classmethod
    def from_settings(cls, settings: FeaturesSettings, features: int) -> "Features":
        """The encoder that a recipe describes."""
        del settings  # it has no fields but its kind
        return cls(features)

    def forward(self, inputs: Tensor) -> Tensor:
        """`[batch, time, features]` to the same."""
        return inputs


class LinearEncoder(nn.Module):
    """A learned linear map of the features of each step.

    Args:
        features: How many each step has.
        size: Width of what it gives.
    """

    def __init__(self, features: int, size: int) -> None:
        super().__init__()
        self.output_size = size
        self.linear = Linear(features, size)

    @classmethod
    def from_settings(cls, settings: LinearEncoderSettings, features: int) -> "LinearEncoder":
        """The encoder that a recipe describes."""
        return cls(features, settings.size)

    def forward(self, inputs: Tensor) -> Tensor:
        """`[batch, time, features]` to `[batch, time, size]`."""
        vectors: Tensor = self.linear(inputs)
        return vectors
