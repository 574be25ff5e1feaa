"""Associative recall, as the RUM papers define it."""

from functools import partial

import torch
from torch import Tensor

from rmem_cli.models.batch import Batch
from rmem_cli.seeding import generator
from rmem_cli.tasks.base import GeneratedTask
from rmem_cli.tasks.memory_config import AssociativeRecallSettings
from rmem_cli.tasks.training_set import TrainingSet

BLANK = 0
DIGITS = 10


class AssociativeRecall(GeneratedTask[Tensor]):
    """Read key-digit pairs, two blanks and one of the keys; name its digit.

    With a length of 6, that is, three pairs (keys 1 to 3, digits written d0 to d9, `.` a blank):

        inputs    2 d7 3 d0 1 d7 . . 3
        target                       0

    Loss and accuracy count the last step only.

    Every key from 1 to `length / 2` occurs once, in random order; digits are independent and uniform; the key
    asked for is uniform over the keys.

    Args:
        settings: All options.

    Source: Dangovski et al. 2017 (arXiv v1), section 4.2; the published code trains on 100,000 fixed
    examples.
    """

    def __init__(self, settings: AssociativeRecallSettings) -> None:
        self.pairs = settings.length // 2
        if settings.training_examples is not None:
            draw = partial(self.draw, settings.training_examples, split="training set", number=0)
            self.training_set = TrainingSet(settings.training_examples, draw)
        self.symbols = 1 + self.pairs + DIGITS
        self.classes = DIGITS

    def draw(self, count: int, seed: int, split: str, number: int) -> Tensor:
        """See `GeneratedTask.draw`; `[count, length + 4]` symbols, behind them the digit asked for."""
        source = generator(seed, "associative_recall", split, number)
        keys = torch.rand(count, self.pairs, generator=source).argsort(dim=1) + 1
        digits = torch.randint(DIGITS, (count, self.pairs), generator=source)
        asked = torch.randint(self.pairs, (count, 1), generator=source)
        told = torch.stack([keys, 1 + self.pairs + digits], 2).flatten(1)
        blanks = torch.full((count, 2), BLANK)
        return torch.cat([told, blanks, keys.gather(1, asked), digits.gather(1, asked)], 1)

    def batch(self, examples: Tensor) -> Batch:
        """See `GeneratedTask.batch`."""
        inputs = examples[:, :-1]
        targets = torch.zeros_like(inputs)
        targets[:, -1] = examples[:, -1]
        weight = torch.zeros(inputs.shape)
        weight[:, -1] = 1
        return Batch(inputs, targets, weight, fresh=torch.ones(len(inputs), dtype=torch.bool))
