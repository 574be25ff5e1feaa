"""The gated LSTM in the place of `torch.nn.LSTM`."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from rmem_cli.models.cores.gated_layers import GatedLSTMLayer
from rmem_cli.models.cores.recurrent_config import GatedLSTMSettings
from rmem_cli.models.shapes import check_inputs, check_type, check_width
from rmem_cli.ops.gates.options import GateOptions, lstm_blocks
from rmem_cli.recipe.options import settings_from

_TORCH_BLOCKS = ("input", "forget", "candidate", "output")


class URLSTM(nn.Module):
    """An LSTM with uniform gate initialisation and refine gates, called as `torch.nn.LSTM` is.

    Inputs, outputs and states have the same shapes, unbatched and packed ones among them. Only the weights
    differ: one matrix and one bias for all gates, and a forget bias.

    Args:
        input_size: Width of the inputs.
        hidden_size: Units of each layer and direction.
        num_layers: Number of layers, each reading the outputs of the one below.
        bias: Whether gates and candidate have biases; the forget bias is there in either case.
        batch_first: Whether inputs and outputs are `[batch, time, ...]`, not `[time, batch, ...]`.
        dropout: Probability of dropping an output between two layers, in training.
        bidirectional: Whether each layer also reads backwards.
        proj_size: 0; the hidden state is not projected.
        device: Of the weights.
        dtype: Of the weights.
        options: Those of the gates, as `rmem_cli.models.cores.recurrent_config.GatedLSTMSettings` explains
            them: `gate`, `coupled_input_gate`, `forget_bias`, `chrono_length`, `refine_bias`,
            `train_forget_bias`, `master_downsize`, `layer_norm`. Zoneout is the core's alone.

    Raises:
        TypeError: There is no such option.
        ValueError: An option has no such value, or `proj_size` is not 0.

    Source: Gu et al. 2020.

    Example:
        >>> lstm = URLSTM(8, 32, num_layers=2, batch_first=True)
        >>> y, (h_n, c_n) = lstm(torch.randn(4, 10, 8))
        >>> y.shape, h_n.shape
        (torch.Size([4, 10, 32]), torch.Size([2, 4, 32]))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        check_width(input_size)
        if proj_size:
            raise ValueError(
                f"proj_size is {proj_size}; it must be 0: URLSTM does not project its hidden state"
            )
        self.proj_size = proj_size
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bias = bias
        self.batch_first = batch_first
        self.dropout = dropout
        self.bidirectional = bidirectional
        self.directions = 2 if bidirectional else 1
        if "layers" in options:
            raise TypeError("layers is what num_layers says here; leave it out")
        for name in ("hidden_zoneout", "cell_zoneout"):
            if options.get(name):
                raise TypeError(f"{name} is no option of URLSTM, but of the core gated_lstm")
        settings = settings_from(
            GatedLSTMSettings,
            {"layers": "num_layers"},
            hidden_size=hidden_size,
            layers=num_layers,
            dropout=dropout,
            **options,
        )
        widths = [input_size] + [self.directions * hidden_size] * (num_layers - 1)
        self.layers = nn.ModuleList(
            GatedLSTMLayer(width, settings, bias=bias) for width in widths for _ in range(self.directions)
        )
        self.to(device=device, dtype=dtype)

    @classmethod
    def from_torch(cls, lstm: nn.LSTM) -> Self:
        """A module with the standard gate and the weights of a `torch.nn.LSTM`: the same function.

        Torch's two biases become one, and the forget bias a frozen zero. A weight that is frozen there is
        frozen here, and a bias if both are.

        Raises:
            TypeError: It is no LSTM.
            ValueError: The LSTM projects its hidden state (`proj_size`).
        """
        if not isinstance(lstm, nn.LSTM):
            raise TypeError(f"only a torch.nn.LSTM can be converted, not a {type(lstm).__name__}")
        if lstm.proj_size:
            raise ValueError(f"an LSTM with proj_size {lstm.proj_size} cannot be converted; it must be 0")
        weights = lstm.all_weights
        module = cls(
            lstm.input_size,
            lstm.hidden_size,
            lstm.num_layers,
            lstm.bias,
            lstm.batch_first,
            lstm.dropout,
            lstm.bidirectional,
            lstm.proj_size,
            weights[0][0].device,
            weights[0][0].dtype,
            gate="-",
            coupled_input_gate=False,
            forget_bias=0.0,
            train_forget_bias=False,
        )
        for layer, (input_weight, recurrent_weight, *biases) in zip(module.layers, weights, strict=True):
            _copy([input_weight], layer.get_parameter("input_weight"))
            _copy([recurrent_weight], layer.get_parameter("recurrent_weight"))
            if lstm.bias:
                _copy(biases, layer.get_parameter("bias"))
        return module.train(lstm.training)

    def flatten_parameters(self) -> None:
        """Nothing: there is no copy of the weights that could be out of order, as cuDNN has one."""

    def forward(
        self, x: Tensor | PackedSequence, hx: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor | PackedSequence, tuple[Tensor, Tensor]]:
        """Read a batch of sequences.

        Args:
            x: `[time, batch, input]`, or as `batch_first` says; `[time, input]` for one sequence; or packed.
            hx: Hidden state and cell before it, `[layers x directions, batch, hidden]` each; None for zeros.

        Returns:
            The last layer's hidden states, `[time, batch, directions x hidden]` in the form of `x`, and the
            states after the sequence in the form of `hx`.

        Raises:
            ValueError: `x` has another shape or type, or `hx` is that of another module, of another type, or
                of other rows.
        """
        if isinstance(x, PackedSequence):
            check_inputs(x.data, self.input_size, "packed sequences of [time, {}]")
            return self._packed(x, hx)
        many = "[batch, time, {}]" if self.batch_first else "[time, batch, {}]"
        check_inputs(x, self.input_size, many, "[time, {}]")
        if x.dim() == 2:
            one = None if hx is None else (hx[0].unsqueeze(1), hx[1].unsqueeze(1))
            y, hidden, cell = self._batch(x.unsqueeze(0), one)
            return y.squeeze(0), (hidden.squeeze(1), cell.squeeze(1))
        # y as [batch, time, hidden]
        y, hidden, cell = self._batch(x if self.batch_first else x.transpose(0, 1), hx)
        # [time, batch, hidden] or batch first
        return y if self.batch_first else y.transpose(0, 1), (hidden, cell)

    def _packed(
        self, x: PackedSequence, hx: tuple[Tensor, Tensor] | None
    ) -> tuple[PackedSequence, tuple[Tensor, Tensor]]:
        """The rows stay in the order in which they are packed, longest first."""
        padded, lengths = pad_packed_sequence(PackedSequence(x.data, x.batch_sizes), batch_first=True)
        if hx is not None and x.sorted_indices is not None:
            hx = (hx[0].index_select(1, x.sorted_indices), hx[1].index_select(1, x.sorted_indices))
        y, *states = self._batch(padded, hx, lengths.to(padded.device))
        if x.unsorted_indices is not None:
            states = [state.index_select(1, x.unsorted_indices) for state in states]
        packed = pack_padded_sequence(y, lengths, batch_first=True)
        y_packed = PackedSequence(packed.data, x.batch_sizes, x.sorted_indices, x.unsorted_indices)
        return y_packed, (states[0], states[1])

    def _batch(
        self, x: Tensor, hx: tuple[Tensor, Tensor] | None, lengths: Tensor | None = None
    ) -> "_BatchResult":
        layer: Any = self.layers[0]
        check_type(x, layer.input_weight, "the inputs are")
        if hx is None:
            zeros = x.new_zeros(len(self.layers), x.shape[0], self.hidden_size)
            hx = (zeros, zeros)
        self._check_states(hx, x.shape[0])
        for each in hx:
            check_type(each, layer.input_weight, "the states are")
        hiddens, cells = [], []
        for index in range(self.num_layers):
            if index:
                x = functional.dropout(x, self.dropout, self.training)
            outputs = []
            for direction in range(self.directions):
                place = index * self.directions + direction
                y, hidden, cell = self.layers[place](x, hx[0][place], hx[1][place], lengths, bool(direction))
                outputs.append(y)
                hiddens.append(hidden)
                cells.append(cell)
            x = torch.cat(outputs, dim=-1) if self.bidirectional else outputs[0]
        return _BatchResult(x, torch.stack(hiddens), torch.stack(cells))

    def _check_states(self, hx: tuple[Tensor, Tensor], batch: int) -> None:
        shape = (len(self.layers), batch, self.hidden_size)
        given = [tuple(each.shape) for each in hx]
        if given != [shape, shape]:
            raise ValueError(
                f"the states are not those of this URLSTM and {batch} rows: they have "
                f"{' and '.join(str(list(each)) for each in given)}; hidden state and cell must both have "
                f"{list(shape)}, layers x directions, batch and hidden"
            )


class _BatchResult(NamedTuple):
    """Outputs `[batch, time, directions x hidden]`, states `[layers x directions, batch, hidden]`."""

    y: Tensor
    hidden: Tensor
    cell: Tensor


@torch.no_grad()
def _copy(weights: Sequence[Tensor], parameter: Tensor) -> None:
    """A weight of `torch.nn.LSTM`, or the sum of biases, its rows in the order of a parameter's blocks."""
    by_name = dict(zip(_TORCH_BLOCKS, sum(weights[1:], weights[0]).chunk(4), strict=True))
    blocks = lstm_blocks(GateOptions(coupled=False))
    parameter.copy_(torch.cat([by_name[block] for block in blocks]))
    parameter.requires_grad_(any(weight.requires_grad for weight in weights))
