"""What a task hands to a model."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Self

import torch
from torch import Tensor

from rmem_cli.errors import UsageError


@dataclass(frozen=True)
class Batch:
    """Examples of one step, or one segment of them.

    Attributes:
        inputs: `[batch, time]` symbols, `[batch, time, features]` numbers, or, where a step is several
            symbols at once, `[batch, time, symbols]`: those of each step, -1 where it has fewer.
        targets: `[batch, time]` classes or numbers.
        weight: `[batch, time]`, weight of each position in the loss; 0: none.
        fresh: `[batch]`, whether the state of a row starts afresh before this batch.
        answer: `[batch, time]`, the positions that accuracy counts; None: those with a weight.
        lengths: `[batch]`, steps of each row that count; None: all.
        present: `[batch, time]`, the steps that count where others stand between them: in each segment that
            is read at once those that count come first. None: `lengths` says it.
        reset: `[batch, time]`, whether the state of a row starts afresh before a step, besides what `fresh`
            says; None: nowhere. It stays on the CPU, as it decides what is computed.
        question: `[batch]`, the step of each row with which its question begins, after all that the question
            is about; None: there is no question.
        part: `[batch]`, which of the task's parts a row is of, by number; None: the task has none.
    """

    inputs: Tensor
    targets: Tensor
    weight: Tensor
    fresh: Tensor
    answer: Tensor | None = None
    lengths: Tensor | None = None
    present: Tensor | None = None
    reset: Tensor | None = None
    question: Tensor | None = None
    part: Tensor | None = None

    def of_type(self, dtype: torch.dtype) -> Self:
        """The same batch where it is, its numbers (not its symbols and classes) of the given type."""
        return self.map(lambda values: values.to(dtype) if values.is_floating_point() else values)

    def to(self, device: torch.device, dtype: torch.dtype) -> Self:
        """The same batch on a device, its numbers (not its symbols and classes) of the given type.

        A GPU is not waited for: it copies from pinned memory when it has done what was asked of it before,
        and the next batch is made meanwhile.
        """

        def moved(values: Tensor) -> Tensor:
            if device.type == "cuda" and values.device.type == "cpu":
                values = values.pin_memory()
            return values.to(device, non_blocking=device.type == "cuda")

        return replace(self.of_type(dtype).map(moved), reset=self.reset)

    def map(self, change: Callable[[Tensor], Tensor]) -> Self:
        """The same batch, each of its tensors changed."""
        changed: dict[str, Any] = {
            name: None if value is None else change(value) for name, value in vars(self).items()
        }
        return type(self)(**changed)

    def counted_steps(self) -> slice:
        """From the first step with a weight to the last; all, where finding out stalls an accelerator."""
        if self.weight.device.type != "cpu":
            return slice(None)
        steps = self.weight.any(0).nonzero()
        return slice(int(steps[0]), int(steps[-1]) + 1) if len(steps) else slice(0, 1)

    def rows(self, rows: Tensor | slice) -> Self:
        """Some rows of the batch, by their numbers `[n]`."""
        return self.map(lambda values: values[rows.to(values.device) if isinstance(rows, Tensor) else rows])

    def split(self, segment_length: int | None) -> list[Self]:
        """Segments of the given length along time (the last one may be shorter); None: one segment.

        Raises:
            UsageError: In one of them, a step that counts stands behind one that does not.
        """
        time = self.inputs.shape[1]
        if segment_length is None or segment_length >= time:
            return [self] if self.present is None else [self._segment(0, time)]
        return [self._segment(start, segment_length) for start in range(0, time, segment_length)]

    def beginning(self, steps: int) -> Self:
        """The first steps of all rows."""
        return self._segment(0, steps)

    def begun(self) -> Self:
        """The batch without `reset`, what that says of the first step being in `fresh`."""
        if self.reset is None:
            return self
        return replace(self, fresh=self.fresh | self.reset[:, 0].to(self.fresh.device), reset=None)

    def pieces(self) -> list[Self]:
        """The batch cut, for all rows, wherever one of them starts afresh; the pieces have no `reset`."""
        bounds = [0, *(step for step, _ in self._resets()), self.inputs.shape[1]]
        return [self._segment(start, stop - start).begun() for start, stop in pairwise(bounds)]

    def rests(self) -> Iterator[tuple[int, Tensor, Self]]:
        """What is left of rows from where they start afresh behind the first step, the latest last.

        Yields:
            The step, the rows `[n]` that start afresh before it, and what these are from there to the end.
        """
        for step, rows in self._resets():
            rest = self._segment(step, self.inputs.shape[1] - step).rows(rows)
            yield step, rows.to(self.fresh.device), rest.begun()

    def _resets(self) -> Iterator[tuple[int, Tensor]]:
        """The steps behind the first before which some rows start afresh, and these rows, `[n]`."""
        if self.reset is not None:
            for step in self.reset[:, 1:].any(0).nonzero()[:, 0].tolist():
                yield step + 1, self.reset[:, step + 1].nonzero()[:, 0]

    def _segment(self, start: int, length: int) -> Self:
        """Some steps of all that has steps; what is said of whole rows is what it is for these steps."""
        steps = slice(start, start + length)
        part = self.map(lambda values: values[:, steps] if values.dim() > 1 else values)
        lengths, question = (
            None if steps_of_rows is None else (steps_of_rows - start).clamp(0, length)
            for steps_of_rows in (self.lengths, self.question)
        )
        if part.present is not None:
            lengths = _first_steps(part.present)
        return replace(
            part, fresh=self.fresh & (start == 0), lengths=lengths, present=None, question=question
        )


def _first_steps(present: Tensor) -> Tensor:
    """How many steps of each row count, `[batch]`, which are the first ones."""
    lengths = present.sum(1)
    steps = torch.arange(present.shape[1], device=present.device)
    if present.device.type != "meta" and not torch.equal(present, steps < lengths[:, None]):
        raise UsageError(
            "steps that do not count stand in the middle of what the model reads at once; set "
            "model.core.segment_length to task.segment_length, or task.alignment to overlapping or left"
        )
    return lengths


@dataclass(frozen=True, kw_only=True)
class SourceBatch(Batch):
    """What is said (`inputs`, `targets`), and what it is said about, which every segment has whole.

    Attributes:
        source: `[batch, source]`, symbols.
        source_words: `[batch, source]`, the class of each: of a symbol itself, and, of a word that is none,
            one behind all symbols, which it shares with the same word of its row. Targets are such classes.
        source_lengths: `[batch]`, steps of each source that count.
    """

    source: Tensor
    source_words: Tensor
    source_lengths: Tensor

    def _segment(self, start: int, length: int) -> Self:
        part = super()._segment(start, length)
        return replace(part, source=self.source, source_words=self.source_words)
