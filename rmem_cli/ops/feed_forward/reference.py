"""The feed-forward parts of transformers, as their equations are written.

Sources: Vaswani et al. 2017, equation 2 (`relu`); Shazeer 2020, section 2 (`gated_gelu`).
"""

from torch import Tensor
from torch.nn import functional

from rmem_cli.ops.root_mean_square_norm.reference import normalize


def relu(
    x: Tensor,
    inner_weight: Tensor,
    inner_bias: Tensor,
    outer_weight: Tensor,
    outer_bias: Tensor,
    dropout: float = 0.0,
) -> Tensor:
    """Two linear maps with a rectifier between them: y = W_o max(0, W_i x + b_i) + b_o.

    Args:
        x: `[..., hidden]`.
        inner_weight: W_i, `[inner, hidden]`.
        inner_bias: b_i, `[inner]`.
        outer_weight: W_o, `[hidden, inner]`.
        outer_bias: b_o, `[hidden]`.
        dropout: Probability of dropping an inner unit.

    Returns:
        `[..., hidden]`.
    """
    inner = functional.linear(x, inner_weight, inner_bias).relu()
    return functional.linear(functional.dropout(inner, dropout), outer_weight, outer_bias)


def gated_gelu(
    x: Tensor, gain: Tensor, inner_weight: Tensor, outer_weight: Tensor, dropout: float = 0.0
) -> Tensor:
    """Gated by a GELU, without biases, behind a norm: `W_o (v * gelu(z))` with `[v, z] = W_i norm(x)`.

    Args:
        x: `[..., hidden]`.
        gain: Of the root mean square norm, `[hidden]`.
        inner_weight: W_i, `[2 * inner, hidden]`: the values' rows, then the gates'.
        outer_weight: W_o, `[hidden, inner]`.
        dropout: Probability of dropping an inner unit.

    Returns:
        `[..., hidden]`.
    """
    values, gates = functional.linear(normalize(x, gain), inner_weight).chunk(2, dim=-1)
    return functional.linear(functional.dropout(values * functional.gelu(gates), dropout), outer_weight)
