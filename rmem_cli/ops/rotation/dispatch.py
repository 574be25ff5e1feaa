"""Which form of the rotational unit of memory runs."""

from torch import Tensor

from rmem_cli.ops import autocast
from rmem_cli.ops.native import build
from rmem_cli.ops.rotation import fast, native
from rmem_cli.ops.rotation.options import RUMOptions, RUMResult, RUMWeights


def form(*tensors: Tensor) -> str:
    """`native` where these can be computed with natively, else `fast`."""
    return "native" if build.usable("rotation", *tensors) else "fast"


@autocast.in_single_precision
def rum(
    x: Tensor,
    hidden: Tensor,
    memory: Tensor | None,
    weights: RUMWeights,
    options: RUMOptions,
    keep: Tensor | None = None,
    active: Tensor | None = None,
) -> RUMResult:
    """One layer over a sequence; arguments and result are those of `reference.rum`."""
    tensors = [x, hidden, weights.target.kernel, *([] if memory is None else [memory])]
    if form(*tensors) == "native":
        return native.rum(x, hidden, memory, weights, options, keep, active)
    return fast.rum(x, hidden, memory, weights, options, keep, active)
