"""Associative recall, as the RUM papers define it."""

import torch

from rmem_cli.models.batch import Batch
from rmem_cli.seeding import generator
from rmem_cli.tasks.base import GeneratedTask
from rmem_cli.tasks.config import AssociativeRecallSettings

BLANK = 0
DIGITS = 10


class AssociativeRecall(GeneratedTask):
    """Read key-digit pairs, two blanks and one of the keys; name its digit.

    With a length of 6, that is, three pairs (keys 1 to 3, digits written d0 to d9, `.` a blank):

        inputs    2 d7 3 d0 1 d7 . . 3
        target                       0

    Loss and accuracy count the last step only.

    Args:
        length: Twice the number of pairs. Every key from 1 to `length / 2` occurs once, in random order;
            digits are independent and uniform; the key asked for is uniform over the keys.

    Source: Dangovski et al. 2019, section 4.2. The published code trains on 100,000 fixed examples; here
    every step draws its own.
    """

    def __init__(self, length: int) -> None:
        self.pairs = length // 2
        self.symbols = 1 + self.pairs + DIGITS
        self.classes = DIGITS

    @classmethod
    def from_settings(cls, settings: AssociativeRecallSettings) -> "AssociativeRecall":
        """The task that a recipe describes."""
        return cls(settings.length)

    def make(self, batch_size: int, seed: int, split: str, step: int) -> Batch:
        """Examples number `step` of a split."""
        source = generator(seed, "associative_recall", split, step)
        keys = torch.rand(batch_size, self.pairs, generator=source).argsort(dim=1) + 1
        digits = torch.randint(DIGITS, (batch_size, self.pairs), generator=source)
        asked = torch.randint(self.pairs, (batch_size, 1), generator=source)
        time = 2 * self.pairs + 3
        inputs = torch.full((batch_size, time), BLANK)
        inputs[:, 0 : 2 * self.pairs : 2] = keys
        inputs[:, 1 : 2 * self.pairs : 2] = 1 + self.pairs + digits
        inputs[:, -1:] = keys.gather(1, asked)
        targets = torch.zeros(batch_size, time, dtype=torch.long)
        targets[:, -1:] = digits.gather(1, asked)
        weight = torch.zeros(batch_size, time)
        weight[:, -1] = 1
        return Batch(inputs, targets, weight, fresh=torch.ones(batch_size, dtype=torch.bool))
