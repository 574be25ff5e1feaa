"""Transformer-XL: relative attention over a segment and a cache of what came before it."""

import math
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from rmem_cli.models.cores.associative_memory import OpenMemory
from rmem_cli.models.cores.base import Core
from rmem_cli.models.cores.config import PositionEncoding, TransformerXLSettings
from rmem_cli.models.cores.position_encodings import (
    Extent,
    Form,
    LayerPositions,
    build_positions,
)
from rmem_cli.models.cores.segment_cache import Cached, SegmentCache
from rmem_cli.models.state import State
from rmem_cli.ops.attention import dispatch, masks
from rmem_cli.ops.attention.masks import Layout, Rules
from rmem_cli.ops.autocast import single_precision
from rmem_cli.ops.feed_forward import fast as feed_forward
from rmem_cli.ops.product.dispatch import Linear, linear


@dataclass(frozen=True)
class Design:
    """The form of a Transformer-XL.

    Attributes:
        hidden_size: Width of the layers.
        layers: How many there are.
        heads: Attention heads.
        head_size: Width of each; None shares the hidden size among them.
        inner_size: Width between the two maps of a feed-forward part; None for four times the hidden size.
        dropout: Probability of dropping a unit of the inputs, the position features, what attention and
            feed-forward parts give, inside of the latter, and of the outputs, in training.
        attention_dropout: Probability of dropping an attention probability, in training.
        clamp_length: Distances beyond this one count as this one; None for no bound.
        pre_norm: Whether layer norm comes before attention and feed-forward part, or after the sum.
        position_encoding: How the order of what is seen is known.
        longest: The most places that there can be; None: unknown.
        published_shift: Whether scores of later keys (only in the memory blocks) are what the published
            code's shift leaves there, or belong to their distance.
        initial_std: Standard deviation of the first weights.
    """

    hidden_size: int
    layers: int = 1
    heads: int = 1
    head_size: int | None = None
    inner_size: int | None = None
    dropout: float = 0.0
    attention_dropout: float = 0.0
    clamp_length: int | None = None
    pre_norm: bool = False
    position_encoding: PositionEncoding = "relative_sinusoid"
    longest: Extent | None = None
    published_shift: bool = False
    initial_std: float = 0.02

    @property
    def size_of_a_head(self) -> int:
        """Width of each head."""
        if self.head_size is not None:
            return self.head_size
        if self.hidden_size % self.heads:
            raise ValueError(
                f"hidden_size {self.hidden_size} cannot be shared among {self.heads} heads; set head_size"
            )
        return self.hidden_size // self.heads

    @property
    def form(self) -> Form:
        """What the position encoding needs to know."""
        return Form(
            self.layers,
            self.hidden_size,
            self.heads,
            self.size_of_a_head,
            self.clamp_length,
            self.published_shift,
            self.dropout,
            self.longest,
        )


