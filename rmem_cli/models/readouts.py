"""From all outputs of a core to what a head gets at some steps."""

from abc import ABC, abstractmethod

from torch import Tensor, nn

from rmem_cli.models.batch import Batch


class Readout(nn.Module, ABC):
    """Stands between core and head: what it gives at a step may depend on what the core gave at all others.

    Attributes:
        output_size: Width of what it gives.
    """

    output_size: int

    @abstractmethod
    def forward(self, y: Tensor, batch: Batch, steps: slice) -> Tensor:
        """Read the outputs of a core.

        Args:
            y: `[batch, time, size]`, at all steps.
            batch: What the core has read.
            steps: Those that are wanted, `n` of them.

        Returns:
            `[batch, n, output_size]`.
        """


class EveryStep(Readout):
    """The output of the core at each step as it is.

    Args:
        size: Width of the core's outputs.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.output_size = size

    def forward(self, y: Tensor, batch: Batch, steps: slice) -> Tensor:
        """See `Readout.forward`."""
        del batch  # a step is all that there is to it
        return y[:, steps]
