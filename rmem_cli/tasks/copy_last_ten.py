"""The copy task, as the UR-LSTM paper defines it."""

from dataclasses import replace

import torch
from torch import Tensor

from rmem_cli.models.batch import Batch
from rmem_cli.tasks.copying_memory import CopyingMemory
from rmem_cli.tasks.memory_config import CopyingMemorySettings, CopyLastTenSettings


class CopyLastTen(CopyingMemory):
    """Remember ten of eight symbols over `length` blank steps, then repeat them; only the repeating counts.

    The sequences are those of `copying_memory`. The difference is the loss: there it counts every step, and a
    model without memory comes near zero by naming the blank; here it counts the last ten steps alone, and
    such a model stays at ln 8.

    With a length of 5, and three symbols instead of ten (`*` is the marker, `.` a blank):

        inputs    4 1 7 . . . . * . . .
        targets                   4 1 7

    Args:
        settings: All options; a sequence has `length + 20` steps.

    Source: Gu et al. 2020, section 5.1 and appendix D.
    """

    def __init__(self, settings: CopyLastTenSettings) -> None:
        super().__init__(CopyingMemorySettings(length=settings.length))

    def batch(self, examples: Tensor) -> Batch:
        """See `GeneratedTask.batch`."""
        batch = super().batch(examples)
        assert batch.answer is not None  # noqa: S101  it has one
        return replace(batch, weight=batch.answer.to(torch.get_default_dtype()), answer=None)
