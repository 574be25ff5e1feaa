"""Positions as numbers that attention can use."""

from typing import NamedTuple

import torch
from torch import Tensor


def sinusoids(distances: Tensor, size: int) -> Tensor:
    """`[n]` distances, whole or not, of either sign, to `[n, size]`: all sines, then all cosines.

    Feature i and feature `size / 2 + i` turn with the frequency `10000^(-2 i / size)`.

    Source: Vaswani et al. 2017, section 3.5; in the order of Dai et al. 2019.
    """
    frequencies = 10000.0 ** (
        -torch.arange(0, size, 2, dtype=distances.dtype, device=distances.device) / size
    )
    angles = distances[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=-1)[:, :size]


def distances_back(
    keys: int, later: int, clamp: int | None, device: torch.device, dtype: torch.dtype
) -> Tensor:
    """`keys - 1, ..., 1, 0, -1, ..., -later`: how far back from the last query each row of a table lies.

    Args:
        keys: How many keys there are.
        later: How many rows to add for keys that lie after their query.
        clamp: Largest distance that is told from others; None for no bound.
        device: Of the result.
        dtype: Of the result.
    """
    distances = torch.arange(keys - 1, -later - 1, -1, device=device, dtype=dtype)
    return distances if clamp is None else distances.clamp(-clamp, clamp)


class RotaryAngles(NamedTuple):
    """Angles by which the pairs of a vector are turned, `[..., n, size]`, as their cosines and sines."""

    cosines: Tensor
    sines: Tensor


def rotary_angles(positions: Tensor, size: int, theta: float, dtype: torch.dtype) -> RotaryAngles:
    """`[..., n]` whole numbers to turns of `size / 2` frequencies, written twice.

    Frequency i is `theta^(-2 i / size)`. Angles are float32 whatever the result, as in lucidrains' package:
    at positions of many thousands, their rounding shows.

    Source: Su et al. 2021, with the two halves of a vector as the pairs.
    """
    exponents = torch.arange(0, size, 2, dtype=torch.float32, device=positions.device) / size
    angles = positions.unsqueeze(-1).float() * (1 / theta**exponents)
    angles = torch.cat([angles, angles], dim=-1)
    return RotaryAngles(angles.cos().to(dtype), angles.sin().to(dtype))


def apply_rotary(x: Tensor, rotary: RotaryAngles) -> Tensor:
    """Turn unit i of the first half of `x [..., n, size]` with unit i of the second."""
    first, second = x.chunk(2, dim=-1)
    return x * rotary.cosines + torch.cat([-second, first], dim=-1) * rotary.sines
