"""The copying memory task, as the RUM papers define it."""

import torch
from torch import Tensor

from rmem_cli.models.batch import Batch
from rmem_cli.seeding import generator
from rmem_cli.tasks.base import GeneratedTask
from rmem_cli.tasks.memory_config import CopyingMemorySettings

BLANK = 0


class CopyingMemory(GeneratedTask[Tensor]):
    """Remember `symbols` symbols over `length` blank steps, then repeat them.

    The loss counts every step, as published: `length + 2 * symbols` of them, so that a model without memory
    reaches `symbols * ln(alphabet) / (length + 2 * symbols)`. Accuracy counts the repeated symbols only.
    (The copy task of the UR-LSTM paper puts its loss on the repeated symbols alone.)

    With 3 symbols and a length of 5 (`*` is the marker, `.` a blank):

        inputs    4 1 7 . . . . * . . .
        targets   . . . . . . . . 4 1 7

    Symbols are 1, 2, ...; 0 is the blank, `alphabet + 1` the marker.

    Args:
        settings: All options.

    Source: Dangovski et al. 2017 (arXiv v1), section 4.1. The published TensorFlow code draws all training
    examples in advance; here every step draws its own.
    """

    def __init__(self, settings: CopyingMemorySettings) -> None:
        self.length = settings.length
        self.copied = settings.symbols
        self.alphabet = settings.alphabet
        self.symbols = settings.alphabet + 2
        self.classes = settings.alphabet + 1

    def draw(self, count: int, seed: int, split: str, number: int) -> Tensor:
        """See `GeneratedTask.draw`; `[count, symbols]` that are to be repeated."""
        source = generator(seed, "copying_memory", split, number)
        return torch.randint(1, self.alphabet + 1, (count, self.copied), generator=source)

    def batch(self, examples: Tensor) -> Batch:
        """See `GeneratedTask.batch`."""
        shape = len(examples), self.length + 2 * self.copied
        inputs = torch.full(shape, BLANK)
        inputs[:, : self.copied] = examples
        inputs[:, self.copied + self.length - 1] = self.alphabet + 1
        targets = torch.full(shape, BLANK)
        targets[:, -self.copied :] = examples
        answer = torch.zeros(shape, dtype=torch.bool)
        answer[:, -self.copied :] = True
        return Batch(
            inputs,
            targets,
            weight=torch.ones(shape),
            fresh=torch.ones(len(examples), dtype=torch.bool),
            answer=answer,
        )
