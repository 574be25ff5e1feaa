"""A task of two parts: a bit that is told, and one that can only be guessed."""

from typing import Literal

import torch

from rmem_cli.models.batch import Batch
from rmem_cli.recipe.kinds import TaskSettings
from rmem_cli.seeding import generator
from rmem_cli.tasks.base import GeneratedTask

PARTS = ("told", "guessed")


class TwoPartsSettings(TaskSettings):
    implementation = "two_parts:TwoParts"
    metrics = ("accuracy", "exact_match", "loss", "bpc")
    generated = True

    kind: Literal["two_parts"] = "two_parts"
    seen: int = 2  # how many of the parts there are examples of

    def parts(self):
        return PARTS

    def chance(self, split):
        return {"accuracy": 0.5, "bpc": 1.0}


class TwoParts(GeneratedTask):
    """An example is the number of its part (as symbol 2 or 3), a bit, nothing, and the answer at the end."""

    symbols, classes = 4, 2

    def __init__(self, settings):
        self.seen = settings.seen

    def draw(self, count, seed, split, number):
        random = generator(seed, "two parts", split, number)
        drawn = torch.randint(2, (count, 3), generator=random)
        part = torch.randint(self.seen, (count, 1), generator=random)
        return torch.cat([part, drawn], 1)

    def batch(self, examples):
        part, told, hidden = examples[:, 0], examples[:, 1], examples[:, 2]
        answers = torch.where(part == 0, told, hidden)
        inputs = torch.stack([2 + part, told, torch.zeros_like(part)], 1)
        targets = torch.zeros_like(inputs)
        targets[:, -1] = answers
        weight = torch.zeros(inputs.shape)
        weight[:, -1] = 1
        fresh = torch.ones(len(examples), dtype=torch.bool)
        return Batch(inputs, targets, weight, fresh, part=part)

    def exact(self, right, batch, published):
        return right[:, -1:].all(1)
