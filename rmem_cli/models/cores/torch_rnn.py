"""Plain RNN, LSTM and GRU: torch's own modules behind the core interface."""

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from rmem_cli.models.cores.base import Core
from rmem_cli.models.cores.layered_config import LayeredSettings
from rmem_cli.models.cores.recurrent_config import GRUSettings, LSTMSettings, RNNSettings
from rmem_cli.models.state import State
from rmem_cli.ops.autocast import in_single_precision

Hidden = Tensor | tuple[Tensor, ...]


class _TorchCore(Core):
    """A `torch.nn` recurrent module; its state is kept as `<name>`, `[batch, layers, hidden]`."""

    state_names: tuple[str, ...] = ("hidden",)

    def __init__(self, module: nn.RNNBase) -> None:
        super().__init__()
        self.module = module
        self.input_size = module.input_size
        self.output_size = module.hidden_size

    def initial_state(
        self, batch: int, *, device: torch.device | None = None, dtype: torch.dtype | None = None
    ) -> State:
        """Zeros, `[batch, layers, hidden]`."""
        device, dtype = self.parameter_options(device, dtype)
        shape = (batch, self.module.num_layers, self.module.hidden_size)
        return {name: torch.zeros(shape, device=device, dtype=dtype) for name in self.state_names}

    @in_single_precision
    def forward(
        self, x: Tensor, state: State | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """Read one segment; see `Core.forward`."""
        if state is None:
            state = self.initial_state(x.shape[0], device=x.device, dtype=x.dtype)
        self.check_state(state, x.shape[0])
        # [layers, batch, hidden]
        before = tuple(state[name].transpose(0, 1).contiguous() for name in self.state_names)
        hidden = before if len(before) > 1 else before[0]
        if lengths is None or lengths.is_meta:  # a tensor without values: as if all steps counted
            y, hidden = self.module(x, hidden)
        else:
            y, hidden = self._up_to(lengths, x, hidden)
        after = hidden if isinstance(hidden, tuple) else (hidden,)
        if lengths is not None:
            after = tuple(map(partial(_unless_empty, lengths), after, before))
        # states as [batch, layers, hidden]
        return y, {name: value.transpose(0, 1) for name, value in zip(self.state_names, after, strict=True)}

    def _up_to(self, lengths: Tensor, x: Tensor, hidden: Hidden) -> tuple[Tensor, Hidden]:
        """Outputs and hidden states, each row read as far as it counts; one without steps for a step."""
        # Rows are packed without gaps, which torch refuses to do with none of a row's steps.
        some = lengths.clamp(min=1).cpu()
        packed = pack_padded_sequence(x, some, batch_first=True, enforce_sorted=False)
        packed, hidden = self.module(packed, hidden)
        y, _ = pad_packed_sequence(packed, batch_first=True, total_length=x.shape[1])
        return y * (lengths > 0).to(y)[:, None, None], hidden


def _unless_empty(lengths: Tensor, after: Tensor, before: Tensor) -> Tensor:
    """`[layers, batch, hidden]`: the states after a segment; of rows without steps, those before it."""
    return torch.where((lengths > 0).to(after.device)[:, None], after, before)


def _options(settings: LayeredSettings) -> dict[str, Any]:
    """What all of torch's recurrent modules take; they warn of a dropout that has no place."""
    dropout = settings.dropout if settings.layers > 1 else 0.0
    return {"num_layers": settings.layers, "dropout": dropout, "batch_first": True}


class RNN(_TorchCore):
    """`torch.nn.RNN`.

    Args:
        input_size: Width of the inputs.
        settings: All options.
    """

    def __init__(self, input_size: int, settings: RNNSettings) -> None:
        options = _options(settings)
        super().__init__(
            nn.RNN(input_size, settings.hidden_size, nonlinearity=settings.nonlinearity, **options)
        )


class GRU(_TorchCore):
    """`torch.nn.GRU`.

    Args:
        input_size: Width of the inputs.
        settings: All options.
    """

    def __init__(self, input_size: int, settings: GRUSettings) -> None:
        super().__init__(nn.GRU(input_size, settings.hidden_size, **_options(settings)))


class LSTM(_TorchCore):
    """`torch.nn.LSTM`.

    Args:
        input_size: Width of the inputs.
        settings: All options.
    """

    state_names = ("hidden", "cell")

    def __init__(self, input_size: int, settings: LSTMSettings) -> None:
        super().__init__(nn.LSTM(input_size, settings.hidden_size, **_options(settings)))
        if settings.initial_bound is not None:
            self._set_first_weights(settings.initial_bound)
        if settings.forget_bias is not None:
            self._set_forget_bias(settings.forget_bias)

    def _set_first_weights(self, bound: float) -> None:
        for name, parameter in self.module.named_parameters():
            if name.startswith("bias"):
                nn.init.zeros_(parameter)
            else:
                nn.init.uniform_(parameter, -bound, bound)

    def _set_forget_bias(self, value: float) -> None:
        # torch adds two biases to each gate, in the order input, forget, candidate, output.
        size = self.module.hidden_size
        with torch.no_grad():
            for name, bias in self.module.named_parameters():
                if name.startswith("bias"):
                    bias[size : 2 * size] = value if name.startswith("bias_ih") else 0.0
