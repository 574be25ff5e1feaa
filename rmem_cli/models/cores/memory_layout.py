"""Memory tokens around the tokens of a segment: `[read memory; segment; write memory]`."""

from typing import NamedTuple

import torch
from torch import Tensor

from rmem_cli.ops.attention.masks import Layout


class Parts(NamedTuple):
    """The positions of a segment, by what they are: `[batch, places, size]` each."""

    read: Tensor
    segment: Tensor
    write: Tensor


def join(parts: Parts, layout: Layout, lengths: Tensor | None) -> Tensor:
    """One sequence `[batch, queries, size]`.

    Args:
        parts: Memory and tokens.
        layout: Their numbers.
        lengths: `[batch]`, tokens of each row that count; the write memory follows them, the others come
            last. None: all count.
    """
    sequence = torch.cat(parts, dim=1) if layout.queries > layout.segment else parts.segment
    if lengths is None or layout.write == 0:
        return sequence
    return _take(sequence, _order(layout, lengths))


def take_apart(sequence: Tensor, layout: Layout, lengths: Tensor | None) -> Parts:
    """The parts of what `join` made, or of what became of it."""
    if lengths is not None and layout.write > 0:
        sequence = _take(sequence, _order(layout, lengths).argsort(dim=1))
    end = layout.read + layout.segment
    return Parts(sequence[:, : layout.read], sequence[:, layout.read : end], sequence[:, end:])


def tokens_of(layout: Layout, lengths: Tensor | None, device: torch.device) -> tuple[Tensor, Tensor]:
    """The number of the token at each place, and whether there is one: `[places]` or `[batch, places]`.

    Args:
        layout: Numbers of memory and tokens.
        lengths: `[batch]`, tokens of each row that count; None for all.
        device: Of the results.
    """
    number = torch.arange(layout.queries, device=device) - layout.read
    if lengths is None:
        return number, (number >= 0) & (number < layout.segment)
    return number.expand(len(lengths), -1), (number >= 0) & (number < lengths[:, None])


def to_cache(layout: Layout, memory_too: bool, lengths: Tensor | None) -> tuple[slice, Tensor | None]:
    """Which places of a segment are cached, and how many of them count in each row (None: all).

    Args:
        layout: Numbers of memory and tokens.
        memory_too: Whether memory is cached like tokens.
        lengths: `[batch]`, tokens of each row that count; None for all.
    """
    if not memory_too:
        # A row's tokens that count stand right after its read memory, whatever follows.
        return slice(layout.read, layout.read + layout.segment), lengths
    memories = layout.read + layout.write
    return slice(None), None if lengths is None else torch.where(lengths > 0, lengths + memories, 0)


def kept_without_tokens(new: Tensor, old: Tensor, lengths: Tensor | None) -> Tensor:
    """`new [batch, ...]`, but `old` in the rows without a token that counts.

    The result shares no memory with `new`: a state that is kept would keep all of a segment alive with it.
    """
    if lengths is None:
        return new.clone()
    return torch.where((lengths > 0).view(-1, *[1] * (new.dim() - 1)), new, old)  # lengths as [batch, 1, ...]


def _order(layout: Layout, lengths: Tensor) -> Tensor:
    """Which position of `[read; segment; write]` comes where, `[batch, queries]`."""
    places = torch.arange(layout.queries, device=lengths.device)
    token = places - layout.read
    left_over = (token >= lengths[:, None]) & (token < layout.segment)
    return left_over.to(torch.int8).argsort(dim=1, stable=True)


def _take(sequence: Tensor, order: Tensor) -> Tensor:
    rows = torch.arange(sequence.shape[0], device=sequence.device)[:, None]
    return sequence[rows, order]
