"""How the layers of a Transformer-XL know the order of what they see: the attention types of its code."""

from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from rmem_cli.models.cores.transformer_config import PositionEncoding, TransformerSettings
from rmem_cli.ops.attention.positions import distances_back, sinusoids
from rmem_cli.ops.product.dispatch import Linear


class Extent(NamedTuple):
    """The places of one segment.

    Attributes:
        cached: Cached places, in front.
        queries: Places that are computed.
        later: How far behind its query a key may lie that it sees.
    """

    cached: int
    queries: int
    later: int

    @property
    def keys(self) -> int:
        """Places that can be seen."""
        return self.cached + self.queries


class Relative(NamedTuple):
    """Arguments of `fast.relative_attention`, which explains them."""

    distances: Tensor
    content_bias: Tensor
    distance_bias: Tensor


class LayerPositions(NamedTuple):
    """What one layer is given.

    Attributes:
        places: `[keys, hidden]`, added to what the layer reads; None: nothing.
        relative: What its attention adds to the scores; None: nothing.
    """

    places: Tensor | None = None
    relative: Relative | None = None


class Positions(nn.Module):
    """An encoding, for all layers at once.

    Args:
        settings: Of the core.
        longest: The most places that there can be; None: unknown.
        published_shift: Whether scores of later keys are what the published code's shift leaves there.
    """

    def __init__(self, settings: TransformerSettings, longest: Extent | None, published_shift: bool) -> None:
        super().__init__()
        self.settings = settings
        self.longest = longest
        self.published_shift = published_shift
        self._shared: dict[tuple[object, ...], _Shared] | None = None

    @abstractmethod
    def of_layers(self, extent: Extent, like: Tensor) -> list[LayerPositions]:
        """What each layer is given, for a segment of this extent; dtype and device as those of `like`."""

    def forward(self, extent: Extent, like: Tensor) -> list[LayerPositions]:
        """`of_layers`, computed once for each extent within `shared`."""
        if self._shared is None:
            return self.of_layers(extent, like)
        key = (extent, like.dtype, like.device)
        if key not in self._shared:
            with torch.enable_grad():
                self._shared[key] = _Shared.of(self.of_layers(extent, like))
        return self._shared[key].given

    @contextmanager
    def shared(self) -> Iterator[None]:
        """While the weights do not change: all segments are given the same tensors.

        What the segments' backward passes leave in them goes on to the weights at the end. Without effect
        where the sinusoids have dropout, which each segment draws anew.
        """
        if self._shared is not None or (self.training and self.settings.dropout > 0):
            yield
            return
        self._shared = {}
        try:
            yield
            for shared in self._shared.values():
                shared.backward()
        finally:
            self._shared = None


class _Shared(NamedTuple):
    """What was computed once, with its graph, and as the segments are given it, each a leaf."""

    computed: list[LayerPositions]
    given: list[LayerPositions]

    @classmethod
    def of(cls, computed: list[LayerPositions]) -> "_Shared":
        return cls(computed, [_leaves(layer) for layer in computed])

    def backward(self) -> None:
        """Hand on the gradients that the leaves got."""
        pairs = [
            (computed, leaf.grad)
            for layers in zip(self.computed, self.given, strict=True)
            for computed, leaf in zip(*map(_tensors, layers), strict=True)
            if leaf.grad is not None
        ]
        if pairs:
            torch.autograd.backward([each for each, _ in pairs], [gradient for _, gradient in pairs])


def _tensors(layer: LayerPositions) -> list[Tensor]:
    return [*([] if layer.places is None else [layer.places]), *(layer.relative or [])]


def _leaves(layer: LayerPositions) -> LayerPositions:
    places, relative = layer
    return LayerPositions(
        None if places is None else _leaf(places),
        None if relative is None else Relative(*map(_leaf, relative)),
    )


def _leaf(tensor: Tensor) -> Tensor:
    return tensor.detach().requires_grad_(tensor.requires_grad)


class RelativeSinusoids(Positions):
    """Learned maps of the sinusoids of the distance, and two biases of each head that all layers share.

    Source: Dai et al. 2019, section 3.3 (`attn_type` 0 of the published code).
    """

    def __init__(self, settings: TransformerSettings, longest: Extent | None, published_shift: bool) -> None:
        super().__init__(settings, longest, published_shift)
        heads, size = settings.heads, settings.width_of_head
        self.content_bias = nn.Parameter(torch.empty(heads, size))
        self.position_bias = nn.Parameter(torch.empty(heads, size))
        self.maps = nn.ModuleList(
            Linear(settings.hidden_size, heads * size, bias=False) for _ in range(settings.layers)
        )

    def of_layers(self, extent: Extent, like: Tensor) -> list[LayerPositions]:
        """See `Positions.of_layers`."""
        later = 0 if self.published_shift else max(extent.later, 1)
        distances = distances_back(extent.keys, later, self.settings.clamp_length, like.device, like.dtype)
        features = sinusoids(distances, self.settings.hidden_size)
        features = functional.dropout(features, self.settings.dropout, self.training)
        if self.published_shift:
            features = functional.pad(features, (0, 0, 0, 1))
        return [self._of_layer(each, features) for each in self.maps]

    def _of_layer(self, layer: nn.Module, features: Tensor) -> LayerPositions:
        heads, size = self.settings.heads, self.settings.width_of_head
        vectors = layer(features).view(-1, heads, size).transpose(0, 1).contiguous()  # [heads, rows, size]
        bias = (vectors @ self.position_bias.unsqueeze(-1)).squeeze(-1)
        return LayerPositions(relative=Relative(vectors, self.content_bias, bias))


