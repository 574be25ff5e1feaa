"""Settings of the transformers with a memory; see each implementation for the mathematics."""

from typing import ClassVar, Literal, Self

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from rmem_cli.models.cores.layered_config import LayeredSettings
from rmem_cli.recipe.kinds import CoreSettings

PositionEncoding = Literal["relative_sinusoid", "relative_learned", "absolute_sinusoid", "absolute_learned"]


class TransformerSettings(LayeredSettings):
    """Layers in the form of Transformer-XL.

    Attributes:
        heads: Attention heads.
        head_size: Width of each; None shares the hidden size among them.
        inner_size: Width between the two maps of a feed-forward part; None for four times the hidden size.
        dropout: Probability of dropping a unit of the inputs, the position features, what attention and
            feed-forward parts give, inside of the latter, and of the outputs, in training: in all the places
            where the published code does.
        attention_dropout: Probability of dropping an attention probability, in training.
        segment_length: Steps of one segment; None takes any number.
        cache_length: Positions of earlier segments that the layers see as well, without gradient.
        same_length: Whether each token sees as many keys of cache and segment as the cache is long, itself
            included. (In the published code of the RMT paper, this option switches off all rules about
            memory.)
        clamp_length: Distances beyond this one count as this one; None for no bound.
        position_encoding: How the order of the places is known: the published code's `attn_type` 0 to 3,
            `relative_sinusoid` (Dai et al. 2019), `relative_learned` (after Shaw et al. 2018),
            `absolute_sinusoid` (Vaswani et al. 2017) or `absolute_learned` (Al-Rfou et al. 2019). All but the
            first need a `segment_length`. Memory tokens have places like all others.
        pre_norm: Whether layer norm comes before attention and feed-forward part, or after the sum.
        scale_inputs: Whether the inputs, not the memory, are multiplied by the root of the hidden size.
        initial_std: Standard deviation of the first weights.
    """

    stepwise: ClassVar[bool] = False

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

    @property
    def width_of_head(self) -> int:
        """Width of each head, given or shared."""
        return self.hidden_size // self.heads if self.head_size is None else self.head_size

    @property
    def width_inside(self) -> int:
        """Width between the two maps of a feed-forward part, given or by default."""
        return 4 * self.hidden_size if self.inner_size is None else self.inner_size

    @property
    def longest_segment(self) -> int | None:
        """See `CoreSettings.longest_segment`; absolute positions are counted from the end of a segment."""
        return self.segment_length if self.position_encoding.startswith("absolute") else None

    def free_in_evaluation(self) -> frozenset[str]:
        """See `CoreSettings.free_in_evaluation`; learned positions are as many as there are places."""
        free = super().free_in_evaluation() | {"attention_dropout", "same_length", "pre_norm", "scale_inputs"}
        learned = self.position_encoding in ("relative_learned", "absolute_learned")
        return free if learned else free | {"segment_length", "cache_length", "clamp_length"}

    @model_validator(mode="after")
    def _heads_share_the_units(self) -> Self:
        if self.head_size is None and self.hidden_size % self.heads:
            raise ValueError(
                f"hidden_size {self.hidden_size} cannot be shared among {self.heads} heads; set head_size"
            )
        return self

    @model_validator(mode="after")
    def _same_length_is_that_of_a_cache(self) -> Self:
        if self.same_length and self.cache_length == 0:
            raise ValueError("same_length needs a cache_length above 0, which says how long")
        return self

    @model_validator(mode="after")
    def _counted_positions_need_a_length(self) -> Self:
        if self.position_encoding != "relative_sinusoid" and self.segment_length is None:
            raise ValueError(f"position_encoding {self.position_encoding} needs a segment_length")
        return self


class TransformerXLSettings(TransformerSettings):
    """Transformer-XL, `rmem_cli.models.cores.transformer_xl.TransformerXL`."""

    implementation: ClassVar[str] = "rmem_cli.models.cores.transformer_xl:TransformerXL"

    kind: Literal["transformer_xl"] = "transformer_xl"


