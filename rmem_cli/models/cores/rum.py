"""The rotational unit of memory."""

import torch
from torch import Tensor, nn

from rmem_cli.models.cores.recurrent_config import RUMSettings
from rmem_cli.models.cores.stacked import StackedCore
from rmem_cli.models.cores.zoneout import share_let_through
from rmem_cli.models.initializers import KERNEL_INITIALIZERS
from rmem_cli.models.state import State
from rmem_cli.ops.rotation import dispatch
from rmem_cli.ops.rotation.options import Affine, LayerNormWeights, RUMOptions, RUMResult, RUMWeights


class RUM(StackedCore):
    """The rotational unit of memory: a recurrent network whose state is turned by a learned rotation.

    At each step the target `r = [x, h] W_r + b_r` and the embedded input `e = x W_e + b_e` define a rotation
    `R(e, r)`, which acts on the previous hidden state: on its own (lambda 0), or accumulated over all steps
    in an associative memory `A_t = A_{t-1} R(e, r)` (lambda 1). `rmem_cli/ops/rotation/README.md` has all
    equations.

    Args:
        input_size: Width of the inputs.
        settings: All options.

    Source: Dangovski et al. 2019, section 3. Where it departs from the published code: rotations are defined
    where the two vectors are parallel, opposite or zero; the associative memory can be carried; all options
    exist together; zoneout draws in training and averages in evaluation on every task.

    Example:
        >>> rum = RUM(8, RUMSettings(hidden_size=32, lambda_=1))
        >>> y, state = rum(torch.randn(4, 10, 8))
        >>> y, state = rum(torch.randn(4, 10, 8), state)
    """

    def __init__(self, input_size: int, settings: RUMSettings) -> None:
        widths = (input_size, *[settings.hidden_size] * (settings.layers - 1))
        layers = [_RUMLayer(width, settings) for width in widths]
        for layer in layers:
            layer.initialize(settings)
        super().__init__(input_size, settings, layers)
        self.settings = settings

    def initial_layer(self, batch: int, device: torch.device, dtype: torch.dtype) -> State:
        """`hidden` zero and, for lambda 1, `memory` the identity."""
        size = self.hidden_size
        state = {"hidden": torch.zeros(batch, size, device=device, dtype=dtype)}
        if self.settings.lambda_ == 1:
            state["memory"] = torch.eye(size, device=device, dtype=dtype).expand(batch, size, size)
        return state

    def read_layer(
        self, index: int, x: Tensor, before: State, lengths: Tensor | None
    ) -> tuple[Tensor, State]:
        """See `StackedCore.read_layer`; the last layer has cosines in front where they are wanted."""
        active = None if lengths is None else _active(lengths, x)
        keep = share_let_through(self.settings.zoneout, x, self.hidden_size, self.training)
        memory = before.get("memory")
        outputs, hidden, memory, cosines = self.layers[index](x, before["hidden"], memory, keep, active)
        if self.settings.track_angle and index == len(self.layers) - 1:
            outputs = torch.cat([cosines.unsqueeze(-1), outputs], dim=-1)
        return outputs, {"hidden": hidden} if memory is None else {"hidden": hidden, "memory": memory}

    def turning_parameters(self) -> list[nn.Parameter]:
        """Those of target and embedded input of each layer; see `Core.turning_parameters`."""
        layers = [layer for layer in self.layers if isinstance(layer, _RUMLayer)]
        return [parameter for layer in layers for parameter in layer.turning_parameters()]

    def op_paths(self) -> dict[str, str]:
        """In which form the rotation runs."""
        return {"rotation": dispatch.form(next(self.parameters()))}


class _RUMLayer(nn.Module):
    def __init__(self, input_size: int, settings: RUMSettings) -> None:
        super().__init__()
        self.options = options = RUMOptions(
            settings.lambda_,
            settings.eta,
            settings.update_gate,
            settings.activation,
            settings.layer_norm,
            settings.eps,
        )
        hidden_size = settings.hidden_size
        joined = input_size + hidden_size
        self.target_kernel = nn.Parameter(torch.empty(joined, hidden_size))
        self.target_bias = nn.Parameter(torch.empty(hidden_size))
        self.gate_kernel = _parameter(options.update_gate, joined, hidden_size)
        self.gate_bias = _parameter(options.update_gate, hidden_size)
        self.input_kernel = nn.Parameter(torch.empty(input_size, hidden_size))
        self.input_bias = _parameter(settings.input_bias, hidden_size)
        self.norms = nn.ParameterDict()
        if options.layer_norm != "none":
            for name in ("target", "gate", "candidate") if options.update_gate else ("target", "candidate"):
                self.norms[f"{name}_gain"] = nn.Parameter(torch.ones(hidden_size))
                self.norms[f"{name}_bias"] = nn.Parameter(torch.zeros(hidden_size))

    def initialize(self, settings: RUMSettings) -> None:
        rotation = [self.target_kernel, self.target_bias, self.gate_kernel, self.gate_bias]
        for parameter in rotation:
            if parameter is None:
                continue
            if parameter.dim() == 2:
                KERNEL_INITIALIZERS[settings.kernel_initializer](parameter)
            else:
                nn.init.constant_(parameter, settings.bias_initial)
            parameter.requires_grad_(settings.trainable_rotation)
        KERNEL_INITIALIZERS[settings.input_initializer](self.input_kernel)
        if self.input_bias is not None:
            nn.init.zeros_(self.input_bias)

    def turning_parameters(self) -> list[nn.Parameter]:
        found = [self.target_kernel, self.target_bias, self.input_kernel, self.input_bias]
        return [parameter for parameter in found if parameter is not None]

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
    return (steps < lengths[:, None]).to(x.dtype).unsqueeze(-1)
