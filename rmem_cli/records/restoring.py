"""What a checkpoint holds is that of the run that goes on from it, or it is refused.

Its hash says that it is what was written, and not by whom: of another run, or of another version, it may have
tensors and numbers that would do, or fail only later. Each function here raises a `ValueError` that says what
does not fit; `rmem_cli.records.checkpoint.fitting` makes a sentence of it.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from rmem_cli.models.batch import Batch
from rmem_cli.models.state import State


def load_weights(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Put weights into a model whose they are, by their names, shapes and types."""
    expected = model.state_dict()
    _check_names("weights", weights, expected)
    for name, tensor in weights.items():
        _check_tensor(name, tensor, expected[name].shape, expected[name].dtype)
    model.load_state_dict(weights)


def load_optimizer(
    optimizer: Optimizer, saved: Any, build: Callable[[list[Tensor]], Optimizer], step: int
) -> None:
    """Put a saved state into an optimizer with the same parameters.

    Args:
        optimizer: New.
        saved: Its `state_dict`.
        build: Makes another one like it, of other parameters.
        step: Updates done: after the first, there is something to remember.
    """
    own = optimizer.state_dict()
    _check_names("optimizer", saved, own)
    _check_groups(saved["param_groups"], own["param_groups"])
    parameters = [each for group in optimizer.param_groups for each in group["params"]]
    entry = _entry(build, parameters[0].dtype)
    if entry and step and not saved["state"]:
        raise ValueError("the optimizer remembers nothing")
    for number, values in saved["state"].items():
        if type(number) is not int or not 0 <= number < len(parameters):
            raise ValueError("the optimizer has no such parameter")
        _check_names(f"optimizer state {number}", values, entry)
        for name, value in values.items():
            _check_like(f"optimizer state {number} {name}", value, entry[name], parameters[number].shape)
    optimizer.load_state_dict(saved)


def check_state(state: Any, initial: State) -> None:
    """A recurrent state has the entries of the first one, for as many rows; a cache may have grown."""
    _check_names("state", state, initial)
    for name, value in state.items():
        expected = initial[name]
        if not isinstance(value, Tensor) or value.dtype != expected.dtype or value.dim() != expected.dim():
            raise ValueError(f"the state {name} is not one of this model")
        if value.shape[0] != expected.shape[0] or value.shape[-1:] != expected.shape[-1:]:
            raise ValueError(f"the state {name} has the shape {list(value.shape)}")


def check_segment(segment: Batch, like: Batch, symbols: int, classes: int) -> None:
    """A segment has the rows and types of those that are read now, and no symbol that is unknown."""
    steps = segment.inputs.shape[1]
    for name in ("inputs", "targets", "weight"):
        value, expected = getattr(segment, name), getattr(like, name)
        shape = torch.Size([expected.shape[0], steps, *expected.shape[2:]])
        _check_tensor(name, value, shape, value.dtype if name == "weight" else expected.dtype)
    rows = like.fresh.shape
    _check_tensor("fresh", segment.fresh, rows, torch.bool)
    of_rows = {"lengths": torch.int64, "part": torch.int64, "question": torch.int64}
    for name, dtype in {"answer": torch.bool, "reset": torch.bool, **of_rows}.items():
        value = getattr(segment, name)
        if value is not None:
            _check_tensor(name, value, rows if name in of_rows else torch.Size([*rows, steps]), dtype)
    none = -1 if segment.inputs.dim() > segment.targets.dim() else 0  # where a step is several symbols
    for name, least, count in (("inputs", none, symbols), ("targets", 0, classes)):
        value = getattr(segment, name)
        if not value.is_floating_point() and not bool(((value >= least) & (value < count)).all()):
            raise ValueError(f"{name} are not symbols")


def check_numbers(name: str, saved: Any, own: Mapping[str, Any], most: int) -> None:
    """As many numbers of the same names and types, none undefined; whole ones count up to `most`."""
    _check_names(name, saved, own)
    for key, value in saved.items():
        possible = type(value) is type(own[key]) and not math.isnan(value)
        if not possible or (type(value) is int and not 0 <= value <= most):
            raise ValueError(f"{name} {key} is not a number that it can be")


def _check_names(what: str, found: Any, expected: Mapping[Any, Any]) -> None:
    if not isinstance(found, Mapping) or found.keys() != expected.keys():
        raise ValueError(f"its {what} has not the entries of this run")


def _check_tensor(name: str, found: Any, shape: torch.Size, dtype: torch.dtype) -> None:
    if not isinstance(found, Tensor):
        raise ValueError(f"{name} is no tensor")
    if found.shape != shape or found.dtype != dtype:
        raise ValueError(f"{name} is {list(found.shape)} of {found.dtype}, not {list(shape)} of {dtype}")


def _check_groups(found: Any, expected: list[dict[str, Any]]) -> None:
    """The groups of an optimizer; the learning rate is that of the schedule at every step."""
    rates = [{**group, "lr": None} for group in expected]
    if not isinstance(found, list) or [{**group, "lr": None} for group in found] != rates:
        raise ValueError("its optimizer has other groups or settings")


def _check_like(name: str, found: Any, expected: Any, shape: torch.Size) -> None:
    if isinstance(expected, Tensor):
        _check_tensor(name, found, shape if expected.dim() else expected.shape, expected.dtype)
    elif type(found) is not type(expected):
        raise ValueError(f"{name} is of another type")


def _entry(build: Callable[[list[Tensor]], Optimizer], dtype: torch.dtype) -> dict[str, Any]:
    """What an optimizer remembers of a parameter: tried on one of a single number."""
    parameter = torch.zeros(1, dtype=dtype, requires_grad=True)
    parameter.grad = torch.zeros_like(parameter)
    optimizer = build([parameter])
    optimizer.step()
    return dict(optimizer.state[parameter])
