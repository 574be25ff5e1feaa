"""The rotational unit of memory, equation by equation; slow, and undefined where the paper's formulas are.

Source: Dangovski et al. 2019, section 3. The README beside this file gives the notation.
"""

import torch
from torch import Tensor

from rmem_cli.ops.rotation.options import (
    ACTIVATIONS,
    LayerNormWeights,
    RUMOptions,
    RUMResult,
    RUMWeights,
    layer_norm,
)


def rotation_components(x: Tensor, y: Tensor, eps: float = 1e-12) -> tuple[Tensor, Tensor, Tensor]:
    """The plane of the rotation from `x` to `y` (`[..., n]` each) and the rotation in it.

    Returns:
        `u [..., n]`, `v [..., n]` and the matrix `[[cos, -sin], [sin, cos]]`, `[..., 2, 2]`.
    """
    u = _normalized(x, eps)
    y_unit = _normalized(y, eps)
    cosine = (u * y_unit).sum(-1)
    sine = torch.sqrt(1 - cosine**2)
    v = _normalized(y - (u * y).sum(-1, keepdim=True) * u, eps)
    rows = torch.stack([cosine, -sine, sine, cosine], dim=-1)
    return u, v, rows.view(*rows.shape[:-1], 2, 2)  # matrix as [..., 2, 2]


def rotation_operator(x: Tensor, y: Tensor, eps: float = 1e-12) -> Tensor:
    """The matrix `[..., n, n]` that turns `x` towards `y`, `[..., n]` each."""
    u, v, plane_rotation = rotation_components(x, y, eps)
    plane = torch.stack([u, v], dim=-1)
    identity = torch.eye(x.shape[-1], dtype=x.dtype, device=x.device)
    return identity - plane @ plane.mT + plane @ plane_rotation @ plane.mT


def rotate(x: Tensor, y: Tensor, h: Tensor, eps: float = 1e-12) -> Tensor:
    """`h [..., n]`, turned by the rotation from `x` to `y`."""
    return (rotation_operator(x, y, eps) @ h.unsqueeze(-1)).squeeze(-1)


def rum(
    x: Tensor,
    hidden: Tensor,
    memory: Tensor | None,
    weights: RUMWeights,
    options: RUMOptions,
    keep: Tensor | None = None,
    active: Tensor | None = None,
) -> RUMResult:
    """One layer over a sequence.

    Args:
        x: Inputs, `[batch, time, input]`.
        hidden: State before the first step, `[batch, hidden]`.
        memory: Associative memory before the first step, `[batch, hidden, hidden]`; None for lambda 0.
        weights: The layer's weights.
        options: The form of the recurrence.
        keep: Zoneout: the share of each new state that is let through, `[batch, time, hidden]` or a shape
            that broadcasts to it: zeros and ones in training, one number in evaluation; None: all of it.
        active: `[batch, time, 1]`, 1 where a step counts; elsewhere the state stays as it is. None: all
            count.
    """
    outputs, cosines = [], []
    for step in range(x.shape[1]):
        x_t = x[:, step]
        joined = torch.cat([x_t, hidden], dim=-1)
        target = weights.target(joined)
        if weights.layer_norm is not None:
            target = layer_norm(target, weights.layer_norm.target_gain, weights.layer_norm.target_bias)
        embedded = weights.embedding(x_t)
        if memory is None:
            rotated = rotate(embedded, target, hidden, options.eps)
        else:
            new_memory = memory @ rotation_operator(embedded, target, options.eps)
            rotated = (new_memory @ hidden.unsqueeze(-1)).squeeze(-1)
            memory = (
                new_memory
                if active is None
                else torch.where(active[:, step, :, None] > 0, new_memory, memory)
            )
        candidate = embedded + rotated
        if weights.layer_norm is not None:
            candidate = layer_norm(
                candidate, weights.layer_norm.candidate_gain, weights.layer_norm.candidate_bias
            )
        new = ACTIVATIONS[options.activation](candidate)
        if weights.gate is not None:
            gate = _update_gate(weights.gate(joined), weights.layer_norm, options)
            new = gate * hidden + (1 - gate) * new
        if options.eta is not None:
            new = options.eta * _of_length_one(new, options.eps)
        if keep is not None:
            new = keep[:, step] * new + (1 - keep[:, step]) * hidden
        hidden = new if active is None else torch.where(active[:, step] > 0, new, hidden)
        outputs.append(hidden)
        cosine = rotation_components(embedded, target, options.eps)[2][..., 0, 0]
        cosines.append(cosine if active is None else torch.where(active[:, step, 0] > 0, cosine, 1.0))
    return RUMResult(torch.stack(outputs, dim=1), hidden, memory, torch.stack(cosines, dim=1))


def _update_gate(gate: Tensor, weights: LayerNormWeights | None, options: RUMOptions) -> Tensor:
    if weights is None:
        return torch.sigmoid(gate)
    if options.layer_norm == "after_gate":
        return layer_norm(torch.sigmoid(gate), weights.gate_gain, weights.gate_bias)
    return torch.sigmoid(layer_norm(gate, weights.gate_gain, weights.gate_bias))


def _of_length_one(x: Tensor, eps: float) -> Tensor:
    """A vector of zeros stays one, and has no gradient: `rotate.normalized` says why."""
    is_zero = torch.linalg.vector_norm(x.detach(), dim=-1, keepdim=True) == 0
    return torch.where(is_zero, 0.0, _normalized(x, eps))


def _normalized(x: Tensor, eps: float) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return x / norm.clamp_min(eps)
