"""The gated LSTM and the gated GRU: UR-LSTM, UR-GRU and the gates that they are compared with."""

from functools import partial

import torch
from torch import Tensor

from rmem_cli.models.cores.gated_layers import GatedGRULayer, GatedLSTMLayer
from rmem_cli.models.cores.recurrent_config import GatedGRUSettings, GatedLSTMSettings
from rmem_cli.models.cores.stacked import StackedCore
from rmem_cli.models.cores.zoneout import share_let_through
from rmem_cli.models.state import State
from rmem_cli.ops.gates import dispatch


class _GatedCore(StackedCore):
    """A stack of gated layers.

    Attributes:
        state_names: What a layer carries, each `[batch, hidden]`.
        zoneout: For each of them, the probability that a unit keeps its previous value.
    """

    state_names: tuple[str, ...]
    zoneout: dict[str, float]

    def initial_layer(self, batch: int, device: torch.device, dtype: torch.dtype) -> State:
        """Zeros."""
        zeros = partial(torch.zeros, batch, self.hidden_size, device=device, dtype=dtype)
        return {name: zeros() for name in self.state_names}

    def read_layer(
        self, index: int, x: Tensor, before: State, lengths: Tensor | None
    ) -> tuple[Tensor, State]:
        """See `StackedCore.read_layer`."""
        states = (before[name] for name in self.state_names)
        x, *after = self.layers[index](x, *states, lengths, **self._keeps(x))
        return x, dict(zip(self.state_names, after, strict=True))

    def _keeps(self, x: Tensor) -> dict[str, Tensor | None]:
        """Share of each new state of a layer that zoneout lets through."""
        return {
            f"{name}_keep": share_let_through(zoneout, x, self.hidden_size, self.training)
            for name, zoneout in self.zoneout.items()
        }


class GatedLSTM(_GatedCore):
    """An LSTM whose forget gate is chosen by name; `GateSettings` explains the names.

    Args:
        input_size: Width of the inputs.
        settings: All options.

    Source: Gu et al. 2020, sections 2 and 3; Shen et al. 2019, section 4, for `master_downsize`; Krueger et
    al. 2017, section 3, for zoneout.

    Example:
        >>> core = GatedLSTM(8, GatedLSTMSettings(hidden_size=32, gate="UR"))
        >>> y, state = core(torch.randn(4, 10, 8))
        >>> y, state = core(torch.randn(4, 10, 8), state)
    """

    state_names = ("hidden", "cell")

    def __init__(self, input_size: int, settings: GatedLSTMSettings) -> None:
        widths = (input_size, *[settings.hidden_size] * (settings.layers - 1))
        super().__init__(input_size, settings, (GatedLSTMLayer(width, settings) for width in widths))
        self.zoneout = {"hidden": settings.hidden_zoneout, "cell": settings.cell_zoneout}

    def op_paths(self) -> dict[str, str]:
        """In which form the gates run."""
        return {"gates": dispatch.form(next(self.parameters()))}


class GatedGRU(_GatedCore):
    """A GRU whose update gate, which keeps the old state, is chosen by name as in `GatedLSTM`.

    Its input gate is always one minus the effective update gate. The reset gate acts on what the hidden state
    contributes to the candidate, as in `torch.nn.GRU`.

    Args:
        input_size: Width of the inputs.
        settings: All options.

    Source: Gu et al. 2020 name UR-GRU; where its reset gate acts is assumed, see
    `rmem_cli/ops/gates/README.md`.
    """

    state_names = ("hidden",)

    def __init__(self, input_size: int, settings: GatedGRUSettings) -> None:
        widths = (input_size, *[settings.hidden_size] * (settings.layers - 1))
        super().__init__(input_size, settings, (GatedGRULayer(width, settings) for width in widths))
        self.zoneout = {"hidden": settings.zoneout}

    def op_paths(self) -> dict[str, str]:
        """The gates run in their fast form."""
        return {"gates": "fast"}
