"""Settings of the recurrent cores; see each implementation for the mathematics."""

from typing import ClassVar, Literal, Self

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, field_validator, model_validator

from rmem_cli.models.cores.layered_config import LayeredSettings
from rmem_cli.recipe.kinds import Core, CoreSettings
from rmem_cli.recipe.messages import describe

Activation = Literal["relu", "tanh", "sigmoid", "softsign"]
KernelInitializer = Literal["orthogonal", "two_half_orthogonal", "xavier"]
GateName = Literal["-", "C", "O", "U", "M", "CM", "OM", "UM", "R", "CR", "OR", "UR"]


class RNNSettings(LayeredSettings):
    """The plain recurrent network, `torch.nn.RNN`."""

    implementation: ClassVar[str] = "rmem_cli.models.cores.torch_rnn:RNN"

    kind: Literal["rnn"] = "rnn"
    nonlinearity: Literal["tanh", "relu"] = "tanh"

    def free_in_evaluation(self) -> frozenset[str]:
        """See `CoreSettings.free_in_evaluation`."""
        return super().free_in_evaluation() | {"nonlinearity"}


class LSTMSettings(LayeredSettings):
    """`torch.nn.LSTM`.

    Attributes:
        initial_bound: First weights are uniform between minus this and this, and biases zero; None keeps
            torch's initialisation.
        forget_bias: First value of the forget gate's bias; None leaves it as the other biases are.
    """

    implementation: ClassVar[str] = "rmem_cli.models.cores.torch_rnn:LSTM"

    kind: Literal["lstm"] = "lstm"
    initial_bound: PositiveFloat | None = None
    forget_bias: float | None = None


class GRUSettings(LayeredSettings):
    """`torch.nn.GRU`."""

    implementation: ClassVar[str] = "rmem_cli.models.cores.torch_rnn:GRU"

    kind: Literal["gru"] = "gru"


class RUMSettings(LayeredSettings):
    """The rotational unit of memory, `rmem_cli.models.cores.rum.RUM`.

    Attributes:
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
    """

    implementation: ClassVar[str] = "rmem_cli.models.cores.rum:RUM"

    kind: Literal["rum"] = "rum"
    lambda_: Literal[0, 1] = Field(default=0, alias="lambda")
    eta: PositiveFloat | None = None
    update_gate: bool = True
    activation: Activation = "relu"
    layer_norm: Literal["none", "before_gate", "after_gate"] = "none"
    zoneout: float = Field(default=0.0, ge=0.0, lt=1.0)
    trainable_rotation: bool = True
    track_angle: bool = False
    input_bias: bool = True
    kernel_initializer: KernelInitializer = "orthogonal"
    input_initializer: KernelInitializer = "xavier"
    bias_initial: float = 1.0
    eps: NonNegativeFloat = 1e-12

    @property
    def output_size(self) -> int:
        """See `CoreSettings.output_size`; one more where the angle is tracked."""
        return self.hidden_size + int(self.track_angle)

    @field_validator("lambda_", mode="before")
    @classmethod
    def _lambda_is_a_whole_number(cls, value: object) -> object:
        if isinstance(value, bool | float):
            raise ValueError(f"must be 0 or 1, not {describe(value)}")
        return value

    def free_in_evaluation(self) -> frozenset[str]:
        """See `CoreSettings.free_in_evaluation`."""
        return super().free_in_evaluation() | {"lambda", "eta", "activation", "zoneout", "eps"}


