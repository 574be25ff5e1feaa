"""What of a model turns its state, and by which angles."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn

from rmem_cli.models.cores.base import Core
from rmem_cli.models.cores.rum import RUM
from rmem_cli.ops.rotation.options import RUMResult


def turning_parameters(model: nn.Module) -> list[nn.Parameter]:
    """The parameters that turn the states of all cores of a model; see `Core.turning_parameters`.

    Args:
        model: Any.
    """
    cores = [module for module in model.modules() if isinstance(module, Core)]
    return [parameter for core in cores for parameter in core.turning_parameters()]


@contextmanager
def cosines_of_rotations(model: nn.Module) -> Iterator[list[list[Tensor]]]:
    """Inside, what the model reads leaves the cosine of the angle of each rotation.

    Args:
        model: Any; it computes the same as ever.

    Yields:
        For each layer of rotational units, from the lowest, the cosines of all that it has read so far, one
        tensor `[batch, time]` for each time that it was called; nothing for a model without such layers.
    """
    layers = [layer for core in model.modules() if isinstance(core, RUM) for layer in core.layers]
    found: list[list[Tensor]] = [[] for _ in layers]

    def keep(place: int, result: RUMResult) -> None:
        found[place].append(result.cosines)

    hooks = [
        layer.register_forward_hook(lambda _, __, result, place=place: keep(place, result))
        for place, layer in enumerate(layers)
    ]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()
