"""Models whose numbers have no memory: their operations give shapes alone."""

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

_PLAIN = (bool, int, float, str, type(None), torch.dtype, torch.device, torch.layout, torch.memory_format)


class KnownShapes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Inside, what an operation on tensors without memory gives is worked out once for all operands alike.

    Torch does that in Python, and the layers of a model, and the models of a recipe, ask for the same again
    and again. What changes a tensor in place finds no numbers to change.
    """

    _known: ClassVar[dict[Any, Any]] = {}

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        del types
        kwargs = kwargs or {}
        if _only_writes(func) and args[0].is_meta:
            return args[0]
        operands = (args, *kwargs.items())
        if not _gives_new(func) or not _is_described(operands):
            return func(*args, **kwargs)
        key = func, _described(operands)
        if key in self._known:
            return _made(self._known[key])
        given = func(*args, **kwargs)
        if _is_described(given) and _is_whole(given):
            self._known[key] = _described(given)
        return given


def _only_writes(func: Any) -> bool:
    return torch.Tag.inplace in func.tags and torch.Tag.inplace_view not in func.tags


def _gives_new(func: Any) -> bool:
    """Whether nothing that it gives shares memory with an operand."""
    return all(operand.alias_info is None for operand in func._schema.arguments)


def _is_described(value: Any) -> bool:
    if isinstance(value, Tensor):
        return value.is_meta
    if isinstance(value, tuple | list):
        return all(map(_is_described, value))
    return isinstance(value, _PLAIN)


def _is_whole(value: Any) -> bool:
    """Whether what `_made` makes of it has as much memory."""
    if isinstance(value, Tensor):
        made = _made(_described(value))
        return bool(value.untyped_storage().nbytes() == made.untyped_storage().nbytes())
    return not isinstance(value, tuple | list) or all(map(_is_whole, value))


def _described(value: Any) -> Any:
    """Hashable, and equal for what an operation treats alike."""
    if isinstance(value, Tensor):
        return Tensor, value.shape, value.stride(), value.dtype
    if isinstance(value, tuple | list):
        return type(value), *map(_described, value)
    return type(value), value


def _made(description: Any) -> Any:
    kind, *rest = description
    if kind is Tensor:
        shape, stride, dtype = rest
        return torch.empty_strided(shape, stride, dtype=dtype, device="meta")
    return kind(map(_made, rest)) if kind in (tuple, list) else rest[0]
