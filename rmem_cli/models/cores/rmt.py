"""The Recurrent Memory Transformer on Transformer-XL."""

from typing import Literal

import torch
from torch import Tensor, nn

from rmem_cli.models.cores import memory_layout
from rmem_cli.models.cores.base import Core
from rmem_cli.models.cores.config import RMTSettings
from rmem_cli.models.cores.memory_layout import Parts
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
        memory_initializer: Whether the memory tokens of the first segment start as `independent` normal
            vectors or as one `shared` by all, as in the published code.
        memory_std: Standard deviation of these vectors.

    Raises:
        ValueError: The heads do not share the hidden size evenly, or `same_length` without a cache.

    Source: Bulatov et al. 2022, section 3, and its published code (booydar/LM-RMT), which `cache_memory`,
    `published_shift` and `memory_initializer="shared"` reproduce to the last digit.

    Example:
        >>> core = RMT(32, 32, memory_tokens=4, layers=2, heads=4)
        >>> y, state = core(torch.randn(4, 10, 32))
        >>> y, state = core(torch.randn(4, 10, 32), state)
        >>> state["memory"].shape
        torch.Size([4, 4, 32])
    """

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
        pre_norm: bool = False,
        scale_inputs: bool = True,
        initial_std: float = 0.02,
        memory_at_end: bool = True,
        read_memory_from_cache: bool = False,
        causal: bool = True,
        causal_memory: bool = False,
        cache_memory: bool = False,
        published_shift: bool = False,
        memory_initializer: Literal["independent", "shared"] = "independent",
        memory_std: float = 1.0,
    ) -> None:
        super().__init__()
        if same_length and cache_length == 0:
            raise ValueError("same_length needs a cache_length above 0, which says how long")
        self.input_size = input_size
        self.output_size = hidden_size
        self.segment_length = segment_length
        self.causal = causal
        self.memory_tokens = memory_tokens
        self.memory_at_end = memory_at_end
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
            published_shift=published_shift,
            initial_std=initial_std,
        )
        self.inputs = ScaledInputs(input_size, hidden_size, scale_inputs, initial_std)
        self.stack = TransformerXLStack(design)
        self.cache = SegmentCache(layers, cache_length, (hidden_size,))
        first = memory_std * torch.randn(1 if memory_initializer == "shared" else memory_tokens, hidden_size)
        self.memory = nn.Parameter(first.expand(memory_tokens, -1).clone())

    @classmethod
    def from_settings(cls, settings: RMTSettings, input_size: int) -> "RMT":
        """The core that a recipe describes."""
        fields = {name: getattr(settings, name) for name in type(settings).model_fields if name != "kind"}
        return cls(input_size, **fields)

    def initial_state(
        self, batch: int, *, device: torch.device | None = None, dtype: torch.dtype | None = None
    ) -> State:
        """`memory`, the learned first memory, and an empty cache."""
        device, dtype = self.parameter_options(device, dtype)
        memory = self.memory.to(device, dtype).expand(batch, -1, -1)
        return {MEMORY: memory, **self.cache.initial(batch, device, dtype)}

    def forward(
        self, x: Tensor, state: State | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """Read one segment; see `Core.forward`."""
        if lengths is not None:
            lengths = lengths.to(x.device)
        memory = self.memory.expand(x.shape[0], -1, -1) if state is None else state[MEMORY]
        cached = self.cache.read(state)
        written = self.memory_tokens if self.memory_at_end else 0
        layout = Layout(x.shape[1], self.memory_tokens, written, cached.width)
        blocked = masks.blocked(layout, self.rules, x.device, lengths, cached.counts)
        parts = Parts(memory, self.inputs(x), memory[:, :written])
        sequence = memory_layout.join(parts, layout, lengths)
        hidden, layer_inputs = self.stack(sequence, cached, blocked, later=self._later(layout))
        after = memory_layout.take_apart(hidden, layout, lengths)
        new_memory = after.write if self.memory_at_end else after.read
        places, ends = memory_layout.to_cache(layout, self.cache_memory, lengths)
        cache = self.cache.write(state, [each[:, places] for each in layer_inputs], ends)
        new_memory = memory_layout.kept_without_tokens(new_memory, memory, lengths)
        return after.segment, {MEMORY: new_memory, **cache}

    def _later(self, layout: Layout) -> int:
        """How far behind its query a key may lie: only within a memory block, unless nothing is causal."""
        return self.memory_tokens - 1 if self.causal else layout.queries - 1

    def op_paths(self) -> dict[str, str]:
        """Attention runs in its fast form."""
        return {"attention": "fast"}
