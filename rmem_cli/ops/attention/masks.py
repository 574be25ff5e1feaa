"""Who may attend to whom: `True` where a query (row) must not see a key (column)."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Layout:
    """What the positions of one segment are: `[read memory; segment; write memory]`, after the cache.

    Attributes:
        segment: Tokens of the segment.
        read: Read memory in front of them.
        write: Write memory after them.
        cache: Cached positions in front of everything; they are keys only.
    """

    segment: int
    read: int = 0
    write: int = 0
    cache: int = 0

    @property
    def queries(self) -> int:
        """Positions that are computed: all but the cache."""
        return self.read + self.segment + self.write

    @property
    def keys(self) -> int:
        """Positions that can be seen."""
        return self.cache + self.queries


@dataclass(frozen=True)
class Rules:
    """Who may see whom, beside the order of time.

    Attributes:
        window: A position of the segment sees this many keys of cache and segment, itself included; None for
            all of them.
        memory_reads_cache: Whether memory positions see the cache.
        memory_is_causal: Whether a memory position is blind to those of its own block that come later.
        causal: Whether there is an order of time at all; without, everything sees everything.
    """

    window: int | None = None
    memory_reads_cache: bool = False
    memory_is_causal: bool = False
    causal: bool = True


def attention_mask(
    layout: Layout,
    rules: Rules,
    device: torch.device | None = None,
    lengths: Tensor | None = None,
    cached: Tensor | None = None,
) -> Tensor:
    """The mask of one segment, `[queries, keys]` or, where rows differ, `[batch, queries, keys]`.

    A token sees the cache, all read memory and the segment up to itself, never write memory. Read memory sees
    read memory. Write memory sees everything but, unless the rules say so, the cache.

    Args:
        layout: What the positions are.
        rules: Who may see whom.
        device: Of the result.
        lengths: `[batch]`, tokens of each row that count. Its write memory then follows them at once, and
            what is left over comes last.
        cached: `[batch]`, how many of the cached positions, the last ones, hold something; None for all.

    Source: Bulatov et al. 2022, section 3; Transformer-XL's `same_length` for the window.
    """
    places = torch.arange(layout.queries, device=device)
    tokens = layout.segment if lengths is None else lengths[:, None].to(device)
    if not rules.causal:
        left_over = places >= layout.read + tokens + layout.write
        nobody = torch.zeros_like(left_over)
        return _with_cache(_pairs(~nobody, left_over), nobody, layout, rules, cached)
    reading = places < layout.read
    writing = (places >= layout.read + tokens) & (places < layout.read + tokens + layout.write)
    behind = places[:, None] - places
    among = behind < 0
    if rules.window is not None:
        among = among | ((behind >= rules.window) & _pairs(~(reading | writing), ~(reading | writing)))
    if not rules.memory_is_causal:
        among = among & ~_pairs(reading, reading) & ~_pairs(writing, writing)
    return _with_cache(among, reading | writing, layout, rules, cached)


def _with_cache(among: Tensor, memory: Tensor, layout: Layout, rules: Rules, cached: Tensor | None) -> Tensor:
    """The columns of the cache in front of those of the segment."""
    if layout.cache == 0:
        return among
    device = among.device
    columns = torch.arange(layout.cache, device=device)
    hidden = torch.zeros(layout.queries, layout.cache, dtype=torch.bool, device=device)
    if not rules.memory_reads_cache:
        hidden = hidden | memory.unsqueeze(-1)
    if rules.window is not None:
        behind = torch.arange(layout.queries, device=device)[:, None] + layout.cache - columns
        hidden = hidden | ((behind >= rules.window + layout.read) & ~memory.unsqueeze(-1))
    if cached is not None:
        hidden = hidden | (columns < layout.cache - cached.to(device)[:, None, None])
    rows = max(among, hidden, key=Tensor.dim).shape[:-2]
    return torch.cat([hidden.expand(*rows, -1, -1), among.expand(*rows, -1, -1)], dim=-1)


def _pairs(rows: Tensor, columns: Tensor) -> Tensor:
    """`[..., n]` and `[..., n]` to `[..., n, n]`: where both are true."""
    return rows.unsqueeze(-1) & columns.unsqueeze(-2)
