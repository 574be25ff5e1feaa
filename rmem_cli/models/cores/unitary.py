"""Cores whose state is turned by a trained unitary matrix: EUNN and GORU."""

from math import pi, sqrt

import torch
from torch import Tensor, nn

from rmem_cli.models.cores.lengths import last_states
from rmem_cli.models.cores.recurrent_config import EUNNSettings, GORUSettings, UnitarySettings
from rmem_cli.models.cores.stacked import StackedCore
from rmem_cli.models.cores.zoneout import share_let_through
from rmem_cli.models.state import State
from rmem_cli.ops.unitary import dispatch
from rmem_cli.ops.unitary.options import EUNNWeights, GORUOptions, GORUWeights, Unitary, UnitaryWeights


class _UnitaryCore(StackedCore):
    """Layers each of which has a unitary matrix."""

    def initial_layer(self, batch: int, device: torch.device, dtype: torch.dtype) -> State:
        """`hidden` zero; of a complex network, real parts and imaginary parts side by side."""
        return {"hidden": torch.zeros(batch, self.output_size, device=device, dtype=dtype)}

    def turning_parameters(self) -> list[nn.Parameter]:
        """Angles and phases of each layer's matrix; see `Core.turning_parameters`."""
        return [
            parameter for layer in self.layers for parameter in layer.get_submodule("matrix").parameters()
        ]

    def op_paths(self) -> dict[str, str]:
        """In which form the matrix turns the state."""
        return {"unitary": dispatch.form(next(self.parameters()))}


class EUNN(_UnitaryCore):
    """The efficient unitary neural network: `h_t = modReLU(x_t W + h_{t-1} U, b)` with a unitary matrix U.

    U is a product of layers of rotations of two units each, whose angles are trained, so that it is unitary
    whatever they are. `rmem_cli/ops/unitary/README.md` has all equations.

    Args:
        input_size: Width of the inputs.
        settings: All options.

    Source: Jing et al. 2017, *Tunable Efficient Unitary Neural Networks*, section 3. Where it departs from
    the published code: no unit is lost, and matrices of the FFT style are unitary for every size.

    Example:
        >>> eunn = EUNN(8, EUNNSettings(hidden_size=32, capacity=4))
        >>> y, state = eunn(torch.randn(4, 10, 8))
        >>> y, state = eunn(torch.randn(4, 10, 8), state)
    """

    def __init__(self, input_size: int, settings: EUNNSettings) -> None:
        widths = (input_size, *[settings.output_size] * (settings.layers - 1))
        super().__init__(input_size, settings, (_EUNNLayer(width, settings) for width in widths))

    def read_layer(
        self, index: int, x: Tensor, before: State, lengths: Tensor | None
    ) -> tuple[Tensor, State]:
        """See `StackedCore.read_layer`."""
        outputs = self.layers[index](x, before["hidden"])
        return outputs, {"hidden": last_states(outputs, before["hidden"], lengths)}


class GORU(_UnitaryCore):
    """The gated orthogonal recurrent unit: a gated network whose state is turned by an orthogonal matrix U.

    A reset gate `r` acts on what U gives, and an update gate `g` mixes the old state in:
    `h_t = g h_{t-1} + (1 - g) modReLU(x_t U_c + r (h_{t-1} U), b)`. `rmem_cli/ops/unitary/README.md` has all
    equations.

    Args:
        input_size: Width of the inputs.
        settings: All options.

    Source: Jing et al. 2017, *Gated Orthogonal Recurrent Units*, section 3; the published code adds the reset
    gate's bias of 2. Where it departs from that code: no unit is lost.

    Example:
        >>> goru = GORU(8, GORUSettings(hidden_size=32))
        >>> y, state = goru(torch.randn(4, 10, 8))
        >>> y, state = goru(torch.randn(4, 10, 8), state)
    """

    def __init__(self, input_size: int, settings: GORUSettings) -> None:
        widths = (input_size, *[settings.hidden_size] * (settings.layers - 1))
        super().__init__(input_size, settings, (_GORULayer(width, settings) for width in widths))
        self.zoneout = settings.zoneout

    def read_layer(
        self, index: int, x: Tensor, before: State, lengths: Tensor | None
    ) -> tuple[Tensor, State]:
        """See `StackedCore.read_layer`."""
        keep = share_let_through(self.zoneout, x, self.hidden_size, self.training)
        outputs = self.layers[index](x, before["hidden"], keep)
        return outputs, {"hidden": last_states(outputs, before["hidden"], lengths)}