class TransformerXL(Core):
    """Transformer-XL: attention by content and relative distance over the segment and a cache.

    Each layer sees its own inputs of the last `cache_length` positions, without gradient. With
    `cache_length=0` it is a plain decoder. `rmem_cli/ops/attention/README.md` has the equations.

    Args:
        input_size: Width of the inputs; where it differs from the hidden size, a linear map comes first.
        hidden_size: Width of the layers.
        layers: Number of layers.
        heads: Attention heads.
        head_size: Width of each; None shares the hidden size among them.
        inner_size: Width between the two maps of a feed-forward part; None for four times the hidden size.
        dropout: Probability of dropping a unit, in training, in all the places where the published code does.
        attention_dropout: Probability of dropping an attention probability, in training.
        segment_length: Steps of one segment; None takes any number.
        cache_length: Positions that are cached.
        same_length: Whether every position sees as many keys as the cache is long, itself included.
        clamp_length: Distances beyond this one count as this one; None for no bound.
        position_encoding: The published code's `attn_type` 0 to 3: `relative_sinusoid` (Dai et al. 2019),
            `relative_learned` (after Shaw et al. 2018), `absolute_sinusoid` (Vaswani et al. 2017) or
            `absolute_learned` (Al-Rfou et al. 2019). All but the first need a `segment_length`.
        pre_norm: Whether layer norm comes before attention and feed-forward part, or after the sum.
        scale_inputs: Whether the inputs are multiplied by the root of the hidden size.
        initial_std: Standard deviation of the first weights.

    Raises:
        ValueError: The heads do not share the hidden size evenly, `same_length` without a cache, or a
            position encoding without a segment length.

    Source: Dai et al. 2019. Options and defaults are those of the published code (kimiyoung/transformer-xl),
    whose time-first layout is batch first here, and whose caches here keep their rows apart, so that each row
    can start afresh or end early.

    Example:
        >>> core = TransformerXL(32, 32, layers=2, heads=4, cache_length=10)
        >>> y, state = core(torch.randn(4, 10, 32))
        >>> y, state = core(torch.randn(4, 10, 32), state)
    """

    stepwise = False

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
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
    ) -> None:
        super().__init__()
        if same_length and cache_length == 0:
            raise ValueError("same_length needs a cache_length above 0, which says how long")
        self.input_size = input_size
        self.output_size = hidden_size
        self.segment_length = segment_length
        self.rules = Rules(window=cache_length if same_length else None)
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
            longest=None if segment_length is None else Extent(cache_length, segment_length, 0),
            initial_std=initial_std,
        )
        self.inputs = ScaledInputs(input_size, hidden_size, scale_inputs, initial_std)
        self.stack = TransformerXLStack(design)
        self.cache = SegmentCache(layers, cache_length, (hidden_size,))

    @classmethod
    def from_settings(cls, settings: TransformerXLSettings, input_size: int) -> "TransformerXL":
        """The core that a recipe describes."""
        fields = {name: getattr(settings, name) for name in type(settings).model_fields if name != "kind"}
        return cls(input_size, **fields)

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
        blocked = masks.blocked(layout, self.rules, x.device, cached=cached.counts)
        y, layer_inputs = self.stack(self.inputs(x), cached, blocked)
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
        hidden_size: Width of the first layer.
        scale: Whether they are multiplied by the root of the hidden size.
        initial_std: Standard deviation of the first weights of the linear map.
    """

    def __init__(self, input_size: int, hidden_size: int, scale: bool, initial_std: float) -> None:
        super().__init__()
        self.factor = math.sqrt(hidden_size) if scale else 1.0
        self.projection = None
        if input_size != hidden_size:
            self.projection = Linear(input_size, hidden_size, bias=False)
            nn.init.normal_(self.projection.weight, std=initial_std)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        if self.projection is not None:
            x = self.projection(x)
        x = single_precision(x)
        return x if self.factor == 1 else x * self.factor


class TransformerXLStack(nn.Module):
    """The layers of a Transformer-XL, with what they know of positions.

    Args:
        design: Their form.
    """

    def __init__(self, design: Design) -> None:
        super().__init__()
        self.design = design
        self.positions = build_positions(design.position_encoding, design.form)
        self.layers = nn.ModuleList(_Layer(design) for _ in range(design.layers))
        for name, parameter in self.named_parameters():
            _initialize(name, parameter, design.initial_std)

    def forward(
        self,
        x: Tensor,
        cached: Cached,
        blocked: Tensor,
        later: int = 0,
        memory: OpenMemory | None = None,
    ) -> tuple[Tensor, list[Tensor]]:
        """Run the layers.

        Args:
            x: `[batch, places, hidden]`.
            cached: What each layer sees of earlier segments.
            blocked: `[places, cached + places]`, or with the batch in front: who does not see whom.
            later: How far behind its query a key may lie that is not blocked.
            memory: What each layer reads first, and writes into; None: nothing.

        Returns:
            `[batch, places, hidden]`, and the inputs of each layer in the same shape.
        """
        dropout = self.design.dropout
        positions = self.positions(Extent(cached.width, x.shape[1], later), x)
        hidden = functional.dropout(x, dropout, self.training)
        inputs = []
        for index, layer in enumerate(self.layers):
            if memory is not None:
                hidden = memory.read(index, hidden)
            inputs.append(hidden)
            cache = cached.layers[index] if cached.width else None
            hidden = layer(hidden, cache, positions[index], blocked)
            if memory is not None:
                memory.write(index, hidden)
        return functional.dropout(hidden, dropout, self.training), inputs

    def attention_form(self) -> str:
        """The form in which the attention of a training step runs."""
        design = self.design
        relative = design.position_encoding in ("relative_sinusoid", "relative_learned")
        if not relative or design.published_shift or design.attention_dropout:
            return "fast"
        return dispatch.form(next(self.parameters()))


class _Layer(nn.Module):
    def __init__(self, design: Design) -> None:
        super().__init__()
        size, width = design.hidden_size, design.heads * design.size_of_a_head
        inner = 4 * size if design.inner_size is None else design.inner_size
        self.design = design
        self.queries_keys_values = Linear(size, 3 * width, bias=False)
        self.attention_output = Linear(width, size, bias=False)
        self.attention_norm = nn.LayerNorm(size)
        self.inner = Linear(size, inner)
        self.outer = Linear(inner, size)
        self.feed_forward_norm = nn.LayerNorm(size)

    def forward(self, x: Tensor, cache: Tensor | None, positions: LayerPositions, blocked: Tensor) -> Tensor:
        if positions.places is not None:
            width = len(positions.places) - x.shape[1]
            x = x + positions.places[width:]
            cache = None if cache is None else cache + positions.places[:width]
        if self.design.pre_norm:
            cache = None if cache is None else self.attention_norm(cache)
            x = x + self._attend(self.attention_norm(x), cache, positions, blocked)
            return x + self._feed_forward(self.feed_forward_norm(x))
        x = self.attention_norm(x + self._attend(x, cache, positions, blocked))
        normed: Tensor = self.feed_forward_norm(x + self._feed_forward(x))
        return normed

    def _attend(self, x: Tensor, cache: Tensor | None, positions: LayerPositions, blocked: Tensor) -> Tensor:
        projected, cached = self.queries_keys_values(x), None
        if cache is not None:
            weight = self.queries_keys_values.weight
            cached = linear(cache, weight[weight.shape[0] // 3 :])
        dropout = self.design.attention_dropout if self.training else 0.0
        if positions.relative is None:
            attended = dispatch.attention(projected, cached, self.design.heads, blocked, dropout)
        else:
            attended = dispatch.relative_attention(
                projected, cached, *positions.relative, blocked, dropout, self.design.published_shift
            )
        return functional.dropout(self.attention_output(attended), self.design.dropout, self.training)

    def _feed_forward(self, x: Tensor) -> Tensor:
        dropout = self.design.dropout if self.training else 0.0
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
