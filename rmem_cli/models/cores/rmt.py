"""The Recurrent Memory Transformer on Transformer-XL."""

from contextlib import AbstractContextManager
from typing import Literal

import torch
from torch import Tensor, nn

from rmem_cli.models.cores import memory_layout
from rmem_cli.models.cores.associative_memory import AssociativeDesign, AssociativeMemory, OpenMemory
from rmem_cli.models.cores.base import Core
from rmem_cli.models.cores.config import PositionEncoding, RMTSettings
from rmem_cli.models.cores.memory_layout import Parts
from rmem_cli.models.cores.position_encodings import Extent
from rmem_cli.models.cores.segment_cache import SegmentCache
from rmem_cli.models.cores.transformer_xl import Design, ScaledInputs, TransformerXLStack
from rmem_cli.models.state import MEMORY, State
from rmem_cli.ops.attention import masks
from rmem_cli.ops.attention.masks import Layout, Rules


class RMT(Core):
    """The Recurrent Memory Transformer: a Transformer-XL that writes memory tokens for its next segment.

    The memory `[batch, memory_tokens, hidden]` stands in front of each segment, where every token can read
    it, and once more behind, where it sees the whole segment. What the last layer makes of the copy behind is
    the memory of the next segment. Gradients flow through it.

    With `memory_kind="associative"` it is the Associative Recurrent Memory Transformer: the memory tokens
    stand behind each segment, always the same, and what each layer makes of them is stored in a matrix of
    that layer, which all places of later segments read.

    With `memory_tokens=0` it is a Transformer-XL; with a segment as long as the sequence, a Memory
    Transformer.

    Args:
        input_size: Width of the inputs; where it differs from the hidden size, a linear map comes first.
        hidden_size: Width of the layers.
        memory_tokens: How many there are.
        layers: Number of layers.
        heads: Attention heads.
        head_size: Width of each; None shares the hidden size among them.
        inner_size: Width between the two maps of a feed-forward part; None for four times the hidden size.
        dropout: Probability of dropping a unit, in training, in all the places where the published code does.
        attention_dropout: Probability of dropping an attention probability, in training.
        segment_length: Steps of one segment; None takes any number.
        cache_length: Positions of earlier segments that the layers see as well, without gradient.
        same_length: Whether each token sees as many keys of cache and segment as the cache is long. (In the
            published code, this option switches off all rules about memory.)
        clamp_length: Distances beyond this one count as this one; None for no bound.
        position_encoding: How the order of the places is known; see `TransformerXL`. Memory tokens have
            places like all others.
        pre_norm: Whether layer norm comes before attention and feed-forward part, or after the sum.
        scale_inputs: Whether the inputs, not the memory, are multiplied by the root of the hidden size.
        initial_std: Standard deviation of the first weights.
        memory_at_end: Whether memory is written behind the segment; without, what becomes of the read memory
            goes on. It sees the segment only if nothing is causal: the form for encoders.
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
        associative_correction: Whether writing under a key that is known adds less to the normalizer.
        memory_initializer: Whether the memory tokens of the first segment start as `independent` normal
            vectors or as one `shared` by all, as in the published code.
        memory_std: Standard deviation of these vectors.

    Raises:
        ValueError: The heads do not share the hidden size evenly, `same_length` without a cache, or a
            position encoding without a segment length; or an associative memory that nothing writes.

    Source: Bulatov et al. 2022, section 3, and its published code (booydar/LM-RMT), which `cache_memory`,
    `published_shift` and `memory_initializer="shared"` reproduce to the last digit. Rodkin et al. 2024 for
    the associative memory, there around a pretrained transformer.

    Example:
        >>> core = RMT(32, 32, memory_tokens=4, layers=2, heads=4)
        >>> y, state = core(torch.randn(4, 10, 32))
        >>> y, state = core(torch.randn(4, 10, 32), state)
        >>> state["memory"].shape
        torch.Size([4, 4, 32])
    """

    stepwise = False

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        memory_tokens: int,
        layers: int = 1,
        heads: int = 1,
        head_size: int | None = None,
        inner_size: int | None = None,
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
        segment_length: int | None = None,
        cache_length: int = 0,
        same_length: bool = False,
        clamp_length: int | None = None,
        position_encoding: PositionEncoding = "relative_sinusoid",
        pre_norm: bool = False,
        scale_inputs: bool = True,
        initial_std: float = 0.02,
        memory_at_end: bool = True,
        read_memory_from_cache: bool = False,
        causal: bool = True,
        causal_memory: bool = False,
        cache_memory: bool = False,
        published_shift: bool = False,
        memory_kind: Literal["recurrent", "associative"] = "recurrent",
        associative_size: int = 64,
        associative_order: int = 3,
        associative_correction: bool = True,
        memory_initializer: Literal["independent", "shared"] = "independent",
        memory_std: float = 1.0,
    ) -> None:
        super().__init__()
        if same_length and cache_length == 0:
            raise ValueError("same_length needs a cache_length above 0, which says how long")
        associative = memory_kind == "associative"
        if associative and not (memory_at_end and memory_tokens):
            raise ValueError("an associative memory is written by memory tokens, at least 1, at the end")
        self.input_size = input_size
        self.output_size = hidden_size
        self.segment_length = segment_length
        self.causal = causal
        self.memory_tokens = memory_tokens
        self.read_tokens = 0 if associative else memory_tokens
        self.written_tokens = memory_tokens if memory_at_end else 0
        self.cache_memory = cache_memory
        self.rules = Rules(
            window=cache_length if same_length else None,
            memory_reads_cache=read_memory_from_cache,
            memory_is_causal=causal_memory,
            causal=causal,
        )
        design = Design(
            hidden_size=hidden_size,
            layers=layers,
            heads=heads,
            head_size=head_size,
            inner_size=inner_size,
            dropout=dropout,
            attention_dropout=attention_dropout,
            clamp_length=clamp_length,
            pre_norm=pre_norm,
            position_encoding=position_encoding,
            longest=None if segment_length is None else self._extent(segment_length, cache_length),
            published_shift=published_shift,
            initial_std=initial_std,
        )
        self.inputs = ScaledInputs(input_size, hidden_size, scale_inputs, initial_std)
        self.stack = TransformerXLStack(design)
        self.cache = SegmentCache(layers, cache_length, (hidden_size,))
        first = memory_std * torch.randn(1 if memory_initializer == "shared" else memory_tokens, hidden_size)
        self.memory = nn.Parameter(first.expand(memory_tokens, -1).clone())
        self.associative = None
        if associative:
            self.associative = AssociativeMemory(
                AssociativeDesign(
                    layers, hidden_size, associative_size, associative_order, associative_correction
                )
            )

    @classmethod
    def from_settings(cls, settings: RMTSettings, input_size: int) -> "RMT":
        """The core that a recipe describes."""
        fields = {name: getattr(settings, name) for name in type(settings).model_fields if name != "kind"}
        return cls(input_size, **fields)

    def initial_state(
        self, batch: int, *, device: torch.device | None = None, dtype: torch.dtype | None = None
    ) -> State:
        """`memory`, the learned first memory, or an empty associative memory; and an empty cache."""
        device, dtype = self.parameter_options(device, dtype)
        cache = self.cache.initial(batch, device, dtype)
        if self.associative is not None:
            return {**self.associative.initial(batch, device, dtype), **cache}
        return {MEMORY: self.memory.to(device, dtype).expand(batch, -1, -1), **cache}

    def forward(
        self, x: Tensor, state: State | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """Read one segment; see `Core.forward`."""
        if state is not None:
            self.check_state(state, x.shape[0])
        if lengths is not None:
            lengths = lengths.to(x.device)
        memory = self._memory_before(state, x.shape[0])
        cached = self.cache.read(state)
        layout = Layout(x.shape[1], self.read_tokens, self.written_tokens, cached.width)
        blocked = masks.blocked(layout, self.rules, x.device, lengths, cached.counts)
        parts = Parts(memory[:, : self.read_tokens], self.inputs(x), memory[:, : self.written_tokens])
        sequence = memory_layout.join(parts, layout, lengths)
        later = self._extent(x.shape[1], cached.width).later
        opened = self._opened(state, layout, lengths, x)
        hidden, layer_inputs = self.stack(sequence, cached, blocked, later, opened)
        after = memory_layout.take_apart(hidden, layout, lengths)
        places, ends = memory_layout.to_cache(layout, self.cache_memory, lengths)
        cache = self.cache.write(state, [each[:, places] for each in layer_inputs], ends)
        if opened is not None:
            return after.segment, {**opened.after, **cache}
        new_memory = after.write if self.written_tokens else after.read
        new_memory = memory_layout.kept_without_tokens(new_memory, memory, lengths)
        return after.segment, {MEMORY: new_memory, **cache}

    def _memory_before(self, state: State | None, batch: int) -> Tensor:
        """Memory tokens before a segment, `[batch, memory_tokens, hidden]`."""
        if state is None or self.associative is not None:
            return self.memory.expand(batch, -1, -1)
        return state[MEMORY]

    def _opened(
        self, state: State | None, layout: Layout, lengths: Tensor | None, x: Tensor
    ) -> OpenMemory | None:
        """The associative memory, if there is one, for one segment."""
        if self.associative is None:
            return None
        before = self.associative.initial(len(x), x.device, x.dtype) if state is None else state
        return OpenMemory(self.associative, before, layout, lengths)

    def _extent(self, segment: int, cached: int) -> Extent:
        """The places of a segment; keys lie behind their query in memory blocks alone, if it is causal."""
        queries = segment + self.read_tokens + self.written_tokens
        block = max(self.read_tokens, self.written_tokens)
        return Extent(cached, queries, max(block - 1, 0) if self.causal else queries - 1)

    def constant_weights(self) -> AbstractContextManager[None]:
        """What is known of positions is computed once; see `Core.constant_weights`."""
        return self.stack.positions.shared()

    def op_paths(self) -> dict[str, str]:
        """The form of the attention, and of the associative memory if there is one."""
        attention = {"attention": self.stack.attention_form()}
        return attention if self.associative is None else {**attention, "associative_memory": "fast"}
