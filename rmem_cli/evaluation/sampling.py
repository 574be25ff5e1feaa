"""Text from a trained language model, symbol by symbol."""

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from rmem_cli.evaluation.reader import Reader
from rmem_cli.evaluation.search import no_number

Choose = Callable[[Tensor], int]


def generate(reader: Reader, beginning: list[int], count: int, choose: Choose) -> Iterator[int]:
    """Symbols that go on from a beginning, one at a time.

    Args:
        reader: Of the model, new, of one text.
        beginning: Symbols before them, at least one.
        count: How many.
        choose: Picks a symbol by the logits `[classes]`.

    Raises:
        DivergedError: `choose` does, since the model predicts what is no number.
    """
    read = beginning
    for _ in range(count):
        symbol = choose(reader.read(torch.tensor([read]))[0])
        yield symbol
        read = [symbol]


def draw(temperature: float, top_k: int | None, source: torch.Generator) -> Choose:
    """Draws from the softmax of the logits.

    Args:
        temperature: What logits are divided by; 0 always takes the most likely symbol.
        top_k: How many of the most likely symbols are drawn from; None: all.
        source: Of the draws, on the CPU.

    Returns:
        What picks a symbol; it raises a `DivergedError` where no logit is the largest.

    Raises:
        ValueError: The temperature is below 0 or no number, or `top_k` no whole number above 0.
    """
    if not 0 <= temperature < math.inf:
        raise ValueError(f"temperature is {temperature}; it must be a number that is not below 0")
    if top_k is not None and not (isinstance(top_k, int) and top_k > 0):
        raise ValueError(f"top_k is {top_k}; it must be a whole number above 0, or None for all symbols")

    def choose(logits: Tensor) -> int:
        logits = logits.cpu().double()  # Apple's GPUs have no double precision
        if not bool(logits.max().isfinite()):
            raise no_number()
        if temperature == 0:
            return int(logits.argmax())
        best = logits.topk(min(top_k or len(logits), len(logits)))
        below = best.values - best.values[0]  # divided by next to nothing, the largest stays 0
        probabilities = (below / temperature).softmax(-1)
        return int(best.indices[torch.multinomial(probabilities, 1, generator=source)])

    return choose
