"""One layer of a gated LSTM or GRU: its weights, their first values, and one sequence in one direction."""

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from rmem_cli.models.cores.lengths import last_states
from rmem_cli.models.cores.recurrent_config import GatedGRUSettings, GatedLSTMSettings, GateSettings
from rmem_cli.ops.gates import dispatch, fast, initial_biases
from rmem_cli.ops.gates.options import GateOptions, GateWeights, block_sizes, gru_blocks, lstm_blocks

_AUXILIARIES: dict[str, Literal["none", "master", "refine"]] = {"": "none", "M": "master", "R": "refine"}


def gate_options(settings: GateSettings, *, coupled: bool) -> GateOptions:
    """The form of the recurrence that a gate's name and options stand for."""
    return GateOptions(
        activation="cumax" if settings.initialisation == "O" else "sigmoid",
        auxiliary=_AUXILIARIES[settings.gate.strip("-COU")],
        coupled=coupled,
        refine_bias=settings.refine_bias,
        master_downsize=settings.master_downsize,
    )


def _fill_(bias: Tensor, settings: GateSettings) -> None:
    """Give a forget bias, one number for each unit of the gate, its first values."""
    if settings.initialisation == "U":
        initial_biases.uniform_(bias)
    elif settings.initialisation == "C" and settings.chrono_length is not None:
        initial_biases.chrono_(bias, settings.chrono_length)
    else:
        nn.init.constant_(bias, settings.forget_bias)


class _GatedLayer(nn.Module):
    """Weights, `[blocks x hidden, ...]`, and the forget bias, which an ordered gate has none of."""

    def __init__(
        self,
        input_size: int,
        settings: GateSettings,
        options: GateOptions,
        blocks: tuple[str, ...],
        *,
        bias: bool = True,
        layer_norm: bool = False,
    ) -> None:
        super().__init__()
        hidden_size = settings.hidden_size
        self.hidden_size = hidden_size
        self.options = options
        self.blocks = blocks
        self.sizes = block_sizes(blocks, options, hidden_size)
        rows = sum(self.sizes)
        self.input_weight = nn.Parameter(torch.empty(rows, input_size))
        self.recurrent_weight = nn.Parameter(torch.empty(rows, hidden_size))
        self.bias = nn.Parameter(torch.empty(rows)) if bias else None
        self.gain = nn.Parameter(torch.empty(rows)) if layer_norm else None
        self.forget_bias: nn.Parameter | None = None
        if self.options.activation != "cumax":
            forget_bias = torch.empty(self.sizes[blocks.index("forget")])
            self.forget_bias = nn.Parameter(forget_bias, requires_grad=settings.train_forget_bias)
        self.initialize(settings)

    def initialize(self, settings: GateSettings) -> None:
        """Weights as in torch, biases zero: at zero input and state, gates open as their name says."""
        bound = self.hidden_size**-0.5
        for weight in (self.input_weight, self.recurrent_weight):
            nn.init.uniform_(weight, -bound, bound)
        if self.bias is not None:
            nn.init.zeros_(self.bias)
        if self.gain is not None:
            nn.init.ones_(self.gain)
        if self.forget_bias is not None:
            _fill_(self.forget_bias.data, settings)

    def weights(self) -> GateWeights:
        return GateWeights(self.input_weight, self.recurrent_weight, self.bias, self.forget_bias, self.gain)


class LSTMOutcome(NamedTuple):
    """What a sequence leaves behind: outputs `[batch, time, hidden]`, last states `[batch, hidden]`."""

    outputs: Tensor
    hidden: Tensor
    cell: Tensor


class GatedLSTMLayer(_GatedLayer):
    """A layer of a gated LSTM, with the gates' biases or without."""

    def __init__(self, input_size: int, settings: GatedLSTMSettings, *, bias: bool = True) -> None:
        options = gate_options(settings, coupled=settings.coupled_input_gate)
        super().__init__(
            input_size, settings, options, lstm_blocks(options), bias=bias, layer_norm=settings.layer_norm
        )

    def initialize(self, settings: GateSettings) -> None:
        """A chrono or uniform input gate of its own starts as one minus the forget gate."""
        super().initialize(settings)
        if self.options.coupled or settings.initialisation not in ("C", "U"):
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
        return LSTMOutcome(outputs, last_states(hiddens, hidden, lengths), last_states(cells, cell, lengths))


class GatedGRULayer(_GatedLayer):
    """A layer of a gated GRU, whose input gate is always one minus the update gate."""

    def __init__(self, input_size: int, settings: GatedGRUSettings) -> None:
        options = gate_options(settings, coupled=True)
        super().__init__(input_size, settings, options, gru_blocks(options))
        self.candidate_bias = nn.Parameter(torch.zeros(settings.hidden_size))

    def weights(self) -> GateWeights:
        """Those of every gated layer, and the candidate's bias inside the reset gate."""
        return super().weights()._replace(candidate_bias=self.candidate_bias)

    def forward(
        self, x: Tensor, hidden: Tensor, lengths: Tensor | None = None, hidden_keep: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Outputs `[batch, time, hidden]` and last hidden state; arguments as those of an LSTM's layer."""
        hiddens = fast.gated_gru(x, hidden, self.weights(), self.options, hidden_keep)
        return hiddens, last_states(hiddens, hidden, lengths)


def _reversed(x: Tensor, lengths: Tensor | None) -> Tensor:
    """Each row from its last step that counts to its first; the steps after it stay where they are."""
    if lengths is None:
        return x.flip(1)
    steps = torch.arange(x.shape[1], device=x.device)
    mirrored = lengths[:, None] - 1 - steps
    rows = torch.arange(len(lengths), device=x.device)[:, None]
    return x[rows, torch.where(mirrored >= 0, mirrored, steps)]