class GateSettings(LayeredSettings):
    """A gate that is chosen by its name, and what the gated LSTM and the gated GRU share.

    The first letter of the name says how the gate is initialised or activated:

    - none: a sigmoid with the constant bias `forget_bias`;
    - `C`: bias log U(1, T - 1) ("chrono");
    - `O`: cumax, ordered over the units;
    - `U`: bias such that the gate starts uniform on (1/d, 1 - 1/d), d units.

    The second says what modifies it: `M`, it is the master of an ordinary gate; `R`, a refine gate moves it;
    none, nothing. `-` is the standard gate by itself. `rmem_cli/ops/gates/README.md` has all equations.

    Attributes:
        gate: Name of the gate.
        forget_bias: First value of the forget bias of a standard gate (`-`, `M`, `R`).
        chrono_length: T, the longest time lag to expect; chrono gates need it.
        refine_bias: `tied` gives the refine gate minus the forget bias, as the paper and its
            re-implementation (r0mainK/ur-lstm) do; `none` gives it none, as later code of the paper's author
            (state-spaces/s4) does.
        train_forget_bias: Whether the forget bias is trained, as in the re-implementation, or frozen, as in
            that later code.
        master_downsize: Units, beside each other, that share one unit of a master gate (`M`, `CM`, `OM`,
            `UM`); `hidden_size` is a multiple of it.
    """

    gate: GateName = "UR"
    forget_bias: float = 1.0
    chrono_length: int | None = Field(default=None, ge=2)
    refine_bias: Literal["tied", "none"] = "tied"
    train_forget_bias: bool = True
    master_downsize: PositiveInt = 1

    @property
    def equal_kind(self) -> str:
        """See `CoreSettings.equal_kind`; with the standard gate it is an LSTM or a GRU."""
        return self.kind.removeprefix("gated_") if self.gate == "-" else self.kind

    @property
    def initialisation(self) -> Literal["", "C", "O", "U"]:
        """The first letter of the gate's name; nothing for the standard gate."""
        first = self.gate[0]
        return first if first in ("C", "O", "U") else ""  # type: ignore[return-value]  # one of the three

    def free_in_evaluation(self) -> frozenset[str]:
        """See `CoreSettings.free_in_evaluation`."""
        return super().free_in_evaluation() | {"refine_bias"}

    @model_validator(mode="after")
    def _chrono_gates_need_a_length(self) -> Self:
        if self.initialisation == "C" and self.chrono_length is None:
            raise ValueError(f"gate {self.gate} needs chrono_length, the longest time lag to expect")
        return self

    @model_validator(mode="after")
    def _masters_share_the_units(self) -> Self:
        share = self.master_downsize
        if share > 1 and not self.gate.endswith("M"):
            raise ValueError(
                f"gate {self.gate} has no master gate for master_downsize; leave it out, for M, CM, OM and "
                "UM have one"
            )
        if self.hidden_size % share:
            larger = self.hidden_size + share - self.hidden_size % share
            raise ValueError(
                f"hidden_size {self.hidden_size} is no multiple of master_downsize {share}, as {larger} is"
            )
        return self


class GatedLSTMSettings(GateSettings):
    """UR-LSTM and its kin, `rmem_cli.models.cores.gated_lstm.GatedLSTM`.

    Attributes:
        coupled_input_gate: Whether the input gate is one minus the effective forget gate, or has weights of
            its own.
        layer_norm: Normalises each gate's and the candidate's pre-activation by itself, before all biases.
            It is another norm than that of `layer_norm_lstm`, the cell of the Fast-Slow networks, which
            normalises what the cell gives to the hidden state too, has a bias inside of the norm, and
            another eps (1e-3 instead of 1e-5).
        hidden_zoneout: Probability that a unit of the hidden state keeps its previous value, in training; in
            evaluation every unit mixes old and new in that proportion.
        cell_zoneout: The same for the cell. The new hidden state is computed from the new cell before it.
    """

    implementation: ClassVar[str] = "rmem_cli.models.cores.gated_lstm:GatedLSTM"

    kind: Literal["gated_lstm"] = "gated_lstm"
    coupled_input_gate: bool = True
    layer_norm: bool = False
    hidden_zoneout: float = Field(default=0.0, ge=0.0, lt=1.0)
    cell_zoneout: float = Field(default=0.0, ge=0.0, lt=1.0)

    def free_in_evaluation(self) -> frozenset[str]:
        """See `CoreSettings.free_in_evaluation`."""
        return super().free_in_evaluation() | {"hidden_zoneout", "cell_zoneout"}


