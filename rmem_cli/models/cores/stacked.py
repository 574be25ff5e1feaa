"""Cores of several layers that are read one after the other."""

from abc import abstractmethod
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional

from rmem_cli.models.cores.base import Core, without_padding
from rmem_cli.models.cores.layered_config import LayeredSettings
from rmem_cli.models.state import State


class StackedCore(Core):
    """Layers, each reading the outputs of the one below, with dropout between them.

    The state has entries `<name>.<layer>`, those of a layer side by side.

    Args:
        input_size: Width of the inputs.
        settings: Of the core.
        layers: From the lowest to the highest.
    """

    def __init__(self, input_size: int, settings: LayeredSettings, layers: Iterable[nn.Module]) -> None:
        super().__init__()
        self.input_size = input_size
        self.hidden_size = settings.hidden_size
        self.output_size = settings.output_size
        self.dropout = settings.dropout
        self.layers = nn.ModuleList(layers)

    @abstractmethod
    def initial_layer(self, batch: int, device: torch.device, dtype: torch.dtype) -> State:
        """A layer's part of the state before the first segment, by names without the layer."""

    @abstractmethod
    def read_layer(
        self, index: int, x: Tensor, before: State, lengths: Tensor | None
    ) -> tuple[Tensor, State]:
        """Read one segment with one layer.

        Args:
            index: Of the layer.
            x: Its inputs, `[batch, time, width]`.
            before: Its part of the state, by names without the layer.
            lengths: See `Core.forward`; on the device of `x`.

        Returns:
            Outputs `[batch, time, width]`, and its part of the state after the segment.
        """

    def initial_state(
        self, batch: int, *, device: torch.device | None = None, dtype: torch.dtype | None = None
    ) -> State:
        """See `Core.initial_state`."""
        device, dtype = self.parameter_options(device, dtype)
        state: State = {}
        for index in range(len(self.layers)):
            state |= _of_layer(self.initial_layer(batch, device, dtype), index)
        return state

    def forward(
        self, x: Tensor, state: State | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """Read one segment; see `Core.forward`."""
        if state is None:
            state = self.initial_state(x.shape[0], device=x.device, dtype=x.dtype)
        self.check_state(state, x.shape[0])
        if lengths is not None:
            lengths = lengths.to(x.device)
            x = without_padding(x, lengths)
        after: State = {}
        for index in range(len(self.layers)):
            if index:
                x = functional.dropout(x, self.dropout, self.training)
            ending = f".{index}"
            before = {
                name.removesuffix(ending): value for name, value in state.items() if name.endswith(ending)
            }
            x, own = self.read_layer(index, x, before, lengths)
            after |= _of_layer(own, index)
        return x, after


def _of_layer(entries: State, index: int) -> State:
    return {f"{name}.{index}": value for name, value in entries.items()}
