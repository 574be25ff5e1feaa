"""What the settings of cores of several layers share."""

from typing import ClassVar

from pydantic import Field, PositiveInt

from rmem_cli.recipe.kinds import CoreSettings


class LayeredSettings(CoreSettings):
    """A core of several layers.

    Attributes:
        hidden_size: Units of each layer.
        layers: Number of layers, each reading the outputs of the one below.
        dropout: Probability of dropping an output between two layers, in training.
    """

    common: ClassVar[frozenset[str]] = frozenset({"hidden_size", "layers", "dropout"})

    hidden_size: PositiveInt
    layers: int = Field(default=1, gt=0, le=1000)
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)

    @property
    def output_size(self) -> int:
        """See `CoreSettings.output_size`."""
        return self.hidden_size

    def free_in_evaluation(self) -> frozenset[str]:
        """See `CoreSettings.free_in_evaluation`."""
        return frozenset({"dropout"})