class GatedGRUSettings(GateSettings):
    """UR-GRU and its kin, `rmem_cli.models.cores.gated_lstm.GatedGRU`.

    Attributes:
        zoneout: Probability that a unit keeps its previous value, in training; in evaluation every unit mixes
            old and new in that proportion.
    """

    implementation: ClassVar[str] = "rmem_cli.models.cores.gated_lstm:GatedGRU"

    kind: Literal["gated_gru"] = "gated_gru"
    zoneout: float = Field(default=0.0, ge=0.0, lt=1.0)

    def free_in_evaluation(self) -> frozenset[str]:
        """See `CoreSettings.free_in_evaluation`."""
        return super().free_in_evaluation() | {"zoneout"}


class LayerNormLSTMSettings(LayeredSettings):
    """The LSTM of the Fast-Slow networks, `rmem_cli.models.cores.layer_norm_lstm.LayerNormLSTM`.

    Attributes:
        forget_bias: Constant that is added to the forget gate, after its norm; it is not trained.
        hidden_zoneout: Probability that a unit of the hidden state keeps its previous value, in training; in
            evaluation every unit mixes old and new in that proportion.
        cell_zoneout: The same for the cell. The new hidden state is computed from the new cell before it.
    """

    implementation: ClassVar[str] = "rmem_cli.models.cores.layer_norm_lstm:LayerNormLSTM"

    kind: Literal["layer_norm_lstm"] = "layer_norm_lstm"
    forget_bias: float = 1.0
    hidden_zoneout: float = Field(default=0.0, ge=0.0, lt=1.0)
    cell_zoneout: float = Field(default=0.0, ge=0.0, lt=1.0)

    def free_in_evaluation(self) -> frozenset[str]:
        """See `CoreSettings.free_in_evaluation`."""
        return super().free_in_evaluation() | {"forget_bias", "hidden_zoneout", "cell_zoneout"}


class FastSlowSettings(CoreSettings):
    """The Fast-Slow network, `rmem_cli.models.cores.fast_slow.FastSlow`.

    Attributes:
        fast: Every fast cell: a core that can be gone through step by step, such as `layer_norm_lstm`.
        slow: The slow cell, likewise.
        fast_cells: How many fast cells there are; all of them share one state.
        dropout: Probability of dropping what one cell gives to another, an input or an output, in training.
    """

    implementation: ClassVar[str] = "rmem_cli.models.cores.fast_slow:FastSlow"
    common: ClassVar[frozenset[str]] = frozenset({"dropout"})

    kind: Literal["fast_slow"] = "fast_slow"
    fast: Core
    slow: Core
    fast_cells: int = Field(default=2, ge=2, le=1000)
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)

    @property
    def output_size(self) -> int | None:
        """See `CoreSettings.output_size`."""
        return self.fast.output_size

    def free_in_evaluation(self) -> frozenset[str]:
        """See `CoreSettings.free_in_evaluation`."""
        return frozenset({"dropout"})

    @field_validator("fast", mode="before")
    @classmethod
    def _fast_cells_are_alike(cls, cell: object) -> object:
        if isinstance(cell, list):
            raise ValueError(
                "all fast cells share one state, so they are alike; give one as a mapping, and how many "
                "there are as fast_cells"
            )
        return cell

    @field_validator("fast", "slow")
    @classmethod
    def _cells_take_single_steps(cls, cell: CoreSettings) -> CoreSettings:
        if not cell.stepwise:
            raise ValueError(
                f"{cell.kind} reads segments as a whole, and a cell is gone through step by step; choose one "
                f"that can be, such as layer_norm_lstm or rum"
            )
        return cell


