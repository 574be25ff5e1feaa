"""One layer of a gated LSTM or GRU: its weights, their first values, and one sequence in one direction."""

from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn

from rmem_cli.models.cores.config import GateName, check_master_downsize
from rmem_cli.ops.gates import dispatch, fast, initial_biases
from rmem_cli.ops.gates.options import GateOptions, GateWeights, block_sizes, gru_blocks, lstm_blocks

_AUXILIARIES: dict[str, Literal["none", "master", "refine"]] = {"": "none", "M": "master", "R": "refine"}


@dataclass(frozen=True)
class GateDesign:
    """A gate by its name, its initialisation and its options; `GatedLSTM` explains each field.

    Raises:
        ValueError: There is no such gate, or a chrono gate has no length.
    """

    name: GateName = "UR"
    coupled: bool = True
    forget_bias: float = 1.0
    chrono_length: int | None = None
    refine_bias: Literal["tied", "none"] = "tied"
    train_forget_bias: bool = True
    master_downsize: int = 1

    def __post_init__(self) -> None:
        if self.name not in get_args(GateName):
            raise ValueError(f"gate is {self.name!r}; it must be one of {', '.join(get_args(GateName))}")
        if self.refine_bias not in ("tied", "none"):
            raise ValueError(f"refine_bias is {self.refine_bias!r}; it must be 'tied' or 'none'")
        if self.initialisation == "C" and self.chrono_length is None:
            raise ValueError(f"gate {self.name} needs chrono_length, the longest time lag to expect")

    @property
    def initialisation(self) -> str:
        """The first axis: C, O, U, or nothing for the standard gate."""
        return self.name[0] if self.name[0] in "COU" else ""

    @property
    def options(self) -> GateOptions:
        """The form of the recurrence."""
        return GateOptions(
            activation="cumax" if self.initialisation == "O" else "sigmoid",
            auxiliary=_AUXILIARIES[self.name.strip("-COU")],
            coupled=self.coupled,
            refine_bias=self.refine_bias,
            master_downsize=self.master_downsize,
        )

    def fill_(self, bias: Tensor) -> None:
        """Give a forget bias, one number for each unit of the gate, its first values."""
        if self.initialisation == "U":
            initial_biases.uniform_(bias)
        elif self.initialisation == "C" and self.chrono_length is not None:
            initial_biases.chrono_(bias, self.chrono_length)
        else:
            nn.init.constant_(bias, self.forget_bias)


