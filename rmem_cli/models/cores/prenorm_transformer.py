"""The layers of a pre-norm transformer: root mean square norms, gated feed-forward parts, null keys."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from rmem_cli.models.cores.residual_streams import HyperConnection, PlainResidual
from rmem_cli.models.cores.segment_cache import Cached
from rmem_cli.models.cores.transformer_config import PreNormRMTSettings
from rmem_cli.ops.attention import fast
from rmem_cli.ops.attention.positions import RotaryAngles, apply_rotary
from rmem_cli.ops.feed_forward import fast as feed_forward
from rmem_cli.ops.product.dispatch import Linear
from rmem_cli.ops.root_mean_square_norm import fast as root_mean_square_norm


@dataclass(frozen=True)
class Surroundings:
    """What all layers of one segment share.

    Attributes:
        mask: `[places, 1 + cached + places]`, or with the batch in front: who does not see whom; the 1 is
            the null key, at its place among the keys, where there is one.
        rotary: By which the rotary positions turn queries and keys; None without.
        shifted: Moves half of each token's units to the next; None without.
    """

    mask: Tensor
    rotary: tuple[RotaryAngles, RotaryAngles] | None
    shifted: "TokenShift | None"


class KeysValues(NamedTuple):
    """What attention reads of some places, each `[batch, places, heads, size]`."""

    keys: Tensor
    values: Tensor


@dataclass(frozen=True)
class TokenShift:
    """Takes the second half of the units of a token's vector from the place before.

    Attributes:
        token: `[places, 1]` or `[batch, places, 1]`, where the tokens are.
        first: Of the same shape, the first token, which gets zeros.
    """

    token: Tensor
    first: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        """`[batch, places, hidden]` to the same."""
        stays, moves = x.chunk(2, dim=-1)
        before = functional.pad(moves, (0, 0, 1, -1)).masked_fill(self.first, 0)
        return torch.cat([stays, torch.where(self.token, before, moves)], dim=-1)


class PreNormStack(nn.Module):
    """The layers, with the norm behind them.

    Args:
        settings: Of the core.
    """

    def __init__(self, settings: PreNormRMTSettings) -> None:
        super().__init__()
        self.settings = settings
        self.layers = nn.ModuleList(_Layer(settings, index) for index in range(settings.layers))
        self.norm = _Norm(settings.hidden_size)

    def forward(
        self, x: Tensor, cached: Cached, surroundings: Surroundings, keep: bool
    ) -> tuple[Tensor, list[KeysValues]]:
        """Run the layers.

        Args:
            x: `[batch, places, hidden]`.
            cached: Keys and values of earlier segments, `[batch, width, 2, heads, size]` for each layer.
            surroundings: What the layers share.
            keep: Whether the new keys and values are wanted.

        Returns:
            `[batch, places, hidden]`, and the new keys and values of each layer, if they are wanted.
        """
        streams = self.settings.residual_streams
        hidden = x if streams == 1 else x.unsqueeze(-2).expand(-1, -1, streams, -1)
        first_values, news = None, []
        for index, layer in enumerate(self.layers):
            cache = cached.layers[index] if cached.width else None
            hidden, new, values = layer(hidden, cache, first_values, surroundings)
            first_values = values if first_values is None else first_values
            if keep:
                news.append(new)
        outputs: Tensor = self.norm(hidden if streams == 1 else hidden.sum(-2))
        return outputs, news

    def with_null(self, keys_values: list[Tensor]) -> list[Tensor]:
        """Keys and values of each layer, `[batch, places, 2, heads, size]`, behind those of its null key."""
        # By attribute: under `torch.func.functional_call` it is a tensor, and no parameter.
        nulls: list[Any] = [layer.get_submodule("attention").null for layer in self.layers]
        return [
            torch.cat([null.expand(len(each), 1, -1, -1, -1), each], dim=1)
            for null, each in zip(nulls, keys_values, strict=True)
        ]


class _Norm(nn.RMSNorm):
    def forward(self, x: Tensor) -> Tensor:
        return root_mean_square_norm.normalize(x, self.weight)


class _Layer(nn.Module):
    def __init__(self, settings: PreNormRMTSettings, index: int) -> None:
        super().__init__()
        self.attention = _Attention(settings, mixes_values=settings.value_residual and index > 0)
        self.feed_forward = _FeedForward(settings)
        self.residuals = nn.ModuleList(_residual(settings, 2 * index + branch) for branch in range(2))

    def forward(
        self, x: Tensor, cache: Tensor | None, first_values: Tensor | None, surroundings: Surroundings
    ) -> tuple[Tensor, KeysValues, Tensor]:
        """The outputs, the new keys and values, and the values before they were mixed."""
        kept: list[Any] = []

        def attend(branch_input: Tensor) -> Tensor:
            attended: Tensor
            attended, *kept[:] = self.attention(branch_input, cache, first_values, surroundings)
            return attended

        x = self.residuals[0](x, attend)
        x = self.residuals[1](x, lambda branch_input: self.feed_forward(branch_input, surroundings.shifted))
        return x, kept[0], kept[1]


def _residual(settings: PreNormRMTSettings, index: int) -> nn.Module:
    if settings.residual_streams == 1:
        return PlainResidual()
    return HyperConnection(settings.hidden_size, settings.residual_streams, index)


class _Attention(nn.Module):
    def __init__(self, settings: PreNormRMTSettings, mixes_values: bool) -> None:
        super().__init__()
        size, width = settings.hidden_size, settings.heads * settings.head_size
        self.settings = settings
        self.norm = _Norm(size)
        self.queries_keys_values = Linear(size, 3 * width, bias=False)
        self.output = Linear(width, size, bias=False)
        self.null = (
            nn.Parameter(torch.randn(2, settings.heads, settings.head_size)) if settings.null_key else None
        )
        self.mixing = Linear(size, settings.heads, bias=False) if mixes_values else None

    def forward(
        self, x: Tensor, cache: Tensor | None, first_values: Tensor | None, surroundings: Surroundings
    ) -> tuple[Tensor, KeysValues, Tensor]:
        if surroundings.shifted is not None:
            x = surroundings.shifted(x)
        x = self.norm(x)
        heads, head_size = self.settings.heads, self.settings.head_size
        parts = self.queries_keys_values(x).view(*x.shape[:2], 3, heads, head_size)  # [batch, places, 3, ...]
        # Copies: what the gradient needs is kept, the whole product is not.
        queries, own_keys, own_values = (
            parts[:, :, 0].contiguous(),
            parts[:, :, 1],
            parts[:, :, 2].contiguous(),
        )
        own = KeysValues(own_keys, own_values)
        if self.mixing is not None and first_values is not None:
            mixed = own_values.lerp(first_values, self.mixing(x).sigmoid().unsqueeze(-1))
            own = KeysValues(own_keys, mixed)
        queries, keys, values = (
            # [heads, batch, places, head_size]
            each.permute(2, 0, 1, 3)
            for each in (queries, *self._all_keys_values(cache, own))
        )
        if surroundings.rotary is not None:
            queries = apply_rotary(queries, surroundings.rotary[0])
            keys = apply_rotary(keys, surroundings.rotary[1])
        dropout = self.settings.attention_dropout if self.training else 0.0
        attended = fast.attention(queries, keys, values, surroundings.mask, dropout)
        # [batch, places, heads * head_size]
        output: Tensor = self.output(attended.permute(1, 2, 0, 3).flatten(2))
        return output, own, own_values

    def _all_keys_values(self, cache: Tensor | None, own: KeysValues) -> KeysValues:
        """Those of null key, cache and segment, each `[batch, keys, heads, size]`."""
        return KeysValues(*(self._with_null(cache, own, index) for index in range(2)))

    def _with_null(self, cache: Tensor | None, own: KeysValues, index: int) -> Tensor:
        parts = [own[index]] if cache is None else [cache[:, :, index], own[index]]
        if self.null is not None:
            place = len(parts) - 1 if self.settings.null_after_cache else 0
            parts.insert(place, self.null[index].expand(len(own[index]), 1, -1, -1))
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)


class _FeedForward(nn.Module):
    def __init__(self, settings: PreNormRMTSettings) -> None:
        super().__init__()
        self.dropout = settings.dropout
        self.norm = _Norm(settings.hidden_size)
        self.inner = Linear(settings.hidden_size, 2 * settings.width_inside, bias=False)
        self.outer = Linear(settings.width_inside, settings.hidden_size, bias=False)

    def forward(self, x: Tensor, shifted: TokenShift | None) -> Tensor:
        if shifted is not None:
            x = shifted(x)
        dropout = self.dropout if self.training else 0.0
        return feed_forward.gated_gelu(x, self.norm.weight, self.inner.weight, self.outer.weight, dropout)
