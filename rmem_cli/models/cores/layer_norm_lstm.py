"""The layer-norm LSTM: the cell of the Fast-Slow networks, and a core of its own."""

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from rmem_cli.models.cores.base import Stepped, Stepper
from rmem_cli.models.cores.lengths import last_states
from rmem_cli.models.cores.recurrent_config import LayerNormLSTMSettings
from rmem_cli.models.cores.stacked import StackedCore
from rmem_cli.models.cores.zoneout import share_let_through
from rmem_cli.models.initializers import orthogonal_
from rmem_cli.models.state import State
from rmem_cli.ops.layer_norm_lstm import dispatch
from rmem_cli.ops.layer_norm_lstm.options import BLOCKS, LayerNormLSTMWeights


class LayerNormLSTM(StackedCore):
    """An LSTM with layer norm on each gate, the candidate, and what the cell gives to the hidden state.

    `rmem_cli/ops/layer_norm_lstm/README.md` has the equations.

    Args:
        input_size: Width of the inputs.
        settings: All options.

    Source: Mujika et al. 2017, and the code of Dangovski et al. 2019, whose numbers it gives.

    Example:
        >>> core = LayerNormLSTM(8, LayerNormLSTMSettings(hidden_size=32, cell_zoneout=0.5))
        >>> y, state = core(torch.randn(4, 10, 8))
        >>> y, state = core(torch.randn(4, 10, 8), state)
    """

    def __init__(self, input_size: int, settings: LayerNormLSTMSettings) -> None:
        widths = (input_size, *[settings.hidden_size] * (settings.layers - 1))
        super().__init__(input_size, settings, (_Layer(width, settings.hidden_size) for width in widths))
        self.settings = settings

    def initial_layer(self, batch: int, device: torch.device, dtype: torch.dtype) -> State:
        """Zeros, `hidden` and `cell`."""
        zeros = partial(torch.zeros, batch, self.hidden_size, device=device, dtype=dtype)
        return {"hidden": zeros(), "cell": zeros()}

    def read_layer(
        self, index: int, x: Tensor, before: State, lengths: Tensor | None
    ) -> tuple[Tensor, State]:
        """See `StackedCore.read_layer`."""
        states = dispatch.layer_norm_lstm(
            x,
            before["hidden"],
            before["cell"],
            self.layers[index].weights(),  # type: ignore[operator]  # a layer is a module to mypy
            self.settings.forget_bias,
            *self._keeps(x),
        )
        hidden = last_states(states.hidden, before["hidden"], lengths)
        return states.hidden, {"hidden": hidden, "cell": last_states(states.cell, before["cell"], lengths)}

    def stepper(self) -> Stepper:
        """See `Core.stepper`."""
        cells = [dispatch.cell(layer.weights(), self.settings.forget_bias) for layer in self.layers]  # type: ignore[operator]

        def step(x: Tensor, state: State) -> Stepped:
            after: State = {}
            for index, cell in enumerate(cells):
                if index:
                    x = functional.dropout(x, self.dropout, self.training)
                keeps = (None if keep is None else keep[:, 0] for keep in self._keeps(x[:, None]))
                before = state[f"hidden.{index}"], state[f"cell.{index}"]
                x, after[f"cell.{index}"] = cell.step(cell.of_input(x), *before, *keeps)
                after[f"hidden.{index}"] = x
            return x, after

        return step

    def op_paths(self) -> dict[str, str]:
        """In which form a step goes on behind its products."""
        return {"layer_norm_lstm": dispatch.form(next(self.parameters()))}

    def _keeps(self, x: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Share of each new hidden state and cell of a layer that zoneout lets through."""
        settings = self.settings
        hidden, cell = (
            share_let_through(zoneout, x, self.hidden_size, self.training)
            for zoneout in (settings.hidden_zoneout, settings.cell_zoneout)
        )
        return hidden, cell


class _Layer(nn.Module):
    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        size = len(BLOCKS) * hidden_size
        self.input_kernel = nn.Parameter(orthogonal_(torch.empty(input_size, size)))
        self.recurrent_kernel = nn.Parameter(orthogonal_(torch.empty(hidden_size, size)))
        self.bias = nn.Parameter(torch.zeros(size))
        self.gate_gain = nn.Parameter(torch.ones(size))
        self.gate_shift = nn.Parameter(torch.zeros(size))
        self.cell_gain = nn.Parameter(torch.ones(hidden_size))
        self.cell_shift = nn.Parameter(torch.zeros(hidden_size))

    def weights(self) -> LayerNormLSTMWeights:
        return LayerNormLSTMWeights(
            self.input_kernel,
            self.recurrent_kernel,
            self.bias,
            self.gate_gain,
            self.gate_shift,
            self.cell_gain,
            self.cell_shift,
        )
