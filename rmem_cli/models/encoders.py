"""From symbols or features to the inputs of a core."""

import math
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from rmem_cli.errors import UsageError
from rmem_cli.models.config import (
    EmbeddingSettings,
    FeaturesSettings,
    LinearEncoderSettings,
    OneHotSettings,
)
from rmem_cli.models.initializers import orthogonal_
from rmem_cli.ops.product.dispatch import Linear


class Encoder(Protocol):
    """Symbols `[batch, time]` or features `[batch, time, features]` to `[batch, time, output_size]`."""

    output_size: int

    def __call__(self, inputs: Tensor, /) -> Tensor:
        """See the class."""
        ...


def encoded(encoder: Encoder, inputs: Tensor) -> Tensor:
    """The inputs of a core, `[batch, time, output_size]`.

    Args:
        encoder: Of the model.
        inputs: As `Batch.inputs`; where a step is several symbols, it is encoded as the sum of theirs.
    """
    if inputs.dim() == 2 or inputs.is_floating_point():
        return encoder(inputs)
    # [batch, time * symbols, size], then [batch, time, symbols, size]
    vectors = encoder(inputs.clamp(min=0).flatten(1)).view(*inputs.shape, -1)
    return torch.sum(vectors * (inputs >= 0).unsqueeze(-1), dim=2)


def _check_symbols(inputs: Tensor) -> None:
    """Whether inputs are symbols.

    Raises:
        UsageError: They are not.
    """
    if inputs.is_floating_point():
        raise UsageError(
            "the task's inputs are floating-point numbers, and the encoder reads symbols; have the settings "
            'of the task declare encoder = "features", or its batches hold whole numbers'
        )


def _check_features(inputs: Tensor) -> None:
    """Whether inputs are features.

    Raises:
        UsageError: They are not.
    """
    if not inputs.is_floating_point():
        raise UsageError(
            "the task's inputs are whole numbers, and the encoder reads features; have the settings of the "
            'task declare encoder = "one_hot", or its batches hold floating-point numbers'
        )


class OneHot(nn.Module):
    """Each symbol as a unit vector.

    Args:
        symbols: How many symbols there are; the width of the vectors.
        settings: Nothing but the kind.
    """

    def __init__(self, symbols: int, settings: OneHotSettings) -> None:
        del settings
        super().__init__()
        self.output_size = symbols
        self.register_buffer("_dtype", torch.empty(0), persistent=False)

    def forward(self, inputs: Tensor) -> Tensor:
        """`[batch, time]` whole numbers to `[batch, time, symbols]`."""
        _check_symbols(inputs)
        dtype = self.get_buffer("_dtype").dtype
        return functional.one_hot(inputs, self.output_size).to(dtype)


class Embedding(nn.Module):
    """A learned vector for each symbol.

    Args:
        symbols: How many symbols there are.
        settings: All options.
    """

    def __init__(self, symbols: int, settings: EmbeddingSettings) -> None:
        super().__init__()
        self.output_size = settings.size
        self.table = nn.Embedding(symbols, settings.size)
        if settings.initializer == "orthogonal":
            orthogonal_(self.table.weight)
        elif settings.initializer == "shifted_normal":
            scale = math.sqrt(6 / symbols)
            nn.init.normal_(self.table.weight, -scale, scale)

    def forward(self, inputs: Tensor) -> Tensor:
        """`[batch, time]` whole numbers to `[batch, time, size]`."""
        _check_symbols(inputs)
        vectors: Tensor = self.table(inputs)
        return vectors


class Features(nn.Module):
    """The features of each step as they are.

    Args:
        features: How many each step has.
        settings: Nothing but the kind.
    """

    def __init__(self, features: int, settings: FeaturesSettings) -> None:
        del settings
        super().__init__()
        self.output_size = features

    def forward(self, inputs: Tensor) -> Tensor:
        """`[batch, time, features]` to the same."""
        _check_features(inputs)
        return inputs


class LinearEncoder(nn.Module):
    """A learned linear map of the features of each step.

    Args:
        features: How many each step has.
        settings: All options.
    """

    def __init__(self, features: int, settings: LinearEncoderSettings) -> None:
        super().__init__()
        self.output_size = settings.size
        self.linear = Linear(features, settings.size)

    def forward(self, inputs: Tensor) -> Tensor:
        """`[batch, time, features]` to `[batch, time, size]`."""
        _check_features(inputs)
        vectors: Tensor = self.linear(inputs)
        return vectors
