"""The Recurrent Memory Transformer on a pre-norm transformer."""

import torch
from torch import Tensor, nn

from rmem_cli.models.cores import memory_layout
from rmem_cli.models.cores.base import Core
from rmem_cli.models.cores.config import PreNormRMTSettings
from rmem_cli.models.cores.memory_layout import Parts
from rmem_cli.models.cores.prenorm_transformer import (
    Design,
    KeysValues,
    PreNormStack,
    Surroundings,
    TokenShift,
)
from rmem_cli.models.cores.segment_cache import Cached, SegmentCache
from rmem_cli.models.state import MEMORY, State
from rmem_cli.ops.attention import masks
from rmem_cli.ops.attention.masks import Layout, Rules
from rmem_cli.ops.attention.positions import Turns, rotary_turns
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
        hidden_size: Width of the layers.
        memory_tokens: How many there are.
        layers: Number of layers.
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

    Raises:
        ValueError: Absolute positions without a segment length, or a segment that is longer.

    Source: Bulatov et al. 2022 and lucidrains/recurrent-memory-transformer-pytorch. The package's own masks,
    positions and memories are the defaults, except where the table says that it failed.

    Example:
        >>> core = PreNormRMT(32, 32, memory_tokens=4, layers=2, heads=4, head_size=8, segment_length=10)
        >>> y, state = core(torch.randn(4, 10, 32))
        >>> y, state = core(torch.randn(4, 10, 32), state)
    """

    stepwise = False

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        memory_tokens: int,
        layers: int = 1,
        heads: int = 8,
        head_size: int = 64,
        inner_size: int | None = None,
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
        segment_length: int | None = None,
        cache_length: int = 0,
        causal: bool = True,
        memory_at_end: bool = True,
        absolute_positions: bool = True,
        rotary_positions: bool = False,
        rotary_theta: float = 32768.0,
        token_shift: bool = False,
        embedding_gradient: float = 0.1,
        causal_memory: bool = False,
        memory_reads_cache: bool = True,
        cache_memory: bool = False,
        cache_from_above: bool = False,
        write_to_next_write: bool = False,
        next_write_gradient: bool = False,
        read_first_memory: bool = True,
        null_key: bool = True,
        null_after_cache: bool = False,
        value_residual: bool = True,
        residual_streams: int = 1,
    ) -> None:
        super().__init__()
        if absolute_positions and segment_length is None:
            raise ValueError("absolute positions need a segment_length; set absolute_positions to false")
        self.input_size = input_size
        self.output_size = hidden_size
        self.segment_length = segment_length
        self.causal = causal
        self.memory_tokens = memory_tokens
        self.memory_at_end = memory_at_end
        self.rotary_theta = rotary_theta if rotary_positions else None
        self.token_shift = token_shift
        self.embedding_gradient = embedding_gradient
        self.cache_memory = cache_memory
        self.cache_from_above = cache_from_above
        self.write_to_next_write = write_to_next_write
        self.next_write_gradient = next_write_gradient
        self.read_first_memory = read_first_memory
        self.rules = Rules(
            memory_reads_cache=memory_reads_cache, memory_is_causal=causal_memory, causal=causal
        )
        design = Design(
            hidden_size=hidden_size,
            layers=layers,
            heads=heads,
            head_size=head_size,
            inner_size=hidden_size * 8 // 3 if inner_size is None else inner_size,
            feed_forward_dropout=dropout,
            attention_dropout=attention_dropout,
            null_key=null_key,
            null_after_cache=null_after_cache,
            value_residual=value_residual,
            residual_streams=residual_streams,
        )
        self.projection = None
        if input_size != hidden_size:
            self.projection = Linear(input_size, hidden_size, bias=False)
        self.positions = None
        if absolute_positions and segment_length is not None:
            self.positions = nn.Parameter(torch.randn(segment_length, hidden_size))
        self.read_vectors = nn.Parameter(0.02 * torch.randn(memory_tokens, hidden_size))
        self.write_vectors = None
        if memory_at_end:
            self.write_vectors = nn.Parameter(0.02 * torch.randn(memory_tokens, hidden_size))
        self.stack = PreNormStack(design)
        self.cache = SegmentCache(layers, cache_length, (2, heads, head_size))

    @classmethod
    def from_settings(cls, settings: PreNormRMTSettings, input_size: int) -> "PreNormRMT":
        """The core that a recipe describes."""
        fields = {name: getattr(settings, name) for name in type(settings).model_fields if name != "kind"}
        return cls(input_size, **fields)

    def initial_state(
        self, batch: int, *, device: torch.device | None = None, dtype: torch.dtype | None = None
    ) -> State:
        """`memory` zero, an empty cache, and, where it matters, whether memory was `written`."""
        device, dtype = self.parameter_options(device, dtype)
        memory = torch.zeros(batch, self.memory_tokens, self.output_size, device=device, dtype=dtype)
        state = {MEMORY: memory, **self.cache.initial(batch, device, dtype)}
        if not self.read_first_memory:
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
        if not self.read_first_memory:
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
        share = self.embedding_gradient
        return x if share == 1 else x * share + x.detach() * (1 - share)

    def _write_into(self, memory: Tensor) -> Tensor:
        """What stands behind the segment."""
        if self.write_vectors is None:
            return memory[:, :0]
        if not self.write_to_next_write:
            return self.write_vectors.expand(memory.shape[0], -1, -1)
        return self.write_vectors + (memory if self.next_write_gradient else memory.detach())

    def _cached(self, state: State | None) -> Cached:
        cached = self.cache.read(state)
        if not self.cache_from_above:
            return cached
        return cached._replace(layers=cached.layers[1:] + cached.layers[:1])

    def _new_cache(
        self, state: State | None, keys_values: list[KeysValues], layout: Layout, lengths: Tensor | None
    ) -> State:
        if self.cache.length == 0:
            return {}
        places, ends = memory_layout.to_cache(layout, self.cache_memory, lengths)
        new = [torch.stack(each, dim=2)[:, places] for each in keys_values]
        if self.cache_memory and self.stack.design.null_key:
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
        blocked = masks.blocked(layout, self.rules, x.device, lengths, cached.counts)
        if not self.read_first_memory:
            blocked = blocked | self._unread(layout, state, x)
        number, is_token = memory_layout.tokens_of(layout, lengths, x.device)
        shift = TokenShift(is_token.unsqueeze(-1), (number == 0).unsqueeze(-1)) if self.token_shift else None
        turns = self._turns(number, is_token, cached, x) if self.rotary_theta is not None else None
        return Surroundings(self._with_null(blocked, layout), turns, shift)

    def _unread(self, layout: Layout, state: State | None, x: Tensor) -> Tensor:
        """Where memory that was never written would be read, `[batch, queries, keys]`."""
        written = self.initial_state(len(x), device=x.device)[WRITTEN] if state is None else state[WRITTEN]
        rows = torch.arange(layout.queries, device=x.device) >= layout.read
        columns = torch.arange(layout.keys, device=x.device) - layout.cache
        memory = (columns >= 0) & (columns < layout.read)
        return ~written[:, None, None] & rows[:, None] & memory

    def _with_null(self, blocked: Tensor, layout: Layout) -> Tensor:
        """The mask with a column for the null key, which everything sees."""
        design = self.stack.design
        if not design.null_key:
            return blocked
        place = layout.cache if design.null_after_cache else 0
        null = torch.zeros_like(blocked[..., :1])
        return torch.cat([blocked[..., :place], null, blocked[..., place:]], dim=-1)

    def _turns(self, number: Tensor, is_token: Tensor, cached: Cached, x: Tensor) -> tuple[Turns, Turns]:
        """The rotary positions of queries and keys."""
        design = self.stack.design
        missing = cached.missing(x.device)  # a row's positions count what it has cached, not what others have
        queries = torch.where(is_token, number + cached.width - missing + _FIRST_PLACE, 0)
        earlier = torch.arange(cached.width, device=x.device) - missing + _FIRST_PLACE
        null = torch.full_like(queries[..., :1], _FIRST_PLACE - 1)
        earlier = earlier.expand(*queries.shape[:-1], -1)
        if design.null_after_cache:
            earlier, null = earlier - 1, null + cached.width - missing
        order = [earlier, null] if design.null_after_cache else [null, earlier]
        keys = torch.cat([*(order if design.null_key else [earlier]), queries], dim=-1)
        size, theta = design.head_size, self.rotary_theta or 1.0
        return rotary_turns(queries, size, theta, x.dtype), rotary_turns(keys, size, theta, x.dtype)
