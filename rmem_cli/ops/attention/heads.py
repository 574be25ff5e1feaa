"""From what linear maps give to heads, and back."""

from torch import Tensor


def split(projected: Tensor, heads: int, parts: int = 3) -> tuple[Tensor, ...]:
    """`[batch, places, parts * heads * size]` to as many of `[heads, batch, places, size]`, contiguous."""
    apart = projected.view(*projected.shape[:2], parts, heads, -1)  # [batch, places, parts, heads, size]
    return apart.permute(2, 3, 0, 1, 4).contiguous().unbind()  # parts of [heads, batch, places, size]


def merge(attended: Tensor) -> Tensor:
    """`[heads, batch, places, size]` to `[batch, places, heads * size]`."""
    return attended.permute(1, 2, 0, 3).flatten(2)  # [batch, places, heads * size]
