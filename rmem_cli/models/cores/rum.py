"""The rotational unit of memory."""

from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from rmem_cli.models.cores.base import Core
from rmem_cli.models.cores.config import Activation, KernelInitializer, RUMSettings
from rmem_cli.models.cores.zoneout import share_let_through
from rmem_cli.models.initializers import KERNEL_INITIALIZERS
from rmem_cli.models.state import State
from rmem_cli.ops.rotation import dispatch
from rmem_cli.ops.rotation.options import Affine, LayerNormWeights, RUMOptions, RUMResult, RUMWeights


class RUM(Core):
    """The rotational unit of memory: a recurrent network whose state is turned by a learned rotation.

    At each step the target `r = [x, h] W_r + b_r` and the embedded input `e = x W_e + b_e` define a rotation
    `R(e, r)`, which acts on the previous hidden state: on its own (lambda 0), or accumulated over all steps
    in an associative memory `A_t = A_{t-1} R(e, r)` (lambda 1). `rmem_cli/ops/rotation/README.md` has all
    equations.

    Args:
        input_size: Width of the inputs.
        hidden_size: Units of each layer.
        layers: Number of layers, each reading the hidden states of the one below; `num_layers`, as torch
            calls it, is the same.
        dropout: Probability of dropping an output between two layers, in training.
        lambda_: 1 accumulates the rotations in an associative memory of `hidden_size` squared, 0 does not.
        eta: Norm to which every new hidden state is scaled; None leaves it free ("time normalization").
        update_gate: Whether the old state is mixed in by a gate; without it the candidate is the new state.
        activation: Of the candidate: `relu`, `tanh`, `sigmoid` or `softsign`.
        layer_norm: `none`; `before_gate` normalises target, gate (before its sigmoid) and candidate (before
            its activation); `after_gate` normalises the gate after its sigmoid, as the published code does,
            which takes it out of (0, 1).
        zoneout: Probability that a unit keeps its previous value, in training; in evaluation every unit mixes
            old and new in that proportion. It comes after `eta`, as in the published code.
        trainable_rotation: False freezes the kernels and biases of target and gate, both as published.
        track_angle: Puts the cosine of each step's rotation in front of the outputs of the last layer.
        input_bias: Whether the embedded input has a bias (the TensorFlow code has none, the PyTorch code
            has).
        kernel_initializer: Of the kernels of target and gate: `orthogonal`, `two_half_orthogonal`
            (published) or `xavier`.
        input_initializer: Of the kernel of the embedded input, likewise.
        bias_initial: First value of the biases of target and gate.
        eps: Length up to which a vector counts as zero.
        batch_first: Whether inputs and outputs are `[batch, time, ...]`, or `[time, batch, ...]`, which is
            torch's default. States have the batch first in either case.
        device: Of the weights.
        dtype: Of the weights.

    Raises:
        ValueError: An option has no such value.

    Source: Dangovski et al. 2019, section 3. Where it departs from the published code: rotations are defined
    where the two vectors are parallel, opposite or zero; the associative memory can be carried; all options
    exist together; zoneout draws in training and averages in evaluation on every task.

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
        layers: int = 1,
        dropout: float = 0.0,
        lambda_: Literal[0, 1] = 0,
        eta: float | None = None,
        update_gate: bool = True,
        activation: Activation = "relu",
        layer_norm: Literal["none", "before_gate", "after_gate"] = "none",
        zoneout: float = 0.0,
        trainable_rotation: bool = True,
        track_angle: bool = False,
        input_bias: bool = True,
        kernel_initializer: KernelInitializer = "orthogonal",
        input_initializer: KernelInitializer = "xavier",
        bias_initial: float = 1.0,
        eps: float = 1e-12,
        num_layers: int | None = None,
        batch_first: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        _check_choice("lambda_", lambda_, (0, 1))
        _check_choice("activation", activation, get_args(Activation))
        _check_choice("layer_norm", layer_norm, ("none", "before_gate", "after_gate"))
        if num_layers is not None and layers not in (1, num_layers):
            raise ValueError(f"layers is {layers} and num_layers, another name of it, is {num_layers}")
        layers = layers if num_layers is None else num_layers
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.output_size = hidden_size + int(track_angle)
        self.dropout = dropout
        self.zoneout = zoneout
        self.track_angle = track_angle
        self.options = RUMOptions(lambda_, eta, update_gate, activation, layer_norm, eps)
        stack = [
            _RUMLayer(hidden_size if layer else input_size, hidden_size, self.options, input_bias)
            for layer in range(layers)
        ]
        for layer in stack:
            layer.initialize(kernel_initializer, input_initializer, bias_initial, trainable_rotation)
        self.layers = nn.ModuleList(stack)
        self.batch_first = batch_first
        self.to(device=device, dtype=dtype)

    @classmethod
    def from_settings(cls, settings: RUMSettings, input_size: int) -> "RUM":
        """The core that a recipe describes."""
        fields = {name: getattr(settings, name) for name in type(settings).model_fields if name != "kind"}
        return cls(input_size, **fields)

    def initial_state(
        self, batch: int, *, device: torch.device | None = None, dtype: torch.dtype | None = None
    ) -> State:
        """`hidden.<layer>` zero and, for lambda 1, `memory.<layer>` the identity."""
        device, dtype = self.parameter_options(device, dtype)
        size = self.hidden_size
        state = {}
        for layer in range(len(self.layers)):
            state[f"hidden.{layer}"] = torch.zeros(batch, size, device=device, dtype=dtype)
            if self.options.lambda_ == 1:
                identity = torch.eye(size, device=device, dtype=dtype)
                state[f"memory.{layer}"] = identity.expand(batch, size, size)
        return state

    def forward(
        self, x: Tensor, state: State | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """Read one segment; see `Core.forward`, and `batch_first`."""
        if not self.batch_first:
            y, after = self._read(x.transpose(0, 1), state, lengths)
            return y.transpose(0, 1), after
        return self._read(x, state, lengths)

    def _read(self, x: Tensor, state: State | None, lengths: Tensor | None) -> tuple[Tensor, State]:
        """`x [batch, time, input_size]`."""
        if state is None:
            state = self.initial_state(x.shape[0], device=x.device, dtype=x.dtype)
        self.check_state(state, x.shape[0])
        new_state: State = {}
        active = None if lengths is None else _active(lengths, x)
        outputs, cosines = x, x.new_empty(0)
        for index, layer in enumerate(self.layers):
            inputs = functional.dropout(outputs, self.dropout, self.training) if index else outputs
            memory = state.get(f"memory.{index}")
            keep = share_let_through(self.zoneout, x, self.hidden_size, self.training)
            outputs, hidden, memory, cosines = layer(inputs, state[f"hidden.{index}"], memory, keep, active)
            new_state[f"hidden.{index}"] = hidden
            if memory is not None:
                new_state[f"memory.{index}"] = memory
        if self.track_angle:
            outputs = torch.cat([cosines.unsqueeze(-1), outputs], dim=-1)
        return outputs, new_state

    def op_paths(self) -> dict[str, str]:
        """In which form the rotation runs."""
        return {"rotation": dispatch.form(next(self.parameters()))}


class _RUMLayer(nn.Module):
    def __init__(self, input_size: int, hidden_size: int, options: RUMOptions, input_bias: bool) -> None:
        super().__init__()
        self.options = options
        joined = input_size + hidden_size
        self.target_kernel = nn.Parameter(torch.empty(joined, hidden_size))
        self.target_bias = nn.Parameter(torch.empty(hidden_size))
        self.gate_kernel = _parameter(options.update_gate, joined, hidden_size)
        self.gate_bias = _parameter(options.update_gate, hidden_size)
        self.input_kernel = nn.Parameter(torch.empty(input_size, hidden_size))
        self.input_bias = _parameter(input_bias, hidden_size)
        self.norms = nn.ParameterDict()
        if options.layer_norm != "none":
            for name in ("target", "gate", "candidate") if options.update_gate else ("target", "candidate"):
                self.norms[f"{name}_gain"] = nn.Parameter(torch.ones(hidden_size))
                self.norms[f"{name}_bias"] = nn.Parameter(torch.zeros(hidden_size))

    def initialize(
        self,
        kernel: KernelInitializer,
        input_kernel: KernelInitializer,
        bias: float,
        trainable_rotation: bool,
    ) -> None:
        rotation = [self.target_kernel, self.target_bias, self.gate_kernel, self.gate_bias]
        for parameter in rotation:
            if parameter is None:
                continue
            if parameter.dim() == 2:
                KERNEL_INITIALIZERS[kernel](parameter)
            else:
                nn.init.constant_(parameter, bias)
            parameter.requires_grad_(trainable_rotation)
        KERNEL_INITIALIZERS[input_kernel](self.input_kernel)
        if self.input_bias is not None:
            nn.init.zeros_(self.input_bias)

    def weights(self) -> RUMWeights:
        gate = None if self.gate_kernel is None else Affine(self.gate_kernel, self.gate_bias)
        return RUMWeights(
            target=Affine(self.target_kernel, self.target_bias),
            gate=gate,
            embedding=Affine(self.input_kernel, self.input_bias),
            layer_norm=LayerNormWeights(**self.norms) if self.norms else None,
        )

    def forward(
        self, x: Tensor, hidden: Tensor, memory: Tensor | None, keep: Tensor | None, active: Tensor | None
    ) -> RUMResult:
        return dispatch.rum(x, hidden, memory, self.weights(), self.options, keep, active)


def _parameter(wanted: bool, *shape: int) -> nn.Parameter | None:
    return nn.Parameter(torch.empty(shape)) if wanted else None


def _active(lengths: Tensor, x: Tensor) -> Tensor:
    """One where a step counts, zero after the end of its row: `[batch, time, 1]`."""
    steps = torch.arange(x.shape[1], device=x.device)
    return (steps < lengths.to(x.device)[:, None]).to(x.dtype).unsqueeze(-1)


def _check_choice(name: str, value: Any, choices: tuple[Any, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name} is {value!r}; it must be one of {', '.join(map(repr, choices))}")
