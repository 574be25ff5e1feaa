"""Settings of the cores; see each implementation for the mathematics."""

from typing import ClassVar, Literal, Self

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from rmem_cli.recipe.settings import Component

Activation = Literal["relu", "tanh", "sigmoid", "softsign"]
KernelInitializer = Literal["orthogonal", "two_half_orthogonal", "xavier"]
PositionEncoding = Literal["relative_sinusoid", "relative_learned", "absolute_sinusoid", "absolute_learned"]
GateName = Literal["-", "C", "O", "U", "M", "CM", "OM", "UM", "R", "CR", "OR", "UR"]


class CoreSettings(Component):
    """What every core has.

    Attributes:
        hidden_size: Units of each layer.
        layers: Number of layers, each reading the outputs of the one below.
        dropout: Probability of dropping an output between two layers, in training.
    """

    common: ClassVar[frozenset[str]] = frozenset({"hidden_size", "layers", "dropout"})

    hidden_size: PositiveInt
    layers: int = Field(default=1, gt=0, le=1000)
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)


class RNNSettings(CoreSettings):
    """The plain recurrent network, `torch.nn.RNN`."""

    implementation: ClassVar[str] = "rmem_cli.models.cores.torch_rnn:RNN"

    kind: Literal["rnn"] = "rnn"
    nonlinearity: Literal["tanh", "relu"] = "tanh"


class LSTMSettings(CoreSettings):
    """`torch.nn.LSTM`.

    Attributes:
        forget_bias: Initial value of the forget gate's bias; None keeps torch's uniform initialisation.
    """

    implementation: ClassVar[str] = "rmem_cli.models.cores.torch_rnn:LSTM"

    kind: Literal["lstm"] = "lstm"
    forget_bias: float | None = None


class GRUSettings(CoreSettings):
    """`torch.nn.GRU`."""

    implementation: ClassVar[str] = "rmem_cli.models.cores.torch_rnn:GRU"

    kind: Literal["gru"] = "gru"


class RUMSettings(CoreSettings):
    """The rotational unit of memory; `rmem_cli.models.cores.rum.RUM` explains each field."""

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


def check_master_downsize(gate: str, hidden_size: int, master_downsize: int) -> None:
    """Raise ValueError where a gate of so many units has no master of a share of them."""
    if master_downsize == 1:
        return
    if not gate.endswith("M"):
        raise ValueError(f"gate {gate} has no master gate for master_downsize; M, CM, OM and UM have one")
    if master_downsize < 1:
        raise ValueError(f"master_downsize is {master_downsize}; it must be at least 1")
    if hidden_size % master_downsize:
        larger = hidden_size + master_downsize - hidden_size % master_downsize
        raise ValueError(
            f"hidden_size {hidden_size} is no multiple of master_downsize {master_downsize}, as {larger} is"
        )


class _GatedSettings(CoreSettings):
    """What the gated LSTM and the gated GRU share."""

    gate: GateName = "UR"
    forget_bias: float = 1.0
    chrono_length: int | None = Field(default=None, ge=2)
    refine_bias: Literal["tied", "none"] = "tied"
    train_forget_bias: bool = True
    master_downsize: PositiveInt = 1

    @model_validator(mode="after")
    def _chrono_gates_need_a_length(self) -> Self:
        if self.gate.startswith("C") and self.chrono_length is None:
            raise ValueError(f"gate {self.gate} needs chrono_length, the longest time lag to expect")
        return self

    @model_validator(mode="after")
    def _masters_share_the_units(self) -> Self:
        check_master_downsize(self.gate, self.hidden_size, self.master_downsize)
        return self


class GatedLSTMSettings(_GatedSettings):
    """UR-LSTM and its kin; `rmem_cli.models.cores.gated_lstm.GatedLSTM` explains each field."""

    implementation: ClassVar[str] = "rmem_cli.models.cores.gated_lstm:GatedLSTM"

    kind: Literal["gated_lstm"] = "gated_lstm"
    coupled_input_gate: bool = True
    layer_norm: bool = False
    hidden_zoneout: float = Field(default=0.0, ge=0.0, lt=1.0)
    cell_zoneout: float = Field(default=0.0, ge=0.0, lt=1.0)


class GatedGRUSettings(_GatedSettings):
    """UR-GRU and its kin; `rmem_cli.models.cores.gated_lstm.GatedGRU` explains each field."""

    implementation: ClassVar[str] = "rmem_cli.models.cores.gated_lstm:GatedGRU"

    kind: Literal["gated_gru"] = "gated_gru"
    zoneout: float = Field(default=0.0, ge=0.0, lt=1.0)