class _GatedLayer(nn.Module):
    """Weights, `[blocks x hidden, ...]`, and the forget bias, which an ordered gate has none of.

    Raises:
        ValueError: A master is to be downsized that is not there, or to no whole number of units.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        design: GateDesign,
        blocks: tuple[str, ...],
        *,
        bias: bool = True,
        layer_norm: bool = False,
    ) -> None:
        super().__init__()
        check_master_downsize(design.name, hidden_size, design.master_downsize)
        self.hidden_size = hidden_size
        self.options = design.options
        self.blocks = blocks
        self.sizes = block_sizes(blocks, design.options, hidden_size)
        rows = sum(self.sizes)
        self.input_weight = nn.Parameter(torch.empty(rows, input_size))
        self.recurrent_weight = nn.Parameter(torch.empty(rows, hidden_size))
        self.bias = nn.Parameter(torch.empty(rows)) if bias else None
        self.gain = nn.Parameter(torch.empty(rows)) if layer_norm else None
        self.forget_bias: nn.Parameter | None = None
        if self.options.activation != "cumax":
            forget_bias = torch.empty(self.sizes[blocks.index("forget")])
            self.forget_bias = nn.Parameter(forget_bias, requires_grad=design.train_forget_bias)
        self.initialize(design)

    def initialize(self, design: GateDesign) -> None:
        """Weights as in torch, biases zero: at zero input and state, gates open as their name says."""
        bound = self.hidden_size**-0.5
        for weight in (self.input_weight, self.recurrent_weight):
            nn.init.uniform_(weight, -bound, bound)
        if self.bias is not None:
            nn.init.zeros_(self.bias)
        if self.gain is not None:
            nn.init.ones_(self.gain)
        if self.forget_bias is not None:
            design.fill_(self.forget_bias.data)

    def weights(self) -> GateWeights:
        return GateWeights(self.input_weight, self.recurrent_weight, self.bias, self.forget_bias, self.gain)


class LSTMOutcome(NamedTuple):
    """What a sequence leaves behind: outputs `[batch, time, hidden]`, last states `[batch, hidden]`."""

    outputs: Tensor
    hidden: Tensor
    cell: Tensor


class GatedLSTMLayer(_GatedLayer):
    """A layer of a gated LSTM; `GatedLSTM` explains the arguments."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        design: GateDesign,
        *,
        bias: bool = True,
        layer_norm: bool = False,
    ) -> None:
        blocks = lstm_blocks(design.options)
        super().__init__(input_size, hidden_size, design, blocks, bias=bias, layer_norm=layer_norm)

    def initialize(self, design: GateDesign) -> None:
        """A chrono or uniform input gate of its own starts as one minus the forget gate."""
        super().initialize(design)
        if design.coupled or design.initialisation not in ("C", "U"):
            return
        if self.bias is not None and self.forget_bias is not None:
            input_bias = self.bias.data.split_with_sizes(self.sizes)[self.blocks.index("input")]
            input_bias.copy_(-self.forget_bias.data)

    def forward(
        self,
        x: Tensor,
        hidden: Tensor,
        cell: Tensor,
        lengths: Tensor | None = None,
        reverse: bool = False,
        hidden_keep: Tensor | None = None,
        cell_keep: Tensor | None = None,
    ) -> LSTMOutcome:
        """Read a sequence, `[batch, time, input]`; outputs after the end of a row mean nothing.

        Args:
            x: Inputs.
            hidden: Hidden state before it, `[batch, hidden]`.
            cell: Cell before it, `[batch, hidden]`.
            lengths: `[batch]`, on the device of `x`, steps of each row that count; None: all.
            reverse: Read each row from its last step that counts to its first.
            hidden_keep: Zoneout: the share of each new hidden state that is let through, in the order in
                which the steps are read, `[batch, time, hidden]`; None: all of it.
            cell_keep: That of each new cell, likewise.
        """
        if reverse:
            x = _reversed(x, lengths)
        hiddens, cells = dispatch.gated_lstm(
            x, hidden, cell, self.weights(), self.options, hidden_keep, cell_keep
        )
        outputs = _reversed(hiddens, lengths) if reverse else hiddens
        return LSTMOutcome(outputs, _last(hiddens, hidden, lengths), _last(cells, cell, lengths))


class GatedGRULayer(_GatedLayer):
    """A layer of a gated GRU; `GatedGRU` explains the arguments."""

    def __init__(self, input_size: int, hidden_size: int, design: GateDesign) -> None:
        super().__init__(input_size, hidden_size, design, gru_blocks(design.options))
        self.candidate_bias = nn.Parameter(torch.zeros(hidden_size))

    def weights(self) -> GateWeights:
        """Those of every gated layer, and the candidate's bias inside the reset gate."""
        return super().weights()._replace(candidate_bias=self.candidate_bias)

    def forward(
        self, x: Tensor, hidden: Tensor, lengths: Tensor | None = None, hidden_keep: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Outputs `[batch, time, hidden]` and last hidden state; arguments as those of an LSTM's layer."""
        hiddens = fast.gated_gru(x, hidden, self.weights(), self.options, hidden_keep)
        return hiddens, _last(hiddens, hidden, lengths)


def _last(states: Tensor, initial: Tensor, lengths: Tensor | None) -> Tensor:
    """The state after the last step of each row that counts; the initial one where none does."""
    if lengths is None:
        return states[:, -1]
    rows = torch.arange(len(lengths), device=states.device)
    return torch.where(lengths[:, None] > 0, states[rows, (lengths - 1).clamp_min(0)], initial)


def _reversed(x: Tensor, lengths: Tensor | None) -> Tensor:
    """Each row from its last step that counts to its first; the steps after it stay where they are."""
    if lengths is None:
        return x.flip(1)
    steps = torch.arange(x.shape[1], device=x.device)
    mirrored = lengths[:, None] - 1 - steps
    rows = torch.arange(len(lengths), device=x.device)[:, None]
    return x[rows, torch.where(mirrored >= 0, mirrored, steps)]
