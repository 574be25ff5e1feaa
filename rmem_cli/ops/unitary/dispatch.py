"""Which form of a recurrence with a unitary matrix runs."""

from torch import Tensor

from rmem_cli.ops import autocast
from rmem_cli.ops.unitary import fast
from rmem_cli.ops.unitary.options import EUNNWeights, GORUOptions, GORUWeights, Unitary


def form(*tensors: Tensor) -> str:  # noqa: ARG001
    """`native` where these can be computed with natively, else `fast`."""
    return "fast"


@autocast.in_single_precision
def eunn(x: Tensor, hidden: Tensor, weights: EUNNWeights, unitary: Unitary) -> Tensor:
    """One layer of an EUNN over a sequence; arguments and result are those of `reference.eunn`."""
    return fast.eunn(x, hidden, weights, unitary)


@autocast.in_single_precision
def goru(
    x: Tensor, hidden: Tensor, weights: GORUWeights, options: GORUOptions, keep: Tensor | None = None
) -> Tensor:
    """One layer of a GORU over a sequence; arguments and result are those of `reference.goru`."""
    return fast.goru(x, hidden, weights, options, keep)
