"""How the loss depends on the parameters that turn a model's state: along a line, and over a plane.

All other weights keep the values that they start with, and the loss is that of the first training batch.
Source: the published code of Dangovski et al. 2019 (RUM-Tensorflow, `energy_landscape`).
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rmem_cli.evaluation.walk import walk
from rmem_cli.models.batch import Batch
from rmem_cli.models.model import Model
from rmem_cli.models.rotations import turning_parameters
from rmem_cli.seeding import generator

POINTS = 200  # of the line
SIDE = 20  # of the plane, in points
BOUND = 10.0  # of the numbers of the places that are drawn


@dataclass(frozen=True)
class Surface:
    """The loss over a plane, `p + a d + b e` of three drawn places.

    Attributes:
        at: a, and b.
        losses: One row for each b.
    """

    at: Sequence[float]
    losses: Sequence[Sequence[float]]


class LossLandscape:
    """The loss of a model on a batch as a function of the parameters that turn its state.

    Args:
        model: With the weights it starts with; it is put into evaluation mode, so that nothing is drawn.
        batch: What it reads, on its device.
        seed: Of the places that are drawn.
    """

    def __init__(self, model: Model, batch: Batch, seed: int) -> None:
        self.model = model.eval()
        self.batch = batch
        self.seed = seed
        self.parameters = turning_parameters(model)

    def line(self) -> list[tuple[float, float]]:
        """(share of the way, loss) on the way from one drawn place to another."""
        start, end = self._place("line", "start"), self._place("line", "end")
        shares = [index / POINTS for index in range(POINTS)]
        return [(share, self._loss(torch.lerp(start, end, share))) for share in shares]

    def plane(self) -> Surface:
        """The loss over a plane through a drawn place, along two drawn directions."""
        origin, first, second = (self._place("plane", name) for name in ("origin", "first", "second"))
        at = [index / SIDE for index in range(SIDE)]
        return Surface(at, [[self._loss(origin + a * first + b * second) for a in at] for b in at])

    def _place(self, *purpose: str) -> Tensor:
        """A vector of all parameters, each uniform."""
        count = sum(parameter.numel() for parameter in self.parameters)
        draws = torch.rand(count, generator=generator(self.seed, "landscape", *purpose), dtype=torch.double)
        return BOUND * (2 * draws - 1)

    @torch.no_grad()
    def _loss(self, place: Tensor) -> float:
        """In the unit of the training loss, the mean over all that counts; infinite where it is no number."""
        with _put(self.parameters, place):
            sums = [
                (result.nll_sum, result.weights.sum()) for _, result in walk(self.model, self.batch, None)
            ]
        loss = float(sum(nll for nll, _ in sums)) / float(sum(weight for _, weight in sums))
        return loss if math.isfinite(loss) else math.inf


@contextmanager
def _put(parameters: Sequence[nn.Parameter], place: Tensor) -> Iterator[None]:
    """Inside, parameters have the numbers of a vector."""
    before = [parameter.detach().clone() for parameter in parameters]
    parts = torch.split(place, [parameter.numel() for parameter in parameters])
    try:
        for parameter, part in zip(parameters, parts, strict=True):
            parameter.copy_(part.view_as(parameter))
        yield
    finally:
        for parameter, value in zip(parameters, before, strict=True):
            parameter.copy_(value)
