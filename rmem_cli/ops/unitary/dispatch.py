"""Which form of a recurrence with a unitary matrix runs."""

from torch import Tensor

from rmem_cli.ops import autocast
from rmem_cli.ops.native import build
from rmem_cli.ops.unitary import fast, native
from rmem_cli.ops.unitary.options import EUNNWeights, GORUOptions, GORUWeights, Unitary


def form(*tensors: Tensor) -> str:
    """`native` where these can be computed with natively, else `fast`."""
    return "native" if build.usable("unitary", *tensors) else "fast"


@autocast.in_single_precision
def eunn(x: Tensor, hidden: Tensor, weights: EUNNWeights, unitary: Unitary) -> Tensor:
    """One layer of an EUNN over a sequence; arguments and result are those of `reference.eunn`."""
    if form(x, hidden, weights.input) == "native":
        return native.eunn(x, hidden, weights, unitary)
    return fast.eunn(x, hidden, weights, unitary)


@autocast.in_single_precision
def goru(
    x: Tensor, hidden: Tensor, weights: GORUWeights, options: GORUOptions, keep: Tensor | None = None
) -> Tensor:
    """One layer of a GORU over a sequence; arguments and result are those of `reference.goru`."""
    if form(x, hidden, weights.input) == "native":
        return native.goru(x, hidden, weights, options, keep)
    return fast.goru(x, hidden, weights, options, keep)
