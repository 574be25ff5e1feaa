"""Batches in shares of their rows: by several processes, and by each of them one after the other."""

from collections.abc import Sequence
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from rmem_cli.models.batch import Batch
from rmem_cli.models.model import Model
from rmem_cli.models.state import State, on_device
from rmem_cli.ops import autocast
from rmem_cli.recipe.schema import TrainSettings
from rmem_cli.training.backprop import Gradient, TrainingStep, build_backprop
from rmem_cli.world import World


class Share:
    """Some rows of every batch, with what goes on from batch to batch.

    Args:
        world: Which rows, as if a process had them for itself.
        train: Settings of the training.
        carries: Whether the state goes on from one batch to the next, where this does not start afresh.

    Attributes:
        state: State before the next batch; None: it starts afresh.
    """

    def __init__(self, world: World, train: TrainSettings, carries: bool) -> None:
        self._world, self._train, self._carries = world, train, carries
        self.forget()

    def forget(self) -> None:
        """Let the next batch start afresh."""
        self.state: State | None = None
        self._backprop = build_backprop(self._train.backprop)

    def gradient(self, model: Model, batch: Batch, seed: int, step: int) -> Gradient:
        """Add what these rows have in the gradient of a whole batch to the parameters.

        Args:
            model: In training mode.
            batch: All rows, on the CPU.
            seed: Of the run.
            step: Number of the batch.
        """
        if bool(batch.fresh.all()):
            self.forget()
        weight = next(model.parameters())
        rows = batch.rows(self._world.rows(len(batch.fresh))).to(weight.device, weight.dtype)
        at = TrainingStep(seed, step, self._world.rank)
        lower = autocast.lower_type(self._train.precision)
        gradient = self._backprop.gradient(
            model, rows, self.state, self._train.loss, at, whole=batch, lower=lower
        )
        self.state = gradient.state
        if not self._carries:
            self.forget()
        return gradient

    def state_dict(self) -> dict[str, Any]:
        """What goes on, of these rows."""
        return {"backprop": self._backprop.state_dict(), "state": self.state}

    def load_state_dict(self, whole: dict[str, Any], device: torch.device) -> None:
        """Go on from what `state_dict` says of all rows.

        Raises:
            ValueError: It is not of this form of back-propagation.
        """
        rows = self._world.rows(self._train.batch_size)
        self._backprop.load_state_dict(parted(whole["backprop"], rows))
        state = parted(whole["state"], rows)
        self.state = None if state is None else on_device(state, device)


def parted(value: Any, rows: slice) -> Any:
    """Some rows of all tensors in dicts and lists."""
    if isinstance(value, Tensor):
        return value[rows]
    if isinstance(value, dict):
        return {key: parted(item, rows) for key, item in value.items()}
    return [parted(item, rows) for item in value] if isinstance(value, list) else value


def joined(values: Sequence[Any]) -> Any:
    """The rows of several that are alike, below one another on the CPU: of all tensors in dicts and lists."""
    first = values[0]
    if isinstance(first, Tensor):
        return torch.cat([value.cpu() for value in values])
    if isinstance(first, dict):
        return {key: joined([value[key] for value in values]) for key in first}
    return [joined(items) for items in zip(*values, strict=True)] if isinstance(first, list) else first


def add_gradients(world: World, parameters: Sequence[Tensor], sums: Tensor) -> Tensor:
    """Replace gradients by their sums over all processes, in one reduction.

    Args:
        world: The processes.
        parameters: All of the model's; one that has a gradient nowhere keeps none.
        sums: `[n]`, further numbers to add up.

    Returns:
        `[n]`, the sums.
    """
    if world.size == 1:
        return sums
    has = world.any([parameter.grad is not None for parameter in parameters])
    used = [parameter for parameter, some in zip(parameters, has, strict=True) if some]
    pieces = (torch.zeros_like(each) if each.grad is None else each.grad for each in used)
    flat = torch.cat([piece.flatten() for piece in chain(pieces, [sums])])
    world.add(flat)
    *gradients, sums = torch.split(flat, [*(each.numel() for each in used), len(sums)])
    for parameter, gradient in zip(used, gradients, strict=True):
        parameter.grad = gradient.view_as(parameter)
    return sums