class _UnitaryMatrix(nn.Module):
    """The angles of a unitary matrix."""

    places: Tensor
    signs: Tensor

    def __init__(self, unitary: Unitary) -> None:
        super().__init__()
        self.unitary = unitary
        count = unitary.angle_count()
        self.angles = _circle(count)
        self.phases = _circle(count) if unitary.complex else None
        self.last_phases = _circle(unitary.size) if unitary.complex else None
        places, signs = unitary.places()
        self.register_buffer("places", places, persistent=False)
        self.register_buffer("signs", signs, persistent=False)

    def weights(self) -> UnitaryWeights:
        return UnitaryWeights(self.angles, self.phases, self.last_phases, self.places, self.signs)


class _EUNNLayer(nn.Module):
    def __init__(self, input_size: int, settings: EUNNSettings) -> None:
        super().__init__()
        unitary = _unitary(settings, complex_numbers=settings.complex)
        self.input_kernel = _uniform(settings.initial_bound, input_size, unitary.width)
        self.bias = _constant(settings.modrelu_bias, settings.hidden_size)
        self.matrix = _UnitaryMatrix(unitary)

    def weights(self) -> EUNNWeights:
        return EUNNWeights(self.input_kernel, self.bias, self.matrix.weights())

    def forward(self, x: Tensor, hidden: Tensor) -> Tensor:
        return dispatch.eunn(x, hidden, self.weights(), self.matrix.unitary)


class _GORULayer(nn.Module):
    """The kernels and biases of the gates stand side by side: the reset gate's, then the update gate's."""

    def __init__(self, input_size: int, settings: GORUSettings) -> None:
        super().__init__()
        unitary = _unitary(settings)
        self.options = options = GORUOptions(unitary, settings.reset_gate, settings.update_gate)
        size, bound = settings.hidden_size, settings.initial_bound
        self.input_kernel = _uniform(bound, input_size, (1 + options.gates) * size)
        self.recurrent_kernel = _uniform(bound, size, options.gates * size)
        biases = [torch.full((size,), settings.reset_bias)] if options.reset_gate else []
        biases += [_update_bias(settings)] if options.update_gate else []
        self.gate_bias = nn.Parameter(torch.cat(biases) if biases else torch.empty(0))
        self.bias = _constant(settings.modrelu_bias, size)
        self.matrix = _UnitaryMatrix(unitary)

    def weights(self) -> GORUWeights:
        kernels = self.input_kernel, self.recurrent_kernel
        return GORUWeights(*kernels, self.gate_bias, self.bias, self.matrix.weights())

    def forward(self, x: Tensor, hidden: Tensor, keep: Tensor | None) -> Tensor:
        return dispatch.goru(x, hidden, self.weights(), self.options, keep)


def _unitary(settings: UnitarySettings, *, complex_numbers: bool = False) -> Unitary:
    return Unitary(
        settings.hidden_size,
        settings.layers_of_the_matrix,
        settings.fft,
        complex_numbers,
        settings.published_last_unit,
    )


def _update_bias(settings: GORUSettings) -> Tensor:
    size = settings.hidden_size
    if settings.update_bias is None:
        return nn.init.uniform_(torch.empty(size), -sqrt(3 / size), sqrt(3 / size))
    return torch.full((size,), settings.update_bias)


def _circle(count: int) -> nn.Parameter:
    return _uniform(pi, count)


def _uniform(bound: float, *shape: int) -> nn.Parameter:
    return nn.Parameter(nn.init.uniform_(torch.empty(shape), -bound, bound))


def _constant(value: float, size: int) -> nn.Parameter:
    return nn.Parameter(torch.full((size,), value))
