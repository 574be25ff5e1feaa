"""The adding task."""

import torch
from torch import Tensor

from rmem_cli.models.batch import Batch
from rmem_cli.seeding import generator
from rmem_cli.tasks.base import GeneratedTask
from rmem_cli.tasks.memory_config import AddingSettings


class Adding(GeneratedTask[Tensor]):
    """Read a value and a marker at each step; at the last one, name the sum of the two marked values.

    One step of each half is marked. The loss is the squared error at the last step; a model without memory
    can do no better than always say 1, which costs 1/6. With a length of 6:

        values    0.4 0.9 0.3 0.5 0.1 0.8
        markers    0   1   0   0   1   0
        target                        1.0

    Values are uniform in [0, 1); each step of a half is as likely to be marked as any other of that half, of
    which the second has one step more if the length is odd.

    Args:
        settings: All options.

    Source: Hochreiter and Schmidhuber 1997, in the form of Arjovsky et al. 2016, section 4.2.
    """

    symbols = 2
    classes = 1

    def __init__(self, settings: AddingSettings) -> None:
        self.length = settings.length

    def draw(self, count: int, seed: int, split: str, number: int) -> Tensor:
        """See `GeneratedTask.draw`; `[count, length, 2]` values and markers."""
        source = generator(seed, "adding", split, number)
        half = self.length // 2
        values = torch.rand(count, self.length, generator=source)
        first = torch.randint(half, (count, 1), generator=source)
        second = torch.randint(half, self.length, (count, 1), generator=source)
        markers = torch.zeros_like(values).scatter(1, torch.cat([first, second], 1), 1.0)
        return torch.stack([values, markers], -1)

    def batch(self, examples: Tensor) -> Batch:
        """See `GeneratedTask.batch`."""
        values, markers = examples.unbind(-1)
        targets = torch.zeros_like(values)
        targets[:, -1] = (values * markers).sum(1)
        weight = torch.zeros_like(values)
        weight[:, -1] = 1
        return Batch(examples, targets, weight, fresh=torch.ones(len(examples), dtype=torch.bool))
