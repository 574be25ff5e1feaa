"""Transformer-XL: relative attention over a segment and a cache of what came before it."""

import math
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn
from torch.nn import functional

from rmem_cli.models.cores.associative_memory import OpenMemory
from rmem_cli.models.cores.base import Core
from rmem_cli.models.cores.position_encodings import (
    Extent,
    LayerPositions,
    build_positions,
)
from rmem_cli.models.cores.segment_cache import Cached, SegmentCache
from rmem_cli.models.cores.transformer_config import TransformerSettings, TransformerXLSettings
from rmem_cli.models.state import State
from rmem_cli.ops.attention import dispatch, masks
from rmem_cli.ops.attention.masks import Layout, Rules
from rmem_cli.ops.autocast import single_precision
from rmem_cli.ops.feed_forward import fast as feed_forward
from rmem_cli.ops.product.dispatch import Linear, linear


class TransformerXL(Core):
    """Transformer-XL: attention by content and relative distance over the segment and a cache.

    Each layer sees its own inputs of the last `cache_length` positions, without gradient. With
    `cache_length=0` it is a plain decoder. `rmem_cli/ops/attention/README.md` has the equations.

    Args:
        input_size: Width of the inputs; where it differs from the hidden size, a linear map comes first.
        settings: All options.

    Source: Dai et al. 2019. Options and defaults are those of the published code (kimiyoung/transformer-xl),
    whose time-first layout is batch first here, and whose caches here keep their rows apart, so that each row
    can start afresh or end early.

    Example:
        >>> core = TransformerXL(32, TransformerXLSettings(hidden_size=32, heads=4, cache_length=10))
        >>> y, state = core(torch.randn(4, 10, 32))
        >>> y, state = core(torch.randn(4, 10, 32), state)
    """

    stepwise = False

    def __init__(self, input_size: int, settings: TransformerXLSettings) -> None:
        super().__init__()
        cache_length, segment_length = settings.cache_length, settings.segment_length
        self.input_size = input_size
        self.output_size = settings.hidden_size
        self.segment_length = segment_length
        self.rules = Rules(window=cache_length if settings.same_length else None)
        self.inputs = ScaledInputs(input_size, settings)
        longest = None if segment_length is None else Extent(cache_length, segment_length, 0)
        self.stack = TransformerXLStack(settings, longest)
        self.cache = SegmentCache(settings.layers, cache_length, (settings.hidden_size,))

    def initial_state(
        self, batch: int, *, device: torch.device | None = None, dtype: torch.dtype | None = None
    ) -> State:
        """An empty cache."""
        return self.cache.initial(batch, *self.parameter_options(device, dtype))

    def forward(
        self, x: Tensor, state: State | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """Read one segment; see `Core.forward`."""
        if state is not None:
            self.check_state(state, x.shape[0])
        if lengths is not None:
            lengths = lengths.to(x.device)
        cached = self.cache.read(state)
        layout = Layout(x.shape[1], cache=cached.width)
        mask = masks.attention_mask(layout, self.rules, x.device, cached=cached.counts)
        y, layer_inputs = self.stack(self.inputs(x), cached, mask)
        return y, self.cache.write(state, layer_inputs, lengths)

    def constant_weights(self) -> AbstractContextManager[None]:
        """What is known of positions is computed once; see `Core.constant_weights`."""
        return self.stack.positions.shared()

    def op_paths(self) -> dict[str, str]:
        """The form of the attention."""
        return {"attention": self.stack.attention_form()}


class ScaledInputs(nn.Module):
    """What a core's inputs are to its first layer: `[..., input]` to `[..., hidden]`.

    Args:
        input_size: Width of the inputs; where it differs from the hidden size, a linear map comes first.
        settings: Of the core.
    """

    def __init__(self, input_size: int, settings: TransformerSettings) -> None:
        super().__init__()
        self.factor = math.sqrt(settings.hidden_size) if settings.scale_inputs else 1.0
        self.projection = None
        if input_size != settings.hidden_size:
            self.projection = Linear(input_size, settings.hidden_size, bias=False)
            nn.init.normal_(self.projection.weight, std=settings.initial_std)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        if self.projection is not None:
            x = self.projection(x)
        x = single_precision(x)
        return x if self.factor == 1 else x * self.factor


class TransformerXLStack(nn.Module):
    """The layers of a Transformer-XL, with what they know of positions.

    Args:
        settings: Of the core.
        longest: The most places that there can be; None: unknown.
        published_shift: Whether scores of later keys (only in the memory blocks) are what the published
            code's shift leaves there, or belong to their distance.
    """

    def __init__(
        self, settings: TransformerSettings, longest: Extent | None, *, published_shift: bool = False
    ) -> None:
        super().__init__()
        self.settings = settings
        self.published_shift = published_shift
        self.positions = build_positions(settings, longest, published_shift)
        self.layers = nn.ModuleList(_Layer(settings, published_shift) for _ in range(settings.layers))
        for name, parameter in self.named_parameters():
            _initialize(name, parameter, settings.initial_std)

    def forward(
        self,
        x: Tensor,
        cached: Cached,
        mask: Tensor,
        later: int = 0,
        memory: OpenMemory | None = None,
    ) -> tuple[Tensor, list[Tensor]]:
        """Run the layers.

        Args:
            x: `[batch, places, hidden]`.
            cached: What each layer sees of earlier segments.
            mask: `[places, cached + places]`, or with the batch in front: who does not see whom.
            later: How far behind its query a key may lie that is not masked.
            memory: What each layer reads first, and writes into; None: nothing.

        Returns:
            `[batch, places, hidden]`, and the inputs of each layer in the same shape.
        """
        dropout = self.settings.dropout
        positions = self.positions(Extent(cached.width, x.shape[1], later), x)
        hidden = functional.dropout(x, dropout, self.training)
        inputs = []
        for index, layer in enumerate(self.layers):
            if memory is not None:
                hidden = memory.read(index, hidden)
            inputs.append(hidden)
            cache = cached.layers[index] if cached.width else None
            hidden = layer(hidden, cache, positions[index], mask)
            if memory is not None:
                memory.write(index, hidden)
        return functional.dropout(hidden, dropout, self.training), inputs

    def attention_form(self) -> str:
        """The form in which the attention of a training step runs."""
        relative = self.settings.position_encoding in ("relative_sinusoid", "relative_learned")
        if not relative or self.published_shift or self.settings.attention_dropout:
            return "fast"
        return dispatch.form(next(self.parameters()))


class _Layer(nn.Module):
    def __init__(self, settings: TransformerSettings, published_shift: bool) -> None:
        super().__init__()
        size, width = settings.hidden_size, settings.heads * settings.width_of_head
        inner = settings.width_inside
        self.settings = settings
        self.published_shift = published_shift
        self.queries_keys_values = Linear(size, 3 * width, bias=False)
        self.attention_output = Linear(width, size, bias=False)
        self.attention_norm = nn.LayerNorm(size)
        self.inner = Linear(size, inner)
        self.outer = Linear(inner, size)
        self.feed_forward_norm = nn.LayerNorm(size)

    def forward(self, x: Tensor, cache: Tensor | None, positions: LayerPositions, mask: Tensor) -> Tensor:
        if positions.places is not None:
            width = len(positions.places) - x.shape[1]
            x = x + positions.places[width:]
            cache = None if cache is None else cache + positions.places[:width]
        if self.settings.pre_norm:
            cache = None if cache is None else self.attention_norm(cache)
            x = x + self._attend(self.attention_norm(x), cache, positions, mask)
            return x + self._feed_forward(self.feed_forward_norm(x))
        x = self.attention_norm(x + self._attend(x, cache, positions, mask))
        normed: Tensor = self.feed_forward_norm(x + self._feed_forward(x))
        return normed

    def _attend(self, x: Tensor, cache: Tensor | None, positions: LayerPositions, mask: Tensor) -> Tensor:
        projected, cached = self.queries_keys_values(x), None
        if cache is not None:
            weight = self.queries_keys_values.weight
            cached = linear(cache, weight[weight.shape[0] // 3 :])
        dropout = self.settings.attention_dropout if self.training else 0.0
        if positions.relative is None:
            attended = dispatch.attention(projected, cached, self.settings.heads, mask, dropout)
        else:
            attended = dispatch.relative_attention(
                projected, cached, *positions.relative, mask, dropout, self.published_shift
            )
        return functional.dropout(self.attention_output(attended), self.settings.dropout, self.training)

    def _feed_forward(self, x: Tensor) -> Tensor:
        dropout = self.settings.dropout if self.training else 0.0
        inner, outer = self.inner, self.outer
        y = feed_forward.relu(x, inner.weight, inner.bias, outer.weight, outer.bias, dropout)
        return functional.dropout(y, dropout)


def _initialize(name: str, parameter: nn.Parameter, std: float) -> None:
    """As the published code does: all normal, layer norm gains around one, biases of maps and norms zero."""
    if name.endswith("norm.weight"):
        nn.init.normal_(parameter, mean=1.0, std=std)
    elif name.endswith(".bias"):
        nn.init.zeros_(parameter)
    else:
        nn.init.normal_(parameter, std=std)
