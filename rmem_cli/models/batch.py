"""What a task hands to a model."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """Examples of one step, or one segment of them.

    Attributes:
        inputs: `[batch, time]` symbols, or `[batch, time, features]` numbers.
        targets: `[batch, time]` classes or numbers.
        weight: `[batch, time]`, weight of each position in the loss; 0: none.
        fresh: `[batch]`, whether the state of a row starts afresh before this batch.
        answer: `[batch, time]`, the positions that accuracy counts; None: those with a weight.
        lengths: `[batch]`, steps of each row that count; None: all.
    """

    inputs: Tensor
    targets: Tensor
    weight: Tensor
    fresh: Tensor
    answer: Tensor | None = None
    lengths: Tensor | None = None

    def to(self, device: torch.device, dtype: torch.dtype) -> "Batch":
        """The same batch on a device, its numbers (not its symbols and classes) of the given type."""
        return Batch(
            _moved(self.inputs, device, dtype),
            _moved(self.targets, device, dtype),
            self.weight.to(device, dtype),
            self.fresh.to(device),
            None if self.answer is None else self.answer.to(device),
            None if self.lengths is None else self.lengths.to(device),
        )

    def counted_steps(self) -> slice:
        """From the first step with a weight to the last; all, where finding out stalls an accelerator."""
        if self.weight.device.type != "cpu":
            return slice(None)
        steps = self.weight.any(0).nonzero()
        return slice(int(steps[0]), int(steps[-1]) + 1) if len(steps) else slice(0, 1)

    def split(self, segment_length: int | None) -> list["Batch"]:
        """Segments of the given length along time (the last one may be shorter); None: one segment."""
        time = self.inputs.shape[1]
        if segment_length is None or segment_length >= time:
            return [self]
        return [self._segment(start, segment_length) for start in range(0, time, segment_length)]

    def _segment(self, start: int, length: int) -> "Batch":
        part = slice(start, start + length)
        return Batch(
            self.inputs[:, part],
            self.targets[:, part],
            self.weight[:, part],
            self.fresh & (start == 0),
            None if self.answer is None else self.answer[:, part],
            None if self.lengths is None else (self.lengths - start).clamp(0, length),
        )


def _moved(values: Tensor, device: torch.device, dtype: torch.dtype) -> Tensor:
    return values.to(device, dtype if values.is_floating_point() else values.dtype)