class RMTSettings(TransformerSettings):
    """The Recurrent Memory Transformer on Transformer-XL, `rmem_cli.models.cores.rmt.RMT`.

    Attributes:
        memory_tokens: How many memory tokens there are.
        memory_at_end: Whether memory is written behind the segment; without, what becomes of the read memory
            is the next one. It sees the segment only if nothing is causal: the form for encoders.
        read_memory_from_cache: Whether memory tokens see the cache.
        causal: Whether no output depends on later inputs; without, every position sees every other.
        causal_memory: Whether a memory token is blind to those after it in its own block.
        cache_memory: Whether memory tokens are cached like tokens of the segment, as in the published code,
            or only these are.
        published_shift: Memory blocks are the only place where a key can come after its query. There the
            published code's relative shift yields scores that belong to other distances, or zero; true
            reproduces them, false takes the sinusoid of the negative distance.
        memory_kind: Whether memory tokens are `recurrent`, from segment to segment, or written into an
            `associative` memory.
        associative_size: Width of the keys of an associative memory, before they are mapped to features.
        associative_order: Shifts of the feature map: there are `2 * associative_size * associative_order`
            features.
        associative_normalized: Whether the features of keys and queries are brought to length 1, as later
            published code does; without, few and small ones can make what is read grow without bounds.
        associative_correction: Whether writing under a key that is known adds less to the normalizer.
        memory_initializer: Whether the memory tokens of the first segment start as `independent` normal
            vectors or as one `shared` by all, as in the published code.
        memory_std: Standard deviation of these vectors.
    """

    implementation: ClassVar[str] = "rmem_cli.models.cores.rmt:RMT"

    kind: Literal["rmt"] = "rmt"
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
    associative_normalized: bool = False
    associative_correction: bool = True
    memory_initializer: Literal["independent", "shared"] = "independent"
    memory_std: PositiveFloat = 1.0

    @model_validator(mode="after")
    def _same_length_is_that_of_the_past(self) -> Self:
        if self.same_length and not self.causal:
            raise ValueError(
                "same_length is of keys before a token, and causal is false; leave out one of them"
            )
        return self

    @property
    def equal_kind(self) -> str:
        """See `CoreSettings.equal_kind`; without memory it is a Transformer-XL."""
        return self.kind if self.memory_tokens else "transformer_xl"

    @property
    def reads_ahead(self) -> bool:
        """See `CoreSettings.reads_ahead`."""
        return not self.causal

    def free_in_evaluation(self) -> frozenset[str]:
        """See `CoreSettings.free_in_evaluation`."""
        free = super().free_in_evaluation() | {"causal_memory", "cache_memory", "associative_correction"}
        free |= {"read_memory_from_cache"}
        # How many distances are learned depends on where keys may come after their query.
        return free if self.position_encoding == "relative_learned" else free | self._order_of_places

    _order_of_places: ClassVar[frozenset[str]] = frozenset({"memory_at_end", "causal", "published_shift"})

    @model_validator(mode="after")
    def _an_associative_memory_is_written(self) -> Self:
        if self.memory_kind == "associative" and not (self.memory_at_end and self.memory_tokens):
            raise ValueError(
                "memory_kind associative needs memory_tokens, which write it, and memory_at_end true"
            )
        return self


class PretrainedRMTSettings(CoreSettings):
    """The Recurrent Memory Transformer on a pretrained model, whose layers and dropout are its own;
    `rmem_cli.models.cores.pretrained_rmt.PretrainedRMT`.

    Attributes:
        backbone: Name of the pretrained model, such as `bert-base-cased`, or the folder that holds it.
        decoder: Whether it is a decoder, in which no place sees a later one, such as GPT-2, or an encoder.
        hidden_size: Width of its vectors.
        memory_tokens: How many memory tokens there are.
        segment_length: Steps of one segment.
        lora_rank: Rank of what is learned beside each of the backbone's linear maps, in place of its own
            weights (Hu et al. 2022, by the library peft); None: its own weights are learned.
        lora_alpha: Of that, what it is multiplied by, times its rank.
    """

    stepwise: ClassVar[bool] = False

    implementation: ClassVar[str] = "rmem_cli.models.cores.pretrained_rmt:PretrainedRMT"
    common: ClassVar[frozenset[str]] = frozenset({"hidden_size"})

    kind: Literal["pretrained_rmt"] = "pretrained_rmt"
    backbone: str
    decoder: bool = False
    hidden_size: PositiveInt
    memory_tokens: PositiveInt
    segment_length: PositiveInt
    lora_rank: PositiveInt | None = None
    lora_alpha: PositiveFloat = 32.0

    @property
    def output_size(self) -> int:
        """See `CoreSettings.output_size`."""
        return self.hidden_size

    @property
    def reads_ahead(self) -> bool:
        """See `CoreSettings.reads_ahead`; an encoder sees its whole segment."""
        return not self.decoder

    def free_in_evaluation(self) -> frozenset[str]:
        """See `CoreSettings.free_in_evaluation`."""
        return frozenset({"segment_length"})


