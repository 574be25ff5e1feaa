"""The Recurrent Memory Transformer on Transformer-XL."""

from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn

from rmem_cli.models.cores import memory_layout
from rmem_cli.models.cores.associative_memory import AssociativeMemory, OpenMemory
from rmem_cli.models.cores.base import Core
from rmem_cli.models.cores.memory_layout import Parts
from rmem_cli.models.cores.position_encodings import Extent
from rmem_cli.models.cores.segment_cache import SegmentCache
from rmem_cli.models.cores.transformer_config import RMTSettings
from rmem_cli.models.cores.transformer_xl import ScaledInputs, TransformerXLStack
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
        settings: All options.

    Source: Bulatov et al. 2022, section 3, and its published code (booydar/LM-RMT), which `cache_memory`,
    `published_shift` and `memory_initializer="shared"` reproduce to the last digit. Rodkin et al. 2024 for
    the associative memory, there around a pretrained transformer.

    Example:
        >>> core = RMT(32, RMTSettings(hidden_size=32, memory_tokens=4, layers=2, heads=4))
        >>> y, state = core(torch.randn(4, 10, 32))
        >>> y, state = core(torch.randn(4, 10, 32), state)
        >>> state["memory"].shape
        torch.Size([4, 4, 32])
    """

    stepwise = False

    def __init__(self, input_size: int, settings: RMTSettings) -> None:
        super().__init__()
        tokens, size = settings.memory_tokens, settings.hidden_size
        associative = settings.memory_kind == "associative"
        self.input_size = input_size
        self.output_size = size
        self.segment_length = settings.segment_length
        self.causal = settings.causal
        self.memory_tokens = tokens
        self.read_tokens = 0 if associative else tokens
        self.written_tokens = tokens if settings.memory_at_end else 0
        self.cache_memory = settings.cache_memory
        self.rules = Rules(
            window=settings.cache_length if settings.same_length else None,
            memory_reads_cache=settings.read_memory_from_cache,
            memory_is_causal=settings.causal_memory,
            causal=settings.causal,
        )
        self.inputs = ScaledInputs(input_size, settings)
        longest = None
        if settings.segment_length is not None:
            longest = self._extent(settings.segment_length, settings.cache_length)
        self.stack = TransformerXLStack(settings, longest, published_shift=settings.published_shift)
        self.cache = SegmentCache(settings.layers, settings.cache_length, (size,))
        independent = 1 if settings.memory_initializer == "shared" else tokens
        first = settings.memory_std * torch.randn(independent, size)
        self.memory = nn.Parameter(first.expand(tokens, -1).clone())
        self.associative = AssociativeMemory(settings) if associative else None

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
        mask = masks.attention_mask(layout, self.rules, x.device, lengths, cached.counts)
        parts = Parts(memory[:, : self.read_tokens], self.inputs(x), memory[:, : self.written_tokens])
        sequence = memory_layout.join(parts, layout, lengths)
        later = self._extent(x.shape[1], cached.width).later
        opened = self._opened(state, layout, lengths, x)
        hidden, layer_inputs = self.stack(sequence, cached, mask, later, opened)
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