class TransformerXLSettings(CoreSettings):
    """Transformer-XL; `rmem_cli.models.cores.transformer_xl.TransformerXL` explains each field."""

    implementation: ClassVar[str] = "rmem_cli.models.cores.transformer_xl:TransformerXL"

    kind: Literal["transformer_xl"] = "transformer_xl"
    heads: PositiveInt = 1
    head_size: PositiveInt | None = None
    inner_size: PositiveInt | None = None
    attention_dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    segment_length: PositiveInt | None = None
    cache_length: NonNegativeInt = 0
    same_length: bool = False
    clamp_length: PositiveInt | None = None
    position_encoding: PositionEncoding = "relative_sinusoid"
    pre_norm: bool = False
    scale_inputs: bool = True
    initial_std: PositiveFloat = 0.02

    @model_validator(mode="after")
    def _counted_positions_need_a_length(self) -> Self:
        if self.position_encoding != "relative_sinusoid" and self.segment_length is None:
            raise ValueError(f"position_encoding {self.position_encoding} needs a segment_length")
        return self


class RMTSettings(TransformerXLSettings):
    """The Recurrent Memory Transformer on Transformer-XL;
    `rmem_cli.models.cores.rmt.RMT` explains each field.
    """

    implementation: ClassVar[str] = "rmem_cli.models.cores.rmt:RMT"

    kind: Literal["rmt"] = "rmt"  # type: ignore[assignment]
    memory_tokens: NonNegativeInt
    memory_at_end: bool = True
    read_memory_from_cache: bool = False
    causal: bool = True
    causal_memory: bool = False
    cache_memory: bool = False
    published_shift: bool = False
    memory_kind: Literal["recurrent", "associative"] = "recurrent"
    associative_size: PositiveInt = 64
    associative_order: PositiveInt = 3
    associative_correction: bool = True
    memory_initializer: Literal["independent", "shared"] = "independent"
    memory_std: PositiveFloat = 1.0

    @model_validator(mode="after")
    def _an_associative_memory_is_written(self) -> Self:
        if self.memory_kind == "associative" and not (self.memory_at_end and self.memory_tokens):
            raise ValueError(
                "memory_kind associative needs memory_tokens, which write it, and memory_at_end true"
            )
        return self


class PretrainedRMTSettings(Component):
    """The Recurrent Memory Transformer on a pretrained encoder, whose layers and dropout are its own;
    `rmem_cli.models.cores.pretrained_rmt.PretrainedRMT` explains it.

    Attributes:
        backbone: Name of the pretrained model, such as `bert-base-cased`, or the folder that holds it.
        hidden_size: Width of its vectors.
        memory_tokens: How many there are.
        segment_length: Steps of one segment.
    """

    implementation: ClassVar[str] = "rmem_cli.models.cores.pretrained_rmt:PretrainedRMT"
    common: ClassVar[frozenset[str]] = frozenset({"hidden_size"})

    kind: Literal["pretrained_rmt"] = "pretrained_rmt"
    backbone: str
    hidden_size: PositiveInt
    memory_tokens: PositiveInt
    segment_length: PositiveInt


class PreNormRMTSettings(CoreSettings):
    """The Recurrent Memory Transformer on a pre-norm transformer;
    `rmem_cli.models.cores.prenorm_rmt.PreNormRMT` explains each field.
    """

    implementation: ClassVar[str] = "rmem_cli.models.cores.prenorm_rmt:PreNormRMT"

    kind: Literal["prenorm_rmt"] = "prenorm_rmt"
    memory_tokens: NonNegativeInt
    heads: PositiveInt = 8
    head_size: PositiveInt = 64
    inner_size: PositiveInt | None = None
    attention_dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    segment_length: PositiveInt | None = None
    cache_length: NonNegativeInt = 0
    causal: bool = True
    memory_at_end: bool = True
    absolute_positions: bool = True
    rotary_positions: bool = False
    rotary_theta: PositiveFloat = 32768.0
    token_shift: bool = False
    embedding_gradient: float = Field(default=0.1, ge=0.0, le=1.0)
    causal_memory: bool = False
    memory_reads_cache: bool = True
    cache_memory: bool = False
    cache_from_above: bool = False
    write_to_next_write: bool = False
    next_write_gradient: bool = False
    read_first_memory: bool = True
    null_key: bool = True
    null_after_cache: bool = False
    value_residual: bool = True
    residual_streams: PositiveInt = 1

    @model_validator(mode="after")
    def _absolute_positions_need_a_length(self) -> Self:
        if self.absolute_positions and self.segment_length is None:
            raise ValueError(
                "absolute_positions need a segment_length; set it, or absolute_positions to false"
            )
        return self