class PreNormRMTSettings(LayeredSettings):
    """The Recurrent Memory Transformer on a pre-norm transformer, in the form of the lucidrains package;
    `rmem_cli.models.cores.prenorm_rmt.PreNormRMT` tells which option of the package is which.

    Attributes:
        memory_tokens: How many memory tokens there are.
        heads: Attention heads.
        head_size: Width of each.
        inner_size: Width of the gated feed-forward part; None for 8/3 of the hidden size.
        dropout: Probability of dropping a unit inside of a feed-forward part, in training.
        attention_dropout: Probability of dropping an attention probability, in training.
        segment_length: Steps of one segment; None takes any number, without absolute positions.
        cache_length: Keys and values of earlier positions that the layers see as well, without gradient.
        causal: Whether no output depends on later inputs; without, every position sees every other.
        memory_at_end: Whether memory is written behind the segment. Without, and not causal, memory is read
            and written in front of it, as in encoders.
        absolute_positions: Whether a learned vector for each place of the segment is added to the inputs.
        rotary_positions: Whether queries and keys are turned by their positions. Memory is at position 0, far
            from all others.
        rotary_theta: Base of the rotary frequencies.
        token_shift: Whether half of each token's units come from the token before, in front of every part.
        embedding_gradient: Share of the gradient that the inputs get.
        causal_memory: Whether a memory token is blind to those after it in its own block.
        memory_reads_cache: Whether memory tokens see the cache.
        cache_memory: Whether memory tokens and the null key are cached like tokens of the segment, as in the
            package, or only these are.
        cache_from_above: Whether a layer sees the cache of the layer above it, and the last that of the first
            (Ding et al. 2021), or its own.
        write_to_next_write: Whether the memory is also added to the vectors that the next is written into.
        next_write_gradient: Whether gradients go back through this sum.
        read_first_memory: Whether the first segment, before which nothing was written, reads memory as well.
        null_key: Whether a learned key can be attended to in place of everything.
        null_after_cache: Where the null key stands among the rotary positions. The package gives the first
            cached key the position of the null key, and each other the position of the one before; true
            reproduces this.
        value_residual: Whether the values of later layers are mixed with those of the first (Zhou et al.
            2024).
        residual_streams: How many there are; more than one are joined by hyper-connections (Zhu et al. 2024).
    """

    stepwise: ClassVar[bool] = False

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

    @property
    def width_inside(self) -> int:
        """Width of the gated feed-forward part, given or by default."""
        return self.hidden_size * 8 // 3 if self.inner_size is None else self.inner_size

    @property
    def reads_ahead(self) -> bool:
        """See `CoreSettings.reads_ahead`."""
        return not self.causal

    @property
    def longest_segment(self) -> int | None:
        """See `CoreSettings.longest_segment`; each absolute position is learned."""
        return self.segment_length if self.absolute_positions else None

    def free_in_evaluation(self) -> frozenset[str]:
        """See `CoreSettings.free_in_evaluation`."""
        fixed = {"kind", "hidden_size", "layers", "memory_tokens", "heads", "head_size", "inner_size"}
        fixed |= {"memory_at_end", "absolute_positions", "null_key", "value_residual", "residual_streams"}
        if self.absolute_positions:
            fixed.add("segment_length")
        return frozenset(type(self).model_fields) - fixed

    @model_validator(mode="after")
    def _absolute_positions_need_a_length(self) -> Self:
        if self.absolute_positions and self.segment_length is None:
            raise ValueError(
                "absolute_positions need a segment_length; set it, or absolute_positions to false"
            )
        return self

    @model_validator(mode="after")
    def _rotary_units_come_in_pairs(self) -> Self:
        if self.rotary_positions and self.head_size % 2:
            raise ValueError(
                f"rotary_positions turn pairs of units, and head_size {self.head_size} is odd; make it even"
            )
        return self

    @model_validator(mode="after")
    def _half_of_the_units_are_shifted(self) -> Self:
        if self.token_shift and self.hidden_size < 2:
            raise ValueError(
                "token_shift takes half of the units from the token before; set hidden_size to 2 or more"
            )
        return self
