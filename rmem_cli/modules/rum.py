"""The rotational unit of memory as a module of its own, for use outside of recipes."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from rmem_cli.models.cores import rum
from rmem_cli.models.cores.recurrent_config import RUMSettings
from rmem_cli.models.shapes import check_inputs, check_lengths, check_type, check_width
from rmem_cli.models.state import State
from rmem_cli.recipe.options import settings_from

_NAMES = {  # of arguments of the published cell, by those of the fields
    "input_initializer": "kernel_initializer",
    "layer_norm": "use_layer_norm",
    "trainable_rotation": "trainable_rot",
}


class RUM(rum.RUM):
    """A recurrent network whose state is turned by a learned rotation; `rmem_cli.models.cores.rum.RUM`.

    Args:
        input_size: Width of the inputs.
        hidden_size: Units of each layer.
        num_layers: As torch calls `layers`, the number of layers; None: what `layers` says, else 1.
        batch_first: Whether inputs and outputs are `[batch, time, ...]`, or `[time, batch, ...]`, which is
            torch's default. States have the batch first in either case.
        device: Of the weights.
        dtype: Of the weights.
        options: All others of `rmem_cli.models.cores.recurrent_config.RUMSettings`, which explains them.

    Raises:
        TypeError: There is no such option.
        ValueError: An option has no such value.

    Example:
        >>> rum = RUM(8, 32, lambda_=1)
        >>> y, state = rum(torch.randn(4, 10, 8))
        >>> y, state = rum(torch.randn(4, 10, 8), state)
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        num_layers: int | None = None,
        batch_first: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        **options: Any,
    ) -> None:
        check_width(input_size)
        if num_layers is not None:
            layers = options.setdefault("layers", num_layers)
            if layers != num_layers:
                raise ValueError(f"layers is {layers} and num_layers, another name of it, is {num_layers}")
        names = {} if num_layers is None else {"layers": "num_layers"}
        super().__init__(input_size, settings_from(RUMSettings, names, hidden_size=hidden_size, **options))
        self.batch_first = batch_first
        self.to(device=device, dtype=dtype)

    def forward(
        self, x: Tensor, state: State | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """Read a segment.

        Args:
            x: `[batch, time, input_size]`, or as `batch_first` says.
            state: What the segment before returned; None starts afresh.
            lengths: `[batch]`, or `[1]` for all rows: steps that count; None: all.

        Returns:
            Outputs in the form of `x`, and the state: `hidden.<layer>` `[batch, hidden]`, and for lambda 1
            `memory.<layer>` `[batch, hidden, hidden]`.

        Raises:
            ValueError: `x` has another shape or type, a row cannot have its length, or the state is that of
                another module, of another type, or of other rows.
            TypeError: The lengths are no tensor.
        """
        form = "[batch, time, {}]" if self.batch_first else "[time, batch, {}]"
        check_inputs(x, self.input_size, form)
        self._check_types(x, state)
        rows, time = x.shape[:2] if self.batch_first else (x.shape[1], x.shape[0])
        if lengths is not None:
            check_lengths(lengths, rows, time)
        if self.batch_first:
            return super().forward(x, state, lengths)
        y, after = super().forward(x.transpose(0, 1), state, lengths)  # y as [batch, time, hidden]
        return y.transpose(0, 1), after  # [time, batch, hidden]

    def step(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Read one step, `[batch, input_size]` whatever `batch_first` says; see `Core.step`."""
        check_inputs(x, self.input_size, "[batch, {}]")
        self._check_types(x, state)
        y, after = super().forward(x[:, None], state)  # y as [batch, 1, hidden]
        return y[:, 0], after

    def _check_types(self, x: Tensor, state: State | None) -> None:
        layer: Any = self.layers[0]
        check_type(x, layer.target_kernel, "the inputs are")
        for name, value in (state or {}).items():
            check_type(value, layer.target_kernel, f"{name} of the state is")


class RUMCell(nn.Module):
    """One step of a rotational unit of memory, with the arguments and the states of the published cell.

    Args:
        hidden_size: Units.
        lambda_: 1 accumulates the rotations in an associative memory, 0 does not.
        eta_: Norm to which every new hidden state is scaled; None leaves it free.
        activation: Of the candidate, `relu`, `tanh`, `sigmoid` or `softsign`, by its name or as torch's
            function; None: `relu`.
        reuse: None; a cell that is called twice is the same cell.
        kernel_initializer: Of the kernel of the embedded input: `orthogonal`, `two_half_orthogonal` or
            `xavier`; None: `orthogonal`.
        bias_initializer: None; the biases of target and gate start as 1, and the embedded input has none.
        eps: Square of the length up to which a vector counts as zero.
        use_zoneout: Whether units of the new state may stay as they are.
        zoneout_keep_h: Probability that a unit does not.
        use_layer_norm: Whether target, gate and candidate are normalised, the gate after its sigmoid.
        is_training: Whether zoneout draws, until `train` or `eval` says otherwise; None: as of any module.
            (There it is False by default, in training as well.)
        update_gate: Whether the old state is mixed in by a gate.
        trainable_rot: False freezes the kernels and biases of target and gate.
        track_angle: Puts the cosine of each step's rotation in front of the outputs.
        visualization: False; `rmem plot landscape` draws what it was for.
        temp_target: None, likewise.
        temp_target_bias: None, likewise.
        temp_embed: None, likewise.
        T_norm: The older name of `eta_`.
        input_size: Width of the inputs; None: that of the first ones. Until then the weights stand there in
            another shape: to load some, or to count them, give the width.

    Raises:
        TypeError: There is no such argument.
        ValueError: An argument has no such value, or its behaviour is not here.

    Source: `RUMCell` of rotational-unit-of-memory and of RUM-Tensorflow. Kernels of target and gate start as
    those of the former do.

    Example:
        >>> cell = RUMCell(32, lambda_=1)
        >>> output, state = cell(torch.randn(4, 8))
        >>> output, state = cell(torch.randn(4, 8), state)
        >>> output.shape, state.shape
        (torch.Size([4, 32]), torch.Size([4, 1056]))
    """

    def __init__(
        self,
        hidden_size: int,
        lambda_: int = 0,
        eta_: float | None = None,
        activation: str | Callable[[Tensor], Tensor] | None = None,
        reuse: bool | None = None,
        kernel_initializer: str | None = None,
        bias_initializer: None = None,
        eps: float = 1e-12,
        use_zoneout: bool = False,
        zoneout_keep_h: float = 0.9,
        use_layer_norm: bool = False,
        is_training: bool | None = None,
        update_gate: bool = True,
        trainable_rot: bool = True,
        track_angle: bool = False,
        visualization: bool = False,
        temp_target: None = None,
        temp_target_bias: None = None,
        temp_embed: None = None,
        *,
        T_norm: float | None = None,  # noqa: N803 - the published name
        input_size: int | None = None,
    ) -> None:
        super().__init__()
        if visualization or any(each is not None for each in (temp_target, temp_target_bias, temp_embed)):
            raise ValueError(
                "visualization and what is fed to it are not here; `rmem plot landscape` draws the loss over "
                "what turns the state"
            )
        if reuse or bias_initializer is not None:
            raise ValueError(
                "reuse and bias_initializer are not here; call the same cell to reuse its weights, and take "
                "RUM(bias_initial=...) for other biases of target and gate"
            )
        if kernel_initializer is not None and not isinstance(kernel_initializer, str):
            raise ValueError("kernel_initializer must be the name of one: orthogonal or xavier, for example")
        if eta_ is not None and T_norm is not None:
            raise ValueError(f"eta_ is {eta_} and T_norm, another name of it, is {T_norm}; give one of them")
        if not eps >= 0:
            raise ValueError(f"eps is {eps}; it is the square of a length, which is not below 0")
        if use_zoneout and not 0 < zoneout_keep_h <= 1:
            raise ValueError(f"zoneout_keep_h is {zoneout_keep_h}; it must be a probability above 0, up to 1")
        settings = settings_from(
            RUMSettings,
            _NAMES | {"eta": "T_norm" if eta_ is None else "eta_"},
            hidden_size=hidden_size,
            lambda_=lambda_,
            eta=T_norm if eta_ is None else eta_,
            activation=_name_of(activation),
            kernel_initializer="two_half_orthogonal",
            input_initializer=kernel_initializer or "orthogonal",
            input_bias=False,
            eps=math.sqrt(eps),
            zoneout=1 - zoneout_keep_h if use_zoneout else 0.0,
            layer_norm="after_gate" if use_layer_norm else "none",
            update_gate=update_gate,
            trainable_rotation=trainable_rot,
            track_angle=track_angle,
        )
        if input_size is not None:
            check_width(input_size)
        self.settings = settings
        self.input_size = input_size
        self.core = rum.RUM(1 if input_size is None else input_size, settings)
        if is_training is not None:
            self.train(is_training)

    @property
    def state_size(self) -> int:
        """Width of a state: the hidden state, and in front of it the associative memory, row by row."""
        return self.settings.hidden_size * (1 + self.settings.hidden_size * self.settings.lambda_)

    @property
    def output_size(self) -> int:
        """Width of the outputs."""
        return self.core.output_size

    def zero_state(self, batch_size: int, dtype: torch.dtype | None = None) -> Tensor:
        """The state before the first step, `[batch, state_size]`: no hidden state, no rotation."""
        return self._flat(self.core.initial_state(batch_size, dtype=dtype))

    def forward(self, inputs: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Read one step.

        Args:
            inputs: `[batch, input_size]`.
            state: What the step before returned, `[batch, state_size]`; None starts afresh.

        Returns:
            The output `[batch, output_size]`, and the state.

        Raises:
            ValueError: The inputs have another shape or type, or the state is that of another cell, of
                another type, or of other rows.
        """
        check_inputs(inputs, self.input_size, "[batch, {}]")
        if self.input_size is None:
            self._take_width(inputs.shape[-1])
        layer: Any = self.core.layers[0]
        check_type(inputs, layer.target_kernel, "the inputs are")
        if state is not None:
            check_type(state, layer.target_kernel, "the state is")
        output, after = self.core.step(inputs, None if state is None else self._parts(state))
        return output, self._flat(after)

    def _take_width(self, width: int) -> None:
        """First values for inputs of a width, in the parameters that an optimizer may already know."""
        known = next(self.core.parameters())
        wide = rum.RUM(width, self.settings).to(known.device, known.dtype)
        for parameter, value in zip(self.core.parameters(), wide.parameters(), strict=True):
            parameter.data = value.data
        self.core.input_size = self.input_size = width

    def _parts(self, state: Tensor) -> State:
        """A flat state as that of the core; the memory as `[batch, hidden, hidden]`."""
        size = self.settings.hidden_size
        if state.dim() != 2 or state.shape[1] != self.state_size:
            raise ValueError(
                f"the state is {list(state.shape)}; that of this cell is [batch, {self.state_size}]"
            )
        if self.settings.lambda_ == 0:
            return {"hidden.0": state}
        memory = state[:, :-size].reshape(-1, size, size)  # [batch, hidden, hidden]
        return {"hidden.0": state[:, -size:], "memory.0": memory}

    def _flat(self, state: State) -> Tensor:
        # [batch, hidden * hidden]
        parts = [state["memory.0"].flatten(1)] if self.settings.lambda_ == 1 else []
        return torch.cat([*parts, state["hidden.0"]], dim=1)  # [batch, state_size]


def _name_of(activation: str | Callable[[Tensor], Tensor] | None) -> str:
    """`relu` of `torch.relu`, `torch.nn.functional.relu` and `torch.nn.ReLU()`."""
    if activation is None or isinstance(activation, str):
        return activation or "relu"
    return getattr(activation, "__name__", type(activation).__name__.lower())
