"""The gated LSTM and the gated GRU: UR-LSTM, UR-GRU and the gates that they are compared with."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from rmem_cli.models.cores.base import Core
from rmem_cli.models.cores.config import GatedGRUSettings, GatedLSTMSettings, GateName
from rmem_cli.models.cores.gated_layers import GateDesign, GatedGRULayer, GatedLSTMLayer
from rmem_cli.models.cores.zoneout import share_let_through
from rmem_cli.models.state import State
from rmem_cli.ops.gates import dispatch


class _GatedCore(Core):
    """A stack of gated layers with dropout between them; its state is `<name>.<layer>`, `[batch, hidden]`.

    `zoneout` has the probability that a unit keeps its previous value, for each name.
    """

    state_names: tuple[str, ...]

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        dropout: float,
        layers: list[nn.Module],
        zoneout: dict[str, float],
    ) -> None:
        super().__init__()
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.output_size = hidden_size
        self.dropout = dropout
        self.layers = nn.ModuleList(layers)
        self.zoneout = zoneout

    def initial_state(
        self, batch: int, *, device: torch.device | None = None, dtype: torch.dtype | None = None
    ) -> State:
        """Zeros."""
        device, dtype = self.parameter_options(device, dtype)
        return {
            f"{name}.{layer}": torch.zeros(batch, self.hidden_size, device=device, dtype=dtype)
            for layer in range(len(self.layers))
            for name in self.state_names
        }

    def forward(
        self, x: Tensor, state: State | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """Read one segment; see `Core.forward`."""
        if state is None:
            state = self.initial_state(x.shape[0], device=x.device, dtype=x.dtype)
        self.check_state(state, x.shape[0])
        if lengths is not None:
            lengths = lengths.to(x.device)
        new_state: State = {}
        for index, layer in enumerate(self.layers):
            if index:
                x = functional.dropout(x, self.dropout, self.training)
            names = [f"{name}.{index}" for name in self.state_names]
            x, *after = layer(x, *(state[name] for name in names), lengths, **self._keeps(x))
            new_state.update(zip(names, after, strict=True))
        return x, new_state

    def _keeps(self, x: Tensor) -> dict[str, Tensor | None]:
        """Share of each new state of a layer that zoneout lets through."""
        return {
            f"{name}_keep": share_let_through(zoneout, x, self.hidden_size, self.training)
            for name, zoneout in self.zoneout.items()
        }


class GatedLSTM(_GatedCore):
    """An LSTM whose forget gate is chosen by name.

    The first letter of the name says how the gate is initialised or activated:

    - none: a sigmoid with the constant bias `forget_bias`;
    - `C`: bias log U(1, T - 1) ("chrono");
    - `O`: cumax, ordered over the units;
    - `U`: bias such that the gate starts uniform on (1/d, 1 - 1/d), d units.

    The second says what modifies it: `M`, it is the master of an ordinary gate; `R`, a refine gate moves it;
    none, nothing. `-` is the standard gate by itself. `rmem_cli/ops/gates/README.md` has all equations.

    Args:
        input_size: Width of the inputs.
        hidden_size: Units of each layer.
        layers: Number of layers, each reading the hidden states of the one below.
        dropout: Probability of dropping an output between two layers, in training.
        gate: Name of the gate.
        coupled_input_gate: Whether the input gate is one minus the effective forget gate, or has weights of
            its own.
        forget_bias: First value of the forget bias of a standard gate (`-`, `M`, `R`).
        chrono_length: T, the longest time lag to expect; chrono gates need it.
        refine_bias: `tied` gives the refine gate minus the forget bias, as the re-implementation
            (r0mainK/ur-lstm) does; `none` gives it none, as later code of the paper's author
            (state-spaces/s4) does.
        train_forget_bias: Whether the forget bias is trained, as in the former, or frozen, as in the latter.
        master_downsize: Units, beside each other, that share one unit of a master gate (`M`, `CM`, `OM`,
            `UM`); `hidden_size` is a multiple of it.
        layer_norm: Normalises each gate's and the candidate's pre-activation by itself, before all biases.
        hidden_zoneout: Probability that a unit of the hidden state keeps its previous value, in training; in
            evaluation every unit mixes old and new in that proportion.
        cell_zoneout: The same for the cell. The new hidden state is computed from the new cell before it.

    Raises:
        ValueError: There is no such gate, a chrono gate has no length, or a master cannot be downsized so.

    Source: Gu et al. 2020, sections 2 and 3; Shen et al. 2019, section 4, for `master_downsize`; Krueger et
    al. 2017, section 3, for zoneout.

    Example:
        >>> core = GatedLSTM(8, 32, gate="UR")
        >>> y, state = core(torch.randn(4, 10, 8))
        >>> y, state = core(torch.randn(4, 10, 8), state)
    """

    state_names = ("hidden", "cell")

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        layers: int = 1,
        dropout: float = 0.0,
        gate: GateName = "UR",
        coupled_input_gate: bool = True,
        forget_bias: float = 1.0,
        chrono_length: int | None = None,
        refine_bias: Literal["tied", "none"] = "tied",
        train_forget_bias: bool = True,
        master_downsize: int = 1,
        layer_norm: bool = False,
        hidden_zoneout: float = 0.0,
        cell_zoneout: float = 0.0,
    ) -> None:
        design = GateDesign(
            gate,
            coupled_input_gate,
            forget_bias,
            chrono_length,
            refine_bias,
            train_forget_bias,
            master_downsize,
        )
        stack: list[nn.Module] = [
            GatedLSTMLayer(hidden_size if layer else input_size, hidden_size, design, layer_norm=layer_norm)
            for layer in range(layers)
        ]
        zoneout = {"hidden": hidden_zoneout, "cell": cell_zoneout}
        super().__init__(input_size, hidden_size, dropout, stack, zoneout)

    @classmethod
    def from_settings(cls, settings: GatedLSTMSettings, input_size: int) -> "GatedLSTM":
        """The core that a recipe describes."""
        fields = {name: getattr(settings, name) for name in type(settings).model_fields if name != "kind"}
        return cls(input_size, **fields)

    def op_paths(self) -> dict[str, str]:
        """In which form the gates run."""
        return {"gates": dispatch.form(next(self.parameters()))}


class GatedGRU(_GatedCore):
    """A GRU whose update gate, which keeps the old state, is chosen by name as in `GatedLSTM`.

    Its input gate is always one minus the effective update gate. The reset gate acts on what the hidden state
    contributes to the candidate, as in `torch.nn.GRU`.

    Args:
        input_size: Width of the inputs.
        hidden_size: Units of each layer.
        layers: Number of layers, each reading the hidden states of the one below.
        dropout: Probability of dropping an output between two layers, in training.
        gate: Name of the gate.
        forget_bias: First value of the bias of a standard gate (`-`, `M`, `R`).
        chrono_length: T, the longest time lag to expect; chrono gates need it.
        refine_bias: `tied` gives the refine gate minus the update gate's bias, `none` gives it none.
        train_forget_bias: Whether the update gate's bias is trained or frozen.
        master_downsize: Units that share one unit of a master gate, as in `GatedLSTM`.
        zoneout: Probability that a unit keeps its previous value, as in `GatedLSTM`.

    Raises:
        ValueError: As `GatedLSTM`.

    Source: Gu et al. 2020 name UR-GRU; their text could not be read, see `rmem_cli/ops/gates/README.md`.
    """

    state_names = ("hidden",)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        layers: int = 1,
        dropout: float = 0.0,
        gate: GateName = "UR",
        forget_bias: float = 1.0,
        chrono_length: int | None = None,
        refine_bias: Literal["tied", "none"] = "tied",
        train_forget_bias: bool = True,
        master_downsize: int = 1,
        zoneout: float = 0.0,
    ) -> None:
        design = GateDesign(
            gate, True, forget_bias, chrono_length, refine_bias, train_forget_bias, master_downsize
        )
        stack: list[nn.Module] = [
            GatedGRULayer(hidden_size if layer else input_size, hidden_size, design)
            for layer in range(layers)
        ]
        super().__init__(input_size, hidden_size, dropout, stack, {"hidden": zoneout})

    @classmethod
    def from_settings(cls, settings: GatedGRUSettings, input_size: int) -> "GatedGRU":
        """The core that a recipe describes."""
        fields = {name: getattr(settings, name) for name in type(settings).model_fields if name != "kind"}
        return cls(input_size, **fields)

    def op_paths(self) -> dict[str, str]:
        """The gates run in their fast form."""
        return {"gates": "fast"}
