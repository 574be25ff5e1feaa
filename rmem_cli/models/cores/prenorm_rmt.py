"""The Recurrent Memory Transformer on a pre-norm transformer."""

import torch
from torch import Tensor, nn

from rmem_cli.models.cores import memory_layout
from rmem_cli.models.cores.base import Core
from rmem_cli.models.cores.memory_layout import Parts
from rmem_cli.models.cores.prenorm_transformer import (
    KeysValues,
    PreNormStack,
    Surroundings,
    TokenShift,
)
from rmem_cli.models.cores.segment_cache import Cached, SegmentCache
from rmem_cli.models.cores.transformer_config import PreNormRMTSettings
from rmem_cli.models.state import MEMORY, State
from rmem_cli.ops.attention import masks
from rmem_cli.ops.attention.masks import Layout, Rules
from rmem_cli.ops.attention.positions import RotaryAngles, rotary_angles
from rmem_cli.ops.autocast import single_precision
from rmem_cli.ops.product.dispatch import Linear

WRITTEN = "written"
# Rotary position of the first key of cache and segment; the null key comes just before, memories are at 0.
_FIRST_PLACE = 10_000


class PreNormRMT(Core):
    """The Recurrent Memory Transformer on a pre-norm transformer, in the form of the lucidrains package.

    What the segment reads is the memory that the last one wrote plus a learned vector for each place; what it
    writes into are learned vectors. The first memory is zero.

    | option | package (0.7.0 unless said otherwise) |
    |---|---|
    | `absolute_positions`, `rotary_positions` | `abs_pos_emb`, `rotary_pos_emb` |
    | `cache_length` | `xl_mem_len`, and 0 for `use_xl_memories=False` |
    | `cache_from_above` | `enhanced_xl_recurrence`, which had no effect |
    | `cache_memory`, `null_after_cache` | what it does: see below |
    | `embedding_gradient` | `emb_gradient_frac` |
    | `causal_memory` | `memory_not_causal=False`, which failed |
    | `write_to_next_write` | `add_write_to_next_write_mem` |
    | `next_write_gradient` | `next_write_mem_stop_grad=False` |
    | `read_first_memory` | `always_have_read_memories` |
    | `residual_streams` | `num_residual_streams` (there 4) |
    | `token_shift` | `token_shift` of older releases |
    | `null_key`, `value_residual`, `memory_reads_cache` | always on |

    Args:
        input_size: Width of the inputs; where it differs from the hidden size, a linear map comes first.
        settings: All options.

    Raises:
        ValueError: A segment is longer than `segment_length`, with absolute positions.

    Source: Bulatov et al. 2022 and lucidrains/recurrent-memory-transformer-pytorch. The package's own masks,
    positions and memories are the defaults, except where the table says that it failed.

    Example:
        >>> settings = PreNormRMTSettings(hidden_size=32, memory_tokens=4, heads=4, segment_length=10)
        >>> core = PreNormRMT(32, settings)
        >>> y, state = core(torch.randn(4, 10, 32))
        >>> y, state = core(torch.randn(4, 10, 32), state)
    """

    stepwise = False

    def __init__(self, input_size: int, settings: PreNormRMTSettings) -> None:
        super().__init__()
        tokens, size = settings.memory_tokens, settings.hidden_size
        self.settings = settings
        self.input_size = input_size
        self.output_size = size
        self.segment_length = settings.segment_length
        self.causal = settings.causal
        self.memory_tokens = tokens
        self.rules = Rules(
            memory_reads_cache=settings.memory_reads_cache,
            memory_is_causal=settings.causal_memory,
            causal=settings.causal,
        )
        self.projection = None if input_size == size else Linear(input_size, size, bias=False)
        self.positions = None
        if settings.absolute_positions and settings.segment_length is not None:
            self.positions = nn.Parameter(torch.randn(settings.segment_length, size))
        self.read_vectors = nn.Parameter(0.02 * torch.randn(tokens, size))
        self.write_vectors = None
        if settings.memory_at_end:
            self.write_vectors = nn.Parameter(0.02 * torch.randn(tokens, size))
        self.stack = PreNormStack(settings)
        self.cache = SegmentCache(
            settings.layers, settings.cache_length, (2, settings.heads, settings.head_size)
        )

    def initial_state(
        self, batch: int, *, device: torch.device | None = None, dtype: torch.dtype | None = None
    ) -> State:
        """`memory` zero, an empty cache, and, where it matters, whether memory was `written`."""
        device, dtype = self.parameter_options(device, dtype)
        memory = torch.zeros(batch, self.memory_tokens, self.output_size, device=device, dtype=dtype)
        state = {MEMORY: memory, **self.cache.initial(batch, device, dtype)}
        if not self.settings.read_first_memory:
            state[WRITTEN] = torch.zeros(batch, dtype=torch.bool, device=device)
        return state

    def forward(
        self, x: Tensor, state: State | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """Read one segment; see `Core.forward`."""
        if state is None:
            memory = x.new_zeros(x.shape[0], self.memory_tokens, self.output_size)
        else:
            self.check_state(state, x.shape[0])
            memory = state[MEMORY]
        if lengths is not None:
            lengths = lengths.to(x.device)
        cached = self._cached(state)
        written = 0 if self.write_vectors is None else self.memory_tokens
        layout = Layout(x.shape[1], self.memory_tokens, written, cached.width)
        parts = Parts(memory + self.read_vectors, self._embedded(x), self._write_into(memory))
        sequence = memory_layout.join(parts, layout, lengths)
        surroundings = self._surroundings(layout, lengths, cached, state, x)
        hidden, keys_values = self.stack(sequence, cached, surroundings, keep=self.cache.length > 0)
        after = memory_layout.take_apart(hidden, layout, lengths)
        new_memory = after.read if self.write_vectors is None else after.write
        new_memory = memory_layout.kept_without_tokens(new_memory, memory, lengths)
        new_state = {MEMORY: new_memory, **self._new_cache(state, keys_values, layout, lengths)}
        if not self.settings.read_first_memory:
            new_state[WRITTEN] = self._written(state, lengths, x)
        return after.segment, new_state

    def op_paths(self) -> dict[str, str]:
        """Attention runs in its fast form."""
        return {"attention": "fast"}

    def _embedded(self, x: Tensor) -> Tensor:
        if self.projection is not None:
            x = self.projection(x)
        x = single_precision(x)
        if self.positions is not None:
            if x.shape[1] > len(self.positions):
                raise ValueError(f"a segment of {x.shape[1]} steps; segment_length is {len(self.positions)}")
            x = x + self.positions[: x.shape[1]]
        share = self.settings.embedding_gradient
        return x if share == 1 else x * share + x.detach() * (1 - share)

    def _write_into(self, memory: Tensor) -> Tensor:
        """What stands behind the segment."""
        if self.write_vectors is None:
            return memory[:, :0]
        if not self.settings.write_to_next_write:
            return self.write_vectors.expand(memory.shape[0], -1, -1)
        return self.write_vectors + (memory if self.settings.next_write_gradient else memory.detach())

    def _cached(self, state: State | None) -> Cached:
        cached = self.cache.read(state)
        if not self.settings.cache_from_above:
            return cached
        return cached._replace(layers=cached.layers[1:] + cached.layers[:1])

    def _new_cache(
        self, state: State | None, keys_values: list[KeysValues], layout: Layout, lengths: Tensor | None
    ) -> State:
        if self.cache.length == 0:
            return {}
        places, ends = memory_layout.to_cache(layout, self.settings.cache_memory, lengths)
        new = [torch.stack(each, dim=2)[:, places] for each in keys_values]
        if self.settings.cache_memory and self.settings.null_key:
            new = self.stack.with_null(new)
            ends = None if ends is None else torch.where(ends > 0, ends + 1, 0)
        return self.cache.write(state, new, ends)

    def _written(self, state: State | None, lengths: Tensor | None, x: Tensor) -> Tensor:
        """Which rows have written a memory, `[batch]`."""
        before = torch.zeros(len(x), dtype=torch.bool, device=x.device) if state is None else state[WRITTEN]
        return memory_layout.kept_without_tokens(torch.ones_like(before), before, lengths)

    def _surroundings(
        self, layout: Layout, lengths: Tensor | None, cached: Cached, state: State | None, x: Tensor
    ) -> Surroundings:
        mask = masks.attention_mask(layout, self.rules, x.device, lengths, cached.counts)
        if not self.settings.read_first_memory:
            mask = mask | self._unread(layout, state, x)
        number, is_token = memory_layout.tokens_of(layout, lengths, x.device)
        shift = rotary = None
        if self.settings.token_shift:
            shift = TokenShift(is_token.unsqueeze(-1), (number == 0).unsqueeze(-1))
        if self.settings.rotary_positions:
            rotary = self._rotary_angles(number, is_token, cached, x)
        return Surroundings(self._with_null(mask, layout), rotary, shift)

    def _unread(self, layout: Layout, state: State | None, x: Tensor) -> Tensor:
        """Where memory that was never written would be read, `[batch, queries, keys]`."""
        state = self.initial_state(len(x), device=x.device, dtype=x.dtype) if state is None else state
        rows = torch.arange(layout.queries, device=x.device) >= layout.read
        columns = torch.arange(layout.keys, device=x.device) - layout.cache
        memory = (columns >= 0) & (columns < layout.read)
        return ~state[WRITTEN][:, None, None] & rows[:, None] & memory

    def _with_null(self, mask: Tensor, layout: Layout) -> Tensor:
        """The mask with a column for the null key, which everything sees."""
        settings = self.settings
        if not settings.null_key:
            return mask
        place = layout.cache if settings.null_after_cache else 0
        null = torch.zeros_like(mask[..., :1])
        return torch.cat([mask[..., :place], null, mask[..., place:]], dim=-1)

    def _rotary_angles(
        self, number: Tensor, is_token: Tensor, cached: Cached, x: Tensor
    ) -> tuple[RotaryAngles, RotaryAngles]:
        """The rotary positions of queries and keys."""
        settings = self.settings
        missing = cached.missing(x.device)  # a row's positions count what it has cached, not what others have
        queries = torch.where(is_token, number + cached.width - missing + _FIRST_PLACE, 0)
        earlier = torch.arange(cached.width, device=x.device) - missing + _FIRST_PLACE
        null = torch.full_like(queries[..., :1], _FIRST_PLACE - 1)
        earlier = earlier.expand(*queries.shape[:-1], -1)
        if settings.null_after_cache:
            earlier, null = earlier - 1, null + cached.width - missing
        order = [earlier, null] if settings.null_after_cache else [null, earlier]
        keys = torch.cat([*(order if settings.null_key else [earlier]), queries], dim=-1)
        size, theta = settings.head_size, settings.rotary_theta
        return rotary_angles(queries, size, theta, x.dtype), rotary_angles(keys, size, theta, x.dtype)
