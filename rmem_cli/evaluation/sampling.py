"""Text from a trained language model, symbol by symbol, across segments."""

from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor

from rmem_cli.evaluation.next_symbol import next_logits
from rmem_cli.models.batch import Batch
from rmem_cli.models.model import Model
from rmem_cli.models.state import State

Choose = Callable[[Tensor], int]


class Reader:
    """Reads a text as evaluation does, and tells after each symbol what may come next.

    A model whose segments cannot be read in parts reads the current one anew with every symbol, from the
    state before it (see `next_logits`): the numbers are those of the whole segment, bit for bit.

    Args:
        model: Causal, of classes, in evaluation mode.
        window: Symbols after which a new segment begins in any case: those of one batch of the task.
        carried: Whether the state goes on from window to window.
    """

    def __init__(self, model: Model, window: int, *, carried: bool = True) -> None:
        self.model = model
        self.window = window
        self.carried = carried
        self._state: State | None = None
        self._segment: list[int] = []
        self._place = 0  # of the segment in its window

    @torch.no_grad()
    def read(self, symbols: Iterable[int]) -> Tensor:
        """The logits `[classes]` of what follows symbols, at least one."""
        logits = None
        for symbol in symbols:
            self._segment.append(symbol)
            full = len(self._segment) == self._length()
            logits = self._end_of_segment() if full else None
        return self._run()[0] if logits is None else logits

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
        device = next(self.model.parameters()).device
        filled = [*self._segment, *[0] * (self._length() - len(self._segment))]
        inputs = torch.tensor([filled], device=device)
        fresh = torch.tensor([self._state is None], device=device)
        segment = Batch(inputs, inputs, torch.ones_like(inputs), fresh)
        logits, state = next_logits(self.model, segment, len(self._segment), self._state)
        return logits[0], state


def generate(reader: Reader, beginning: list[int], count: int, choose: Choose) -> Iterator[int]:
    """Symbols that go on from a beginning, one at a time.

    Args:
        reader: Of the model, new.
        beginning: Symbols before them, at least one.
        count: How many.
        choose: Picks a symbol by the logits `[classes]`.
    """
    read = beginning
    for _ in range(count):
        symbol = choose(reader.read(read))
        yield symbol
        read = [symbol]


def draw(temperature: float, top_k: int | None, source: torch.Generator) -> Choose:
    """Draws from the softmax of the logits.

    Args:
        temperature: What logits are divided by; 0 always takes the most likely symbol.
        top_k: How many of the most likely symbols are drawn from; None: all.
        source: Of the draws, on the CPU.
    """

    def choose(logits: Tensor) -> int:
        logits = logits.double().cpu()
        if temperature == 0:
            return int(logits.argmax())
        best = logits.topk(min(top_k or len(logits), len(logits)))
        probabilities = (best.values / temperature).softmax(-1)
        return int(best.indices[torch.multinomial(probabilities, 1, generator=source)])

    return choose
