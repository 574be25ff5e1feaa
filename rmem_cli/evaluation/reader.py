"""Reads texts symbol by symbol, across segments, and tells what may come next."""

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional

from rmem_cli.evaluation.next_symbol import next_logits
from rmem_cli.models.batch import Batch
from rmem_cli.models.model import Model
from rmem_cli.models.state import State, select


class Reader:
    """Reads texts as evaluation does, and tells after each symbol what may come next.

    A stepwise model reads each symbol once. One whose segments cannot be read in parts reads the current one
    anew with every symbol, from the state before it (see `next_logits`): the numbers are those of the whole
    segment, bit for bit.

    Args:
        model: Causal, of classes, in evaluation mode.
        window: Symbols after which a new segment begins in any case: those of one batch of the task.
        carried: Whether the state goes on from window to window.
        about: On the model's device, what each text is about, such as its source: a row for each, of which
            inputs and all that is said of them count for nothing. None: the texts are all there is.
        state: Before the first symbol, of a segment that ended there; None starts afresh.
    """

    def __init__(
        self,
        model: Model,
        window: int,
        *,
        carried: bool = True,
        about: Batch | None = None,
        state: State | None = None,
    ) -> None:
        self.model = model
        self.window = window
        self.carried = carried
        self._about = about
        self._state = state
        self._segment: list[Tensor] = []  # [rows] each
        self._place = 0  # of the segment in its window

    @torch.no_grad()
    def read(self, symbols: Tensor) -> Tensor:
        """The logits `[rows, classes]` of what follows symbols `[rows, time]`, at least one of each row.

        Raises:
            ValueError: There is none.
            TypeError: The model predicts numbers.
        """
        logits = None
        for symbol in symbols.to(next(self.model.parameters()).device).unbind(1):
            self._segment.append(symbol)
            full = len(self._segment) == self._length()
            logits = self._end_of_segment() if full else None
        return self._run()[0] if logits is None else logits

    def select(self, rows: Tensor) -> None:
        """Go on with some of the texts, by their numbers `[n]`, in any order and as often as wanted."""
        rows = rows.to(next(self.model.parameters()).device)
        self._segment = [symbols[rows] for symbols in self._segment]
        self._state = None if self._state is None else select(self._state, rows)
        self._about = None if self._about is None else self._about.rows(rows)

    def _length(self) -> int:
        """Symbols of the current segment when it is full."""
        if self.model.stepwise:
            return 1
        return min(self.model.segment_length or self.window, self.window - self._place)

    def _end_of_segment(self) -> Tensor:
        logits, state = self._run()
        self._place = (self._place + len(self._segment)) % self.window
        self._segment = []
        self._state = state if self.carried or self._place else None
        return logits

    def _run(self) -> tuple[Tensor, State]:
        """The logits after the symbols of the segment, and the state after it, which counts if it is full."""
        if not self._segment:
            raise ValueError("no symbol has been read since the last segment ended")
        known = len(self._segment)
        inputs = functional.pad(torch.stack(self._segment, 1), (0, self._length() - known))
        return next_logits(self.model, self._batch(inputs), known, self._state)

    def _batch(self, inputs: Tensor) -> Batch:
        """The segment, of which inputs are `[rows, time]`."""
        fresh = torch.full((len(inputs),), self._state is None, device=inputs.device)
        segment = Batch(inputs, inputs, torch.ones_like(inputs), fresh)
        return segment if self._about is None else replace(self._about, **vars(segment))
