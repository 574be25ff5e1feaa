"""The angles by which a trained model turns its state, step by step."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rmem_cli.evaluation.walk import walk
from rmem_cli.models.batch import Batch
from rmem_cli.models.model import Model
from rmem_cli.models.rotations import cosines_of_rotations

_TENTH = 0.1


@dataclass(frozen=True)
class Angles:
    """Of the rotations of one layer, over the rows of a batch, in degrees; one number for each step.

    Attributes:
        mean: The mean.
        low: What a tenth of them lies below.
        high: What a tenth of them lies above.
    """

    mean: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]


@torch.no_grad()
def rotation_angles(model: Model, batch: Batch) -> list[Angles]:
    """The angles of each layer of rotational units, from the lowest, while a model reads a batch.

    Args:
        model: In evaluation mode.
        batch: On its device; a step counts for a row up to its length.

    Returns:
        One for each layer; nothing for a model without rotational units.
    """
    with cosines_of_rotations(model) as cosines:
        for _ in walk(model, batch, None):
            pass
    return [_angles(torch.cat(layer, dim=1), batch.lengths) for layer in cosines]


def _angles(cosines: Tensor, lengths: Tensor | None) -> Angles:
    degrees = torch.rad2deg(torch.acos(cosines.cpu().double().clamp(-1, 1)))  # [batch, time]
    if lengths is not None:
        steps = torch.arange(degrees.shape[1])
        degrees = degrees.masked_fill(steps >= lengths.cpu()[:, None], math.nan)
    low, high = degrees.nanquantile(torch.tensor([_TENTH, 1 - _TENTH], dtype=torch.double), dim=0)
    return Angles(degrees.nanmean(0).tolist(), low.tolist(), high.tolist())