class UnitarySettings(LayeredSettings):
    """A state that is turned by a trained unitary matrix, a product of layers of rotations.

    Attributes:
        capacity: Layers of the matrix, which pair neighbours: 1 and 2, 3 and 4 and so on in the first, 2 and
            3 and so on in the second; None: 2, as published, or those of `fft`.
        fft: Layers as in a fast Fourier transform instead, which pair units half the size apart, then a
            quarter, down to neighbours. Where the size is no power of two, a layer does not turn units that
            have no partner; no published code does it right there.
        published_last_unit: Sets the last unit to zero in every second layer, as the published code does by
            mistake; then the matrix is not unitary. For a real matrix without `fft`, of an even size.
        initial_bound: First values of kernels are uniform between minus and plus this; angles are
            uniform over the circle.
    """

    capacity: int | None = Field(default=None, gt=0, le=10_000)
    fft: bool = False
    published_last_unit: bool = False
    initial_bound: float = Field(default=0.01, gt=0.0, le=1e6)

    @property
    def layers_of_the_matrix(self) -> int:
        """Layers of a matrix without `fft`."""
        return 2 if self.capacity is None else self.capacity

    def free_in_evaluation(self) -> frozenset[str]:
        """See `CoreSettings.free_in_evaluation`."""
        return super().free_in_evaluation() | {"published_last_unit"}

    @model_validator(mode="after")
    def _fft_has_layers_of_its_own(self) -> Self:
        if self.fft and self.capacity is not None:
            raise ValueError(f"fft has as many layers as the size needs; leave capacity {self.capacity} out")
        return self

    @model_validator(mode="after")
    def _the_last_unit_is_lost_where_it_was(self) -> Self:
        if not self.published_last_unit:
            return self
        if self.fft or getattr(self, "complex", False):
            raise ValueError("published_last_unit is no fault of fft or of a complex matrix; leave it out")
        if self.hidden_size % 2 == 1:
            raise ValueError(
                f"published_last_unit needs an even hidden_size, as {self.hidden_size + 1}; it is "
                f"{self.hidden_size}"
            )
        if self.layers_of_the_matrix == 1:
            raise ValueError(
                "published_last_unit is a fault of the second layer; give a capacity of 2 or more"
            )
        return self


class EUNNSettings(UnitarySettings):
    """The efficient unitary neural network, `rmem_cli.models.cores.unitary.EUNN`.

    Attributes:
        complex: Whether the state is of complex numbers. Outputs and state then have their real parts and,
            behind them, their imaginary parts.
        modrelu_bias: First value of the bias of the modReLU.
    """

    implementation: ClassVar[str] = "rmem_cli.models.cores.unitary:EUNN"

    kind: Literal["eunn"] = "eunn"
    complex: bool = False
    modrelu_bias: float = 0.0

    @property
    def output_size(self) -> int:
        """See `CoreSettings.output_size`; real and imaginary parts of a complex network."""
        return self.hidden_size * (1 + int(self.complex))


class GORUSettings(UnitarySettings):
    """The gated orthogonal recurrent unit, `rmem_cli.models.cores.unitary.GORU`.

    Attributes:
        reset_gate: Whether a gate acts on the state that the matrix has turned.
        update_gate: Whether the old state is mixed in by a gate; without it the candidate is the new state.
        modrelu_bias: First value of the bias of the modReLU.
        reset_bias: First value of the reset gate's bias.
        update_bias: First value of the update gate's bias; None: uniform between minus and plus the root of
            3 / `hidden_size`, as published.
        zoneout: Probability that a unit keeps its previous value, in training; in evaluation every unit mixes
            old and new in that proportion.
    """

    implementation: ClassVar[str] = "rmem_cli.models.cores.unitary:GORU"

    kind: Literal["goru"] = "goru"
    reset_gate: bool = True
    update_gate: bool = True
    modrelu_bias: float = 2.0
    reset_bias: float = 2.0
    update_bias: float | None = None
    zoneout: float = Field(default=0.0, ge=0.0, lt=1.0)

    @model_validator(mode="after")
    def _biases_are_of_gates(self) -> Self:
        if self.update_bias is not None and not self.update_gate:
            raise ValueError("update_bias is that of the update gate, which is left out; leave it out, too")
        if self.reset_bias != type(self).model_fields["reset_bias"].default and not self.reset_gate:
            raise ValueError("reset_bias is that of the reset gate, which is left out; leave it out, too")
        return self

    def free_in_evaluation(self) -> frozenset[str]:
        """See `CoreSettings.free_in_evaluation`."""
        return super().free_in_evaluation() | {"zoneout"}