class RelativeLearned(Positions):
    """For each layer, head and distance a learned vector and a learned bias.

    Source: the published code's `attn_type` 1, after Shaw et al. 2018.
    """

    def __init__(self, settings: TransformerSettings, longest: Extent | None, published_shift: bool) -> None:
        super().__init__(settings, longest, published_shift)
        longest = _known(longest)
        self.back = longest.keys - 1
        self.ahead = 0 if published_shift else longest.later
        if settings.clamp_length is not None:
            self.back, self.ahead = (min(each, settings.clamp_length) for each in (self.back, self.ahead))
        rows = self.back + 1 + self.ahead
        layers, heads, size = settings.layers, settings.heads, settings.width_of_head
        self.distances = nn.Parameter(torch.empty(layers, heads, rows, size))
        self.content_bias = nn.Parameter(torch.empty(layers, heads, size))
        self.distance_bias = nn.Parameter(torch.empty(layers, heads, rows))

    def of_layers(self, extent: Extent, like: Tensor) -> list[LayerPositions]:
        """See `Positions.of_layers`."""
        later = 0 if self.published_shift else max(extent.later, 1)
        far = torch.arange(extent.keys - 1, -later - 1, -1, device=like.device)
        rows = self.back - far.clamp(-self.ahead, self.back)
        vectors, biases = self.distances[:, :, rows], self.distance_bias[:, :, rows]
        if self.published_shift:
            vectors, biases = functional.pad(vectors, (0, 0, 0, 1)), functional.pad(biases, (0, 1))
        return [
            LayerPositions(relative=Relative(*each))
            for each in zip(vectors.unbind(), self.content_bias.unbind(), biases.unbind(), strict=True)
        ]


class _Absolute(Positions):
    """Places are counted backwards from the last one of a full segment; 0 is the last."""

    def numbers(self, extent: Extent) -> range:
        """The number of each place that can be seen."""
        longest = _known(self.longest)
        if extent.queries > longest.queries:
            too_many = extent.queries - longest.queries
            raise ValueError(
                f"a segment {too_many} steps longer than segment_length, which bounds absolute positions"
            )
        first = longest.queries + extent.cached - 1
        return range(first, first - extent.keys, -1)


class AbsoluteSinusoids(_Absolute):
    """The sinusoids of its place are added to what the first layer reads.

    Source: Vaswani et al. 2017, section 3.5 (`attn_type` 2). The published code caches what the first layer
    reads with its sinusoids, and adds those of the new places on top.
    """

    def of_layers(self, extent: Extent, like: Tensor) -> list[LayerPositions]:
        """See `Positions.of_layers`."""
        numbers = torch.tensor(self.numbers(extent), dtype=like.dtype, device=like.device)
        if self.settings.clamp_length is not None:
            numbers = numbers.clamp(max=self.settings.clamp_length)
        features = sinusoids(numbers, self.settings.hidden_size)
        features = functional.dropout(features, self.settings.dropout, self.training)
        return [LayerPositions(features)] + [LayerPositions()] * (self.settings.layers - 1)


class AbsoluteLearned(_Absolute):
    """A learned vector of its place is added to what each layer reads.

    Source: Al-Rfou et al. 2019 (`attn_type` 3). The published code caches what a layer reads with these
    vectors, and adds those of the new places on top.
    """

    def __init__(self, settings: TransformerSettings, longest: Extent | None, published_shift: bool) -> None:
        super().__init__(settings, longest, published_shift)
        rows = _known(longest).keys
        if settings.clamp_length is not None:
            rows = min(rows, settings.clamp_length + 1)
        self.places = nn.Parameter(torch.empty(settings.layers, rows, settings.hidden_size))

    def of_layers(self, extent: Extent, like: Tensor) -> list[LayerPositions]:
        """See `Positions.of_layers`."""
        rows = torch.tensor(self.numbers(extent), device=like.device).clamp(max=self.places.shape[1] - 1)
        return [LayerPositions(each) for each in self.places[:, rows].unbind()]


def _known(longest: Extent | None) -> Extent:
    """What the settings see to: these encodings need a segment_length."""
    if longest is None:
        raise ValueError("positions that are counted or learned need a segment_length")
    return longest


def build_positions(
    settings: TransformerSettings, longest: Extent | None, published_shift: bool
) -> Positions:
    """The encoding that a core's settings name; see `Positions`."""
    kinds: dict[PositionEncoding, type[Positions]] = {
        "relative_sinusoid": RelativeSinusoids,
        "relative_learned": RelativeLearned,
        "absolute_sinusoid": AbsoluteSinusoids,
        "absolute_learned": AbsoluteLearned,
    }
    return kinds[settings.position_encoding](settings, longest, published_shift)
