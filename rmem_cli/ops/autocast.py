"""What `torch.autocast` does to operations written by hand, as torch's own policies have it.

Recurrences are computed in single precision, as their rounding adds up over the steps, and so are norms.
Products and attention are computed in the lower precision. Within an operation, torch changes nothing.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor

_P = ParamSpec("_P")
_R = TypeVar("_R")


def lower_type(precision: str) -> torch.dtype | None:
    """To what a precision of `train.precision` lowers products and attention; None: it does not."""
    return torch.bfloat16 if precision == "bf16" else None


def lowering(dtype: torch.dtype | None, device: str) -> AbstractContextManager[object]:
    """Meanwhile, products and attention on a type of device are lowered to this; None: nothing is."""
    return nullcontext() if dtype is None else torch.autocast(device, dtype)


def in_single_precision(operation: Callable[_P, _R]) -> Callable[_P, _R]:
    """Under autocast, an operation takes its arguments in float32 and gives float32."""
    return _under_autocast(operation, lambda _: torch.float32)


def in_lower_precision(operation: Callable[_P, _R]) -> Callable[_P, _R]:
    """Under autocast, an operation takes its arguments in the lower precision and gives that."""
    return _under_autocast(operation, torch.get_autocast_dtype)


def as_it_is(backward: Callable[_P, _R]) -> Callable[_P, _R]:
    """Under autocast, a backward pass takes its gradients as they are and is not cast within."""
    return _under_autocast(backward, lambda _: None)


def single_precision(x: Tensor) -> Tensor:
    """Under autocast, `x` in float32 if it is less: what is added up over layers or segments."""
    return x.float() if x.itemsize < 4 and enabled(x.device.type) else x


def enabled(device: str) -> bool:
    """Whether autocast is on for a type of device; for tensors without values, it is not."""
    return device != "meta" and torch.is_autocast_enabled(device)


def _under_autocast(
    operation: Callable[_P, _R], dtype_for: Callable[[str], torch.dtype | None]
) -> Callable[_P, _R]:
    @wraps(operation)
    def run(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        device = next((each.device.type for each in args if isinstance(each, Tensor)), "meta")
        if not enabled(device):
            return operation(*args, **kwargs)
        dtype = dtype_for(device)
        with torch.autocast(device, enabled=False):
            if dtype is None:
                return operation(*args, **kwargs)
            cast = {name: _cast(each, dtype) for name, each in kwargs.items()}
            return operation(*(_cast(each, dtype) for each in args), **cast)

    return run


def _cast(value: Any, dtype: torch.dtype) -> Any:
    """Of a tensor of floats, or of each in a named tuple; all else, and double precision, stays."""
    if isinstance(value, Tensor):
        return value.to(dtype) if value.is_floating_point() and value.dtype != torch.float64 else value
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(_cast(each, dtype) for each in value))
    return value
