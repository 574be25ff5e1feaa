"""What the positions of earlier segments leave for later ones to attend to."""

from typing import NamedTuple

import torch
from torch import Tensor

from rmem_cli.models.state import State
from rmem_cli.ops.autocast import single_precision

COUNT = "cached"


class Cached(NamedTuple):
    """The cache as one segment sees it.

    Attributes:
        layers: `[batch, width, ...]` for each layer, the latest position last; width is the most that any row
            has cached, or all there is room for.
        counts: `[batch]`, how many of these positions each row has; None where all have all.
        width: How many positions there are.
    """

    layers: list[Tensor]
    counts: Tensor | None
    width: int

    def missing(self, device: torch.device) -> Tensor:
        """How many of these positions each row lacks, `[batch, 1]`; or `[1]`, zero, where all have all."""
        if self.counts is None:
            return torch.zeros(1, dtype=torch.long, device=device)
        return self.width - self.counts[:, None]


class SegmentCache:
    """The last positions of every layer, kept in the state as `cache.<layer>` and `cached`.

    The tensors always have the full length, filled from the end, so that rows can be reset one by one.

    Args:
        layers: How many layers there are.
        length: Positions that are kept; 0 keeps none, and the state has no entries.
        shape: Of what is kept of one position.
    """

    def __init__(self, layers: int, length: int, shape: tuple[int, ...]) -> None:
        self.names = [f"cache.{layer}" for layer in range(layers)]
        self.length = length
        self.shape = shape

    def initial(self, batch: int, device: torch.device, dtype: torch.dtype) -> State:
        """An empty cache."""
        if self.length == 0:
            return {}
        empty = torch.zeros(batch, self.length, *self.shape, device=device, dtype=dtype)
        counts = torch.zeros(batch, dtype=torch.long, device=device)
        return {**dict.fromkeys(self.names, empty), COUNT: counts}

    def read(self, state: State | None) -> Cached:
        """What there is to attend to; on a CPU no more than the fullest row has."""
        if self.length == 0 or state is None:
            return Cached([], None, 0)
        counts = state[COUNT]
        if counts.device.type == "meta" or len(counts) == 0:  # without values: as if all rows were full
            return Cached([state[name] for name in self.names], None, self.length)
        if counts.device.type != "cpu":  # reading how full they are would stall an accelerator: masked
            return Cached([state[name] for name in self.names], counts, self.length)
        fewest, most = (int(bound) for bound in counts.aminmax())
        layers = [state[name][:, self.length - most :] for name in self.names]
        return Cached(layers, None if fewest == most else counts, most)

    def write(self, state: State | None, new: list[Tensor], lengths: Tensor | None) -> State:
        """The cache after a segment, without gradient.

        Args:
            state: Before it; None: nothing was cached.
            new: `[batch, time, ...]` for each layer, the positions of the segment.
            lengths: `[batch]`, how many of them count, the first ones; None for all.
        """
        if self.length == 0:
            return {}
        batch, time = new[0].shape[:2]
        added = torch.full((batch,), time, device=new[0].device) if lengths is None else lengths
        before = torch.zeros_like(added) if state is None else state[COUNT]
        kept = [single_precision(each.detach()) for each in new]
        after: State = {
            name: self._last(None if state is None else state[name], positions, lengths)
            for name, positions in zip(self.names, kept, strict=True)
        }
        after[COUNT] = (before + added).clamp(max=self.length)
        return after

    def _last(self, old: Tensor | None, new: Tensor, lengths: Tensor | None) -> Tensor:
        """A copy, so that keeping it does not keep the whole segment."""
        if lengths is None and new.shape[1] >= self.length:
            return new[:, new.shape[1] - self.length :].clone()
        if old is None:
            old = new.new_zeros(new.shape[0], self.length, *self.shape)
        joined = torch.cat([old, new], dim=1)
        if lengths is None:
            return joined[:, -self.length :].clone()
        places = torch.arange(self.length, device=new.device) + lengths[:, None]
        return joined[torch.arange(new.shape[0], device=new.device)[:, None], places]
